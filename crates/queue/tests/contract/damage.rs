//! Damage never prevents a start and never causes a panic, and the damaged data can be inspected.

use std::fs;

use relay_message::{Message, QueueStore, StoreError};

use crate::journal_file::{latest, lose_index};
use crate::stores::{
    Harness, INLINE, OnDisk, all, balanced, bytes_of, changes, claim, commit, counts, done,
    enqueue, names, octets,
};

fn in_corrupt(harness: &OnDisk, name: &str) -> Vec<u8> {
    fs::read(harness.path().join("corrupt").join(name)).expect(name)
}

fn reason(harness: &OnDisk, message: &Message) -> String {
    let reason = in_corrupt(harness, &format!("{}.reason", message.id));
    String::from_utf8(reason).expect("text")
}

async fn with_file(harness: &OnDisk) -> Message {
    let committed = commit(harness.store(), 1, b"head", &octets(INLINE * 3)).await;
    committed.expect("committed")
}

/// Checks that only `sound` is in the queue, that one message is set aside, and that the queue
/// works.
async fn only_one_is_missing(harness: &mut OnDisk, sound: &Message) {
    for _ in 0..2 {
        assert_eq!(all(harness.store()).await, std::slice::from_ref(sound));
        assert_eq!(counts(harness.store()), (1, 1, 1));
        bytes_of(harness.store(), sound).await;
        harness.reopen().await;
    }
}

#[tokio::test]
async fn a_body_file_of_another_length_is_set_aside_at_the_start() {
    for length in [0, 1, INLINE * 3 - 1, INLINE * 3 + 1] {
        let mut harness = <OnDisk>::new();
        let (damaged, sound) = (with_file(&harness).await, with_file(&harness).await);
        harness.close().await;
        let mut body = octets(INLINE * 3 + 1);
        body.truncate(length);
        fs::write(harness.in_mess(damaged.id.to_string()), &body).expect("written");
        harness.open();
        only_one_is_missing(&mut harness, &sound).await;
        assert_eq!(in_corrupt(&harness, &format!("{}.body", damaged.id)), body);
        assert_eq!(
            in_corrupt(&harness, &format!("{}.content", damaged.id)),
            b"head"
        );
        let expected = format!("its body file has {length} octets, not {}\n", INLINE * 3);
        assert_eq!(reason(&harness, &damaged), expected);
        assert_eq!(harness.files(), [sound.id.to_string()]);
    }
}

#[tokio::test]
async fn a_missing_body_file_is_noticed_at_the_start_and_when_it_is_opened() {
    for at_start in [true, false] {
        let mut harness = <OnDisk>::new();
        let (damaged, sound) = (with_file(&harness).await, with_file(&harness).await);
        let path = harness.in_mess(damaged.id.to_string());
        if at_start {
            harness.close().await;
            fs::remove_file(path).expect("removed");
            harness.open();
        } else {
            fs::remove_file(path).expect("removed");
            let held = claim(harness.store(), &damaged).await;
            let opened = harness.store().open(held).await;
            assert!(matches!(opened, Err(StoreError::Damaged { id, .. }) if id == damaged.id));
        }
        only_one_is_missing(&mut harness, &sound).await;
        assert_eq!(reason(&harness, &damaged), "its body file is missing\n");
    }
}

