//! A check finds all problems and changes nothing. A repair leaves a consistent queue.

use std::fs;

use relay_message::{Message, QueueStore, StoreError};
use relay_queue::fsck::{Finding, Mode, Summary, check};

use crate::journal_file::{latest, lose_index};
use crate::stores::{Harness, INLINE, OnDisk, all, balanced, commit, enqueue, names, octets};

fn run(harness: &OnDisk, mode: Mode) -> (Summary, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut report = |finding: &Finding| findings.push(finding.clone());
    let summary = check(harness.path(), mode, &mut report).expect("a queue that can be read");
    assert_eq!(summary.findings, findings.len() as u64);
    (summary, findings)
}

fn sound(messages: u64) -> Summary {
    Summary {
        sound: messages,
        findings: 0,
    }
}

/// Checks that two checks find the same, as a check changes nothing; that a repair leaves nothing
/// to find; and that the relay then has the sound messages, and books that balance.
async fn is_found_and_repaired(harness: &mut OnDisk, expected: &[Finding], left: &[Message]) {
    for mode in [Mode::Check, Mode::Check, Mode::Repair] {
        let (summary, findings) = run(harness, mode);
        assert_eq!(findings, expected, "{mode:?}");
        assert_eq!(summary.sound, left.len() as u64, "{mode:?}");
    }
    assert_eq!(
        run(harness, Mode::Check),
        (sound(left.len() as u64), vec![])
    );
    harness.open();
    assert_eq!(all(harness.store()).await, left);
    balanced(harness.store()).await;
    harness.close().await;
}

async fn message(harness: &OnDisk, head: usize, body: usize) -> Message {
    let committed = commit(harness.store(), 2, &octets(head), &octets(body)).await;
    committed.expect("committed")
}

/// One message of each layout.
const SIZES: [(usize, usize); 4] = [(10, 20), (10, INLINE - 1), (10, INLINE * 3), (3000, 20)];

#[tokio::test]
async fn a_sound_queue_is_found_sound() {
    let mut harness = <OnDisk>::new();
    for (head, body) in SIZES {
        message(&harness, head, body).await;
    }
    message(&harness, 0, 0).await;
    harness.close().await;
    assert_eq!(run(&harness, Mode::Check), (sound(5), vec![]));
    assert_eq!(run(&harness, Mode::Repair), (sound(5), vec![]));
    assert_eq!(names(&harness.path().join("corrupt")), Vec::<String>::new());
}

#[tokio::test]
async fn a_queue_in_use_is_refused() {
    let harness = <OnDisk>::new();
    enqueue(harness.store()).await;
    let checked = check(harness.path(), Mode::Repair, &mut |_| {});
    assert!(matches!(checked, Err(StoreError::Locked { .. })));
}

#[tokio::test]
async fn a_check_does_not_create_a_queue() {
    let directory = tempfile::tempdir().expect("a directory");
    let checked = check(directory.path(), Mode::Repair, &mut |_| {});
    assert!(matches!(checked, Err(StoreError::Io { .. })));
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_flipped_octet_in_any_content_is_found() {
    for (head, body) in SIZES {
        let mut harness = <OnDisk>::new();
        let (damaged, left) = (
            message(&harness, head, body).await,
            enqueue(harness.store()).await,
        );
        harness.close().await;
        let path = harness.in_mess(damaged.id.to_string());
        if let Ok(mut body) = fs::read(&path) {
            body[7] ^= 1;
            fs::write(path, body).expect("written");
        } else {
            latest(harness.path(), &damaged).flip_content();
        }
        let problem = "its content does not have the checksum in its record".to_owned();
        let expected = [Finding::Message(damaged.id, problem)];
        is_found_and_repaired(&mut harness, &expected, &[left]).await;
        let reason = harness
            .path()
            .join(format!("corrupt/{}.reason", damaged.id));
        assert!(reason.exists());
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_takes_its_recipients_out_of_the_books() {
    let mut harness = <OnDisk>::new();
    let mut damaged = Vec::new();
    for (head, body) in SIZES {
        damaged.push(message(&harness, head, body).await);
    }
    let left = enqueue(harness.store()).await;
    harness.close().await;
    for message in &damaged {
        latest(harness.path(), message).flip_record();
    }
    let problem = "its record in the journal is damaged";
    let finding = |message: &Message| Finding::Message(message.id, problem.to_owned());
    let expected: Vec<_> = damaged.iter().map(finding).collect();
    is_found_and_repaired(&mut harness, &expected, &[left]).await;
    harness.open();
    assert_eq!(harness.store().books().set_aside, 8);
}

#[tokio::test]
async fn a_lost_index_is_found_and_built_anew() {
    let mut harness = <OnDisk>::new();
    let mut left = Vec::new();
    for (head, body) in SIZES {
        left.push(message(&harness, head, body).await);
    }
    harness.close().await;
    lose_index(harness.path());
    let problem = "it is missing; a start builds it anew from the journal".to_owned();
    is_found_and_repaired(&mut harness, &[Finding::Index(problem)], &left).await;
}

#[tokio::test]
async fn a_body_that_was_never_accepted_is_no_problem_but_a_stray_file_is() {
    let mut harness = <OnDisk>::new();
    let left = enqueue(harness.store()).await;
    let orphan = harness.store().next_id();
    harness.close().await;
    for name in [&orphan.to_string(), "stray"] {
        fs::write(harness.in_mess(name), name).expect("written");
    }
    let expected = [Finding::Stray("stray".to_owned())];
    is_found_and_repaired(&mut harness, &expected, &[left]).await;
    let kept = fs::read(harness.path().join("corrupt/stray"));
    assert_eq!(kept.expect("kept"), b"stray");
    assert!(!harness.in_mess(orphan.to_string()).exists());
}

#[tokio::test]
async fn a_damaged_part_of_the_journal_is_found_if_the_index_is_lost_too() {
    let mut harness = <OnDisk>::new();
    let lost = message(&harness, 10, INLINE * 3).await;
    let left = enqueue(harness.store()).await;
    harness.close().await;
    latest(harness.path(), &lost).flip_header();
    lose_index(harness.path());
    let (summary, findings) = run(&harness, Mode::Check);
    assert_eq!(summary.sound, 1);
    let kinds: Vec<String> = findings.iter().map(Finding::to_string).collect();
    let beginnings = ["index: ", "journal: ", "books: ", "mess/"];
    assert_eq!(kinds.len(), beginnings.len(), "{kinds:?}");
    for (kind, beginning) in kinds.iter().zip(beginnings) {
        assert!(kind.starts_with(beginning), "{kinds:?}");
    }
    assert_eq!(run(&harness, Mode::Repair).1, findings);
    assert_eq!(run(&harness, Mode::Check), (sound(1), vec![]));
    harness.open();
    assert_eq!(all(harness.store()).await, [left]);
    balanced(harness.store()).await;
}
