//! A queue that a later relayd has written. It is not damaged, but this relayd must not read it.

use std::fs;

use relay_message::Message;
use relay_queue::SledStore;
use relay_queue::fsck::{Mode, check};

use crate::damage::{key, tamper};
use crate::stores::{Harness, INLINE, OnDisk, all, commit, config, enqueue, names, octets};

/// Checks that all messages are still there and nothing was set aside.
async fn is_untouched(harness: &mut OnDisk, messages: &[Message]) {
    for message in messages {
        set_version(harness, message, 2);
    }
    harness.open();
    assert_eq!(all(harness.store()).await, messages);
    assert_eq!(names(&harness.path().join("corrupt")), Vec::<String>::new());
}

fn set_version(harness: &OnDisk, message: &Message, version: u8) {
    tamper(harness, |db| {
        let mut record = db.get(key(b'm', message)).expect("read").expect("there");
        record[0] = version;
        db.insert(key(b'm', message), record).expect("written");
    });
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
    for later in [3, 255] {
        let (mut harness, messages) = filled().await;
        set_version(&harness, &messages[0], later);
        let refused = SledStore::open(&config(harness.path())).expect_err("refused");
        let expected = format!(
            "reading message {}: the record has version {later}, of a later relayd; this one reads up to version 2",
            messages[0].id
        );
        assert_eq!(refused.to_string(), expected);
        is_untouched(&mut harness, &messages).await;
    }
}

#[tokio::test]
async fn a_repair_after_a_downgrade_does_not_set_the_queue_aside() {
    for mode in [Mode::Check, Mode::Repair] {
        let (mut harness, messages) = filled().await;
        set_version(&harness, &messages[1], 3);
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
