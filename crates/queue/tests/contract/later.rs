//! A queue that a later relayd has written. It is not damaged, but this relayd must not read it.

use std::fs;

use relay_message::Message;
use relay_queue::SledStore;
use relay_queue::fsck::{Mode, check};

use crate::journal_file::segments;
use crate::stores::{Harness, INLINE, OnDisk, all, commit, config, enqueue, names, octets};

/// Where the copies of a segment's header begin, where its version is, and its checksum.
const COPIES: [usize; 2] = [0, 2048];
const VERSION: usize = 15;
const CHECKSUM: usize = 40;

/// Checks that all messages are still there and nothing was set aside.
async fn is_untouched(harness: &mut OnDisk, messages: &[Message]) {
    set_version(harness, b'1');
    harness.open();
    assert_eq!(all(harness.store()).await, messages);
    assert_eq!(names(&harness.path().join("corrupt")), Vec::<String>::new());
}

fn set_version(harness: &OnDisk, version: u8) {
    let last = segments(harness.path()).pop().expect("a segment");
    let mut octets = fs::read(&last).expect("read");
    for at in COPIES {
        octets[at + VERSION] = version;
        let checksum = crc32fast::hash(&octets[at..at + CHECKSUM]).to_le_bytes();
        octets[at + CHECKSUM..at + CHECKSUM + 4].copy_from_slice(&checksum);
    }
    fs::write(last, octets).expect("written");
}

/// Two messages, one of them with a file.
async fn filled() -> (OnDisk, [Message; 2]) {
    let mut harness = <OnDisk>::new();
    let large = commit(harness.store(), 1, b"head", &octets(INLINE * 3)).await;
    let messages = [large.expect("committed"), enqueue(harness.store()).await];
    harness.close().await;
    (harness, messages)
}

#[tokio::test]
async fn a_downgrade_does_not_set_the_queue_aside() {
    let (mut harness, messages) = filled().await;
    set_version(&harness, b'2');
    let refused = SledStore::open(&config(harness.path())).expect_err("refused");
    let expected = "the segment has layout '2', of a later relayd";
    assert!(refused.to_string().ends_with(expected), "{refused}");
    is_untouched(&mut harness, &messages).await;
}

#[tokio::test]
async fn a_repair_after_a_downgrade_does_not_set_the_queue_aside() {
    for mode in [Mode::Check, Mode::Repair] {
        let (mut harness, messages) = filled().await;
        set_version(&harness, b'2');
        // Other damage is not repaired either.
        fs::write(harness.in_mess("stray"), b"?").expect("written");
        let refused = check(harness.path(), mode, &mut |_| {}).expect_err("refused");
        assert!(
            refused.to_string().contains("of a later relayd"),
            "{refused}"
        );
        fs::remove_file(harness.in_mess("stray")).expect("still there");
        is_untouched(&mut harness, &messages).await;
    }
}
