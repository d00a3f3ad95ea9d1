//! If `corrupt/` cannot be written, damaged messages stay in place and the queue works.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use relay_message::{Message, QueueStore, StoreError};
use tempfile::TempDir;

use crate::journal_file::latest;
use crate::stores::{
    Harness, INLINE, OnDisk, all, balanced, bytes_of, claim, commit, counts, enqueue, names, octets,
};

/// A `corrupt/` in which no file can be created, and one to which no body can be moved because it
/// is on another file system.
fn unfit() -> Vec<(PathBuf, Option<TempDir>)> {
    let elsewhere = tempfile::tempdir_in("/dev/shm").ok();
    let elsewhere = elsewhere.map(|dir| (dir.path().to_owned(), Some(dir)));
    let all = [Some((PathBuf::from("/proc"), None)), elsewhere];
    all.into_iter().flatten().collect()
}

/// A closed queue with a large message, a small one after it, and this `corrupt/`.
async fn filled(corrupt: &Path) -> (OnDisk, [Message; 2]) {
    let mut harness = <OnDisk>::new();
    let large = commit(harness.store(), 2, b"head", &octets(INLINE * 3)).await;
    let messages = [large.expect("committed"), enqueue(harness.store()).await];
    harness.close().await;
    let place = harness.path().join("corrupt");
    fs::remove_dir(&place).expect("empty");
    symlink(corrupt, &place).expect("made");
    (harness, messages)
}

/// The operator has repaired `corrupt/`.
fn mend(harness: &OnDisk) {
    let corrupt = harness.path().join("corrupt");
    fs::remove_file(&corrupt).expect("a link");
    fs::create_dir(&corrupt).expect("made");
}

/// Checks that there is no partial file.
fn is_empty(elsewhere: Option<&TempDir>) {
    let names = elsewhere.map(|dir| names(dir.path()));
    assert_eq!(names.unwrap_or_default(), Vec::<String>::new());
}

#[tokio::test]
async fn an_unreadable_record_that_cannot_be_set_aside_blocks_nothing() {
    for (corrupt, elsewhere) in unfit() {
        let (mut harness, [damaged, sound]) = filled(&corrupt).await;
        latest(harness.path(), &damaged).flip_record();
        for _ in 0..2 {
            harness.open();
            assert_eq!(all(harness.store()).await, std::slice::from_ref(&sound));
            assert_eq!(counts(harness.store()), (2, 2, 0));
            bytes_of(harness.store(), &sound).await;
            balanced(harness.store()).await;
            assert_eq!(harness.files(), [damaged.id.to_string()]);
            is_empty(elsewhere.as_ref());
            harness.close().await;
        }
        harness.open();
        mend(&harness);
        for _ in 0..2 {
            assert_eq!(all(harness.store()).await, std::slice::from_ref(&sound));
            assert_eq!(counts(harness.store()), (1, 1, 1));
            balanced(harness.store()).await;
            assert_eq!(harness.files(), Vec::<String>::new());
            harness.reopen().await;
        }
    }
}

#[tokio::test]
async fn a_message_with_a_damaged_body_that_cannot_be_set_aside_stays() {
    for (corrupt, elsewhere) in unfit() {
        let (mut harness, [damaged, sound]) = filled(&corrupt).await;
        fs::write(harness.in_mess(damaged.id.to_string()), b"short").expect("written");
        for _ in 0..2 {
            harness.open();
            let messages = [damaged.clone(), sound.clone()];
            assert_eq!(all(harness.store()).await, messages);
            assert_eq!(counts(harness.store()), (2, 2, 0));
            let held = claim(harness.store(), &damaged).await;
            let opened = harness.store().open(held).await;
            assert!(matches!(opened, Err(StoreError::Io { .. })), "{opened:?}");
            balanced(harness.store()).await;
            is_empty(elsewhere.as_ref());
            harness.close().await;
        }
        mend(&harness);
        harness.open();
        assert_eq!(all(harness.store()).await, std::slice::from_ref(&sound));
        assert_eq!(counts(harness.store()), (1, 1, 1));
        balanced(harness.store()).await;
    }
}

#[tokio::test]
async fn a_stray_file_that_cannot_be_moved_does_not_prevent_a_start() {
    for (corrupt, _elsewhere) in unfit() {
        let (mut harness, messages) = filled(&corrupt).await;
        fs::write(harness.in_mess("stray"), b"mine").expect("written");
        harness.open();
        assert_eq!(all(harness.store()).await, messages);
        assert_eq!(
            harness.files(),
            [messages[0].id.to_string(), "stray".to_owned()]
        );
    }
}