#[tokio::test]
async fn a_body_with_a_flipped_octet_is_set_aside_when_it_is_opened() {
    for (head, body) in [(10, 20), (10, INLINE * 20), (3000, 20)] {
        let mut harness = <OnDisk>::new();
        let damaged = commit(harness.store(), 1, &octets(head), &octets(body)).await;
        let (damaged, sound) = (damaged.expect("committed"), enqueue(harness.store()).await);
        harness.close().await;
        let path = harness.in_mess(damaged.id.to_string());
        if let Ok(mut body) = fs::read(&path) {
            let last = body.len() - 1;
            body[last] ^= 1;
            fs::write(path, body).expect("written");
        } else {
            latest(harness.path(), &damaged).flip_content();
        }
        harness.open();
        assert_eq!(counts(harness.store()), (2, 2, 0), "{head} {body}");
        let held = claim(harness.store(), &damaged).await;
        let opened = harness.store().open(held).await;
        assert!(matches!(opened, Err(StoreError::Damaged { id, .. }) if id == damaged.id));
        only_one_is_missing(&mut harness, &sound).await;
        let expected = "its content does not have the checksum in its record\n";
        assert_eq!(reason(&harness, &damaged), expected);
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_set_aside_when_it_is_read() {
    let its_checksum = "its record in the journal is damaged\n";
    let its_version = "the record has version 0, which this relayd does not know\n";
    for expected in [its_checksum, its_version] {
        let mut harness = <OnDisk>::new();
        let (damaged, sound) = (with_file(&harness).await, with_file(&harness).await);
        harness.close().await;
        let frame = latest(harness.path(), &damaged);
        if expected == its_checksum {
            frame.flip_record();
        } else {
            frame.rewrite_record(|record| record[0] = 0);
        }
        harness.open();
        only_one_is_missing(&mut harness, &sound).await;
        assert_eq!(reason(&harness, &damaged), expected);
        let body = in_corrupt(&harness, &format!("{}.body", damaged.id));
        assert_eq!(body, octets(INLINE * 3));
        let record = in_corrupt(&harness, &format!("{}.record", damaged.id));
        assert_eq!(record.len(), frame.record);
    }
}

#[tokio::test]
async fn the_recipients_of_a_record_that_cannot_be_read_are_in_the_books_as_set_aside() {
    for index_is_lost in [false, true] {
        let mut harness = <OnDisk>::new();
        let committed = commit(harness.store(), 3, b"head", b"body").await;
        let (damaged, sound) = (
            committed.expect("committed"),
            enqueue(harness.store()).await,
        );
        harness.close().await;
        latest(harness.path(), &damaged).flip_record();
        if index_is_lost {
            lose_index(harness.path());
        }
        harness.open();
        for _ in 0..2 {
            assert_eq!(all(harness.store()).await, std::slice::from_ref(&sound));
            balanced(harness.store()).await;
            let books = harness.store().books();
            assert_eq!((books.accepted, books.set_aside), (4, 3));
            assert_eq!(counts(harness.store()), (1, 1, 1));
            harness.reopen().await;
        }
    }
}

#[tokio::test]
async fn a_frame_whose_header_is_damaged_takes_nothing_else_with_it() {
    for index_is_lost in [false, true] {
        let mut harness = <OnDisk>::new();
        let before = enqueue(harness.store()).await;
        let committed = commit(harness.store(), 3, b"head", b"body").await;
        let damaged = committed.expect("committed");
        let after = enqueue(harness.store()).await;
        harness.close().await;
        latest(harness.path(), &damaged).flip_header();
        if index_is_lost {
            lose_index(harness.path());
        }
        harness.open();
        for _ in 0..2 {
            assert_eq!(all(harness.store()).await, [before.clone(), after.clone()]);
            balanced(harness.store()).await;
            let books = harness.store().books();
            assert_eq!((books.accepted, books.set_aside), (5, 3));
            assert_eq!(counts(harness.store()), (2, 2, 1), "{index_is_lost}");
            harness.reopen().await;
        }
    }
}

#[tokio::test]
async fn the_recipients_of_a_lost_body_are_in_the_books_as_set_aside() {
    for at_start in [true, false] {
        let mut harness = <OnDisk>::new();
        let committed = commit(harness.store(), 3, b"head", &octets(INLINE * 3)).await;
        let mut message = committed.expect("committed");
        let held = claim(harness.store(), &message).await;
        let settled = harness.store().settle(held, changes(vec![done(0)])).await;
        assert!(settled.expect("settled").is_some());
        message.apply(vec![done(0)]);
        let path = harness.in_mess(message.id.to_string());
        fs::remove_file(path).expect("removed");
        if at_start {
            harness.reopen().await;
        } else {
            let held = claim(harness.store(), &message).await;
            assert!(harness.store().open(held).await.is_err());
        }
        for _ in 0..2 {
            balanced(harness.store()).await;
            let books = harness.store().books();
            assert_eq!((books.delivered, books.set_aside), (1, 2));
            assert_eq!(counts(harness.store()), (0, 0, 1));
            harness.reopen().await;
        }
    }
}

#[tokio::test]
async fn a_body_whose_frame_and_index_are_lost_is_not_deleted_at_the_start() {
    let mut harness = <OnDisk>::new();
    let (lost, sound) = (with_file(&harness).await, with_file(&harness).await);
    harness.close().await;
    latest(harness.path(), &lost).flip_header();
    lose_index(harness.path());
    harness.open();
    assert_eq!(all(harness.store()).await, [sound]);
    let body = in_corrupt(&harness, &format!("{}.body", lost.id));
    assert_eq!(body, octets(INLINE * 3));
    let expected = "a body without a message, and a part of the journal is lost\n";
    assert_eq!(reason(&harness, &lost), expected);
}

#[tokio::test]
async fn a_file_named_like_an_id_without_a_record_is_deleted_and_any_other_moved() {
    let mut harness = <OnDisk>::new();
    let message = with_file(&harness).await;
    let stray_id = harness.store().next_id().to_string();
    harness.close().await;
    fs::write(harness.in_mess(&stray_id), b"never accepted").expect("written");
    fs::write(harness.in_mess("notes.txt"), b"mine").expect("written");
    fs::create_dir(harness.in_mess(harness_directory())).expect("made");
    harness.open();
    assert_eq!(harness.files(), [message.id.to_string()]);
    assert_eq!(in_corrupt(&harness, "notes.txt"), b"mine");
    assert_eq!(harness.store().count_damaged(), 2);
    harness.reopen().await;
    assert_eq!(harness.store().count_damaged(), 2);
    assert!(!harness.path().join("corrupt").join(&stray_id).exists());
}

/// A directory whose name is an id.
fn harness_directory() -> &'static str {
    "0000000000001"
}

#[tokio::test]
async fn nothing_in_corrupt_is_overwritten() {
    let mut harness = <OnDisk>::new();
    for (round, text) in [b"one", b"two", b"six"].iter().enumerate() {
        harness.close().await;
        fs::write(harness.in_mess("stray"), text).expect("written");
        harness.open();
        assert_eq!(harness.store().count_damaged(), round as u64 + 1);
    }
    let expected = [("stray", b"one"), ("stray.1", b"two"), ("stray.2", b"six")];
    for (name, text) in expected {
        assert_eq!(in_corrupt(&harness, name), text);
    }
    let damaged = with_file(&harness).await;
    let taken = format!("{}.body", damaged.id);
    fs::write(harness.path().join("corrupt").join(&taken), b"older").expect("written");
    fs::remove_file(harness.in_mess(damaged.id.to_string())).expect("removed");
    harness.reopen().await;
    assert_eq!(in_corrupt(&harness, &taken), b"older");
    in_corrupt(&harness, &format!("{}.1.reason", damaged.id));
    assert_eq!(harness.store().count_damaged(), 4);
}

#[tokio::test]
async fn a_message_found_damaged_by_many_at_once_is_set_aside_once() {
    let harness = <OnDisk>::new();
    let damaged = with_file(&harness).await;
    fs::remove_file(harness.in_mess(damaged.id.to_string())).expect("removed");
    let held = claim(harness.store(), &damaged).await;
    let open = || harness.store().open(held);
    let (one, two, three) = tokio::join!(open(), open(), open());
    assert!(one.is_err() && two.is_err() && three.is_err());
    assert_eq!(counts(harness.store()), (0, 0, 1));
    assert_eq!(names(&harness.path().join("corrupt")).len(), 3);
}
