//! A check finds all problems and changes nothing. A repair leaves a consistent queue.

use std::fs;

use relay_message::{Message, QueueId, QueueStore, StoreError};
use relay_queue::fsck::{Finding, Mode, Summary, check};

use crate::damage::{key, tamper};
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
            tamper(&harness, |db| {
                let mut content = db.get(key(b'c', &damaged)).expect("read").expect("there");
                content[7] ^= 1;
                db.insert(key(b'c', &damaged), content).expect("written");
            });
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
    tamper(&harness, |db| {
        for message in &damaged {
            db.insert(key(b'm', message), b"\0no record")
                .expect("written");
        }
    });
    let problem = "the record has version 0, which this relayd does not know";
    let finding = |message: &Message| Finding::Message(message.id, problem.to_owned());
    let expected: Vec<_> = damaged.iter().map(finding).collect();
    is_found_and_repaired(&mut harness, &expected, &[left]).await;
    harness.open();
    assert_eq!(harness.store().books().set_aside, 8);
}

#[tokio::test]
async fn more_damaged_messages_than_are_set_aside_at_once() {
    let mut harness = <OnDisk>::new();
    for _ in 0..260 {
        enqueue(harness.store()).await;
    }
    let messages = all(harness.store()).await;
    harness.close().await;
    tamper(&harness, |db| {
        for message in &messages[1..] {
            db.remove(key(b'c', message)).expect("removed");
        }
    });
    assert_eq!(run(&harness, Mode::Repair).0.findings, 259);
    is_found_and_repaired(&mut harness, &[], &messages[..1]).await;
}

#[tokio::test]
async fn bodies_and_strays_without_a_record_are_set_aside() {
    let mut harness = <OnDisk>::new();
    let left = enqueue(harness.store()).await;
    let orphan = harness.store().next_id();
    harness.close().await;
    for name in [&orphan.to_string(), &left.id.to_string(), "stray"] {
        fs::write(harness.in_mess(name), name).expect("written");
    }
    let mut expected = vec![
        Finding::Body(orphan),
        Finding::Body(left.id),
        Finding::Stray("stray".to_owned()),
    ];
    // The order is that of the directory.
    let position = |finding: &Finding| {
        let (_, findings) = run(&harness, Mode::Check);
        findings.iter().position(|found| found == finding)
    };
    expected.sort_by_key(position);
    is_found_and_repaired(&mut harness, &expected, &[left]).await;
    let kept = fs::read(harness.path().join(format!("corrupt/{orphan}.body")));
    assert_eq!(kept.expect("kept"), orphan.to_string().as_bytes());
}

#[tokio::test]
async fn values_that_belong_to_no_message_are_set_aside() {
    let mut harness = <OnDisk>::new();
    let left = message(&harness, 10, 20).await;
    harness.close().await;
    let gone = QueueId::from_bits(77);
    let of = |kind: u8, id: QueueId, number: Option<u32>| {
        let mut key = vec![kind];
        key.extend(id.to_bits().to_be_bytes());
        key.extend(number.into_iter().flat_map(u32::to_be_bytes));
        key
    };
    tamper(&harness, |db| {
        for key in [
            of(b'c', gone, None),
            of(b'd', left.id, Some(1)),
            of(b'n', gone, Some(3)),
        ] {
            db.insert(key, b"left over").expect("written");
        }
    });
    let expected = [gone, left.id, gone].map(Finding::Value);
    is_found_and_repaired(&mut harness, &expected, &[left]).await;
}

#[tokio::test]
async fn a_record_added_or_removed_without_the_books_is_found() {
    for (is_removed, problem) in [
        (true, "the queue has 2 recipients fewer than they count"),
        (false, "the queue has 2 recipients more than they count"),
    ] {
        let mut harness = <OnDisk>::new();
        let left = message(&harness, 10, 20).await;
        let other = message(&harness, 10, 20).await;
        harness.close().await;
        let mut left = vec![left];
        tamper(&harness, |db| {
            let record = db.get(key(b'm', &other)).expect("read").expect("there");
            let content = db.get(key(b'c', &other)).expect("read").expect("there");
            if is_removed {
                db.remove(key(b'm', &other)).expect("removed");
                db.remove(key(b'c', &other)).expect("removed");
            } else {
                let mut copy = other.clone();
                copy.id = QueueId::from_bits(other.id.to_bits() + 1);
                db.insert(key(b'm', &copy), record).expect("written");
                db.insert(key(b'c', &copy), content).expect("written");
                left.extend([other.clone(), copy]);
            }
        });
        let expected = [Finding::Books(problem.to_owned())];
        is_found_and_repaired(&mut harness, &expected, &left).await;
    }
}

#[tokio::test]
async fn unreadable_books_are_replaced() {
    let mut harness = <OnDisk>::new();
    let left = enqueue(harness.store()).await;
    harness.close().await;
    tamper(&harness, |db| {
        db.insert("books", b"\xff").expect("written");
    });
    let problem = "they are missing or cannot be read".to_owned();
    is_found_and_repaired(&mut harness, &[Finding::Books(problem)], &[left]).await;
}
