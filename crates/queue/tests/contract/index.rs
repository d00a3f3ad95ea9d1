//! The index on disk can be lost or damaged in any way. The journal has everything.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use relay_message::{Message, QueueStore};
use relay_queue::{Note, SledStore};

use crate::journal_file::lose_index;
use crate::stores::{
    Harness, INLINE, OnDisk, all, balanced, changes, claim, commit, config, counts, deferred, done,
    enqueue, octets,
};

/// A queue with a history, and what is in it.
async fn aged() -> (OnDisk, Vec<Message>) {
    let mut harness = <OnDisk>::new();
    for round in 0..3 {
        for n in 0..20 {
            let committed = commit(harness.store(), 2, b"head", &octets(n * 700)).await;
            let message = committed.expect("committed");
            let held = claim(harness.store(), &message).await;
            let step = match n % 4 {
                0 => vec![done(0), done(1)],
                1 => vec![done(0), deferred(1)],
                2 => vec![deferred(0)],
                _ => vec![],
            };
            if step.is_empty() {
                harness.store().release(held);
            } else {
                let settled = harness.store().settle(held, changes(step)).await;
                settled.expect("settled");
            }
        }
        if round == 1 {
            let first = all(harness.store()).await.swap_remove(0);
            harness.store().delete(first.id).await.expect("deleted");
            let second = all(harness.store()).await.swap_remove(0);
            let held = harness.store().set_held(second.id, true).await;
            assert!(held.expect("recorded").is_some());
        }
        harness.reopen().await;
    }
    let messages = all(harness.store()).await;
    assert_eq!(messages.len(), 44);
    harness.close().await;
    (harness, messages)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.is_file()).collect()
}

/// Checks that everything is there, and that it stays there.
async fn is_whole(harness: &mut OnDisk, messages: &[Message], when: &str) {
    for _ in 0..2 {
        harness.open();
        assert!(all(harness.store()).await == messages, "{when}");
        assert_eq!(harness.store().count_damaged(), 0, "{when}");
        balanced(harness.store()).await;
        harness.close().await;
    }
}

#[tokio::test]
async fn a_lost_index_loses_nothing() {
    let (mut harness, messages) = aged().await;
    lose_index(harness.path());
    is_whole(&mut harness, &messages, "lost").await;
}

#[tokio::test]
async fn damage_to_any_file_of_the_index_loses_nothing() {
    let (mut harness, messages) = aged().await;
    for file in files(&harness.path().join("index")) {
        let name = file.file_name().expect("a name").to_owned();
        let file = harness.path().join("index").join(name);
        for how in ["removed", "emptied", "cut", "flipped"] {
            // The names change when the index is built anew.
            let Ok(octets) = fs::read(&file) else {
                continue;
            };
            match how {
                "removed" => fs::remove_file(&file).expect("removed"),
                "emptied" => fs::write(&file, b"").expect("written"),
                "cut" => fs::write(&file, &octets[..octets.len() / 2]).expect("written"),
                _ => {
                    let mut octets = octets;
                    let middle = octets.len() / 2;
                    octets[middle] ^= 1;
                    fs::write(&file, octets).expect("written");
                }
            }
            let when = format!("{} {how}", file.display());
            is_whole(&mut harness, &messages, &when).await;
        }
    }
}

#[tokio::test]
async fn an_index_of_yesterday_is_told_from_a_sound_one() {
    let mut harness = <OnDisk>::new();
    let old = enqueue(harness.store()).await;
    harness.close().await;
    let (index, saved) = (
        harness.path().join("index"),
        harness.path().join("index.saved"),
    );
    copy(&index, &saved);
    harness.open();
    let held = claim(harness.store(), &old).await;
    let left = harness.store().settle(held, changes(vec![done(0)])).await;
    assert!(left.expect("settled").is_none());
    let new = enqueue(harness.store()).await;
    harness.close().await;
    lose_index(harness.path());
    fs::rename(&saved, &index).expect("restored");
    is_whole(&mut harness, &[new], "yesterday").await;
}

#[tokio::test]
async fn an_index_of_another_queue_is_not_believed() {
    let (mut harness, messages) = aged().await;
    let mut other = <OnDisk>::new();
    enqueue(other.store()).await;
    other.close().await;
    lose_index(harness.path());
    copy(&other.path().join("index"), &harness.path().join("index"));
    is_whole(&mut harness, &messages, "another queue").await;
}

#[tokio::test]
async fn messages_of_a_lost_segment_are_named_by_the_index() {
    let mut harness = <OnDisk>::new();
    let lost = commit(harness.store(), 3, b"head", b"body").await;
    let lost = lost.expect("committed");
    harness.reopen().await;
    let sound = commit(harness.store(), 1, b"head", &octets(INLINE * 2)).await;
    let sound = sound.expect("committed");
    harness.close().await;
    let segment = crate::journal_file::latest(harness.path(), &lost).path;
    fs::remove_file(segment).expect("removed");
    for _ in 0..2 {
        harness.open();
        assert_eq!(all(harness.store()).await, std::slice::from_ref(&sound));
        assert_eq!(counts(harness.store()), (1, 1, 1));
        assert_eq!(harness.store().books().set_aside, 3);
        balanced(harness.store()).await;
        harness.close().await;
    }
    let reason = fs::read_to_string(harness.path().join(format!("corrupt/{}.reason", lost.id)));
    assert!(reason.expect("kept").contains("of the journal is missing"));
}

#[test]
fn notes_survive_the_loss_of_the_index() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let store = SledStore::open(&config).expect("opens");
    assert_eq!(store.note(Note::StandingRules), None);
    store
        .set_note(Note::StandingRules, text("old"))
        .expect("kept");
    store
        .set_note(Note::TemporaryRelay, text("other"))
        .expect("kept");
    store
        .set_note(Note::StandingRules, text("new"))
        .expect("kept");
    drop(store);
    for index_is_lost in [false, true, false] {
        if index_is_lost {
            lose_index(directory.path());
        }
        let store = SledStore::open(&config).expect("opens");
        assert_eq!(store.note(Note::StandingRules), Some(text("new")));
        assert_eq!(store.note(Note::TemporaryRelay), Some(text("other")));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}
