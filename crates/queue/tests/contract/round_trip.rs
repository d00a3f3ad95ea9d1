//! A message is read as it was written.

use relay_message::{Message, Origin, QueueStore, Spool};

use crate::stores::{
    Harness, INLINE, all, at, bounce, bytes_of, changes, claim, commit, done, enqueue, envelope,
    files_become, octets,
};

/// Lengths of head and body around each limit: in the database, in a file, and both in the file.
const LENGTHS: [(usize, usize); 11] = [
    (0, 0),
    (300, 0),
    (0, 1),
    (300, INLINE),
    (300, INLINE + 1),
    (0, INLINE + 1),
    (0, 300_000),
    (2048, INLINE),
    (2049, 10),
    (200_000, 0),
    (70_000, 300_000),
];

pub async fn what_was_committed_is_given_back<H: Harness>(mut harness: H) {
    let mut committed = Vec::new();
    for (head, body) in LENGTHS {
        let (head, body) = (octets(head), octets(body));
        let message = commit(harness.store(), 3, &head, &body).await;
        committed.push((message.expect("committed"), head, body));
    }
    for _ in 0..2 {
        let store = harness.store();
        for (message, head, body) in &committed {
            let fresh = Message::new(
                message.id,
                at(1000),
                Origin::Client,
                envelope(3),
                (head.len() + body.len()) as u64,
            );
            assert_eq!(message, &fresh);
            assert_eq!(store.get(message.id).await.expect("read"), Some(fresh));
            let (found_head, found_body) = bytes_of(store, message).await;
            assert!(&found_head == head, "head of {}", head.len());
            assert!(&found_body == body, "body of {}", body.len());
        }
        let messages: Vec<_> = committed.iter().map(|(m, ..)| m.clone()).collect();
        assert_eq!(all(store).await, messages);
        harness.reopen().await;
    }
}

pub async fn any_octets_come_back_as_they_were<H: Harness>(harness: H) {
    let every_octet: Vec<u8> = (1..=255)
        .chain([b'\r', b'\n', b'.', b'\r', b'\n', 0])
        .collect();
    for times in [1, 100] {
        let body = every_octet.repeat(times);
        let message = commit(harness.store(), 1, &every_octet, &body).await;
        let found = bytes_of(harness.store(), &message.expect("committed")).await;
        assert_eq!(found, (every_octet.clone(), body));
    }
}

pub async fn a_spool_dropped_before_its_commit_leaves_nothing<H: Harness>(mut harness: H) {
    for length in [0, 10, INLINE + 1, 300_000] {
        let mut spool = harness.store().begin().expect("a spool");
        spool.write(&octets(length)).await.expect("written");
        drop(spool);
        files_become(&harness, &[]).await;
        assert_eq!(harness.store().count(), 0);
    }
    harness.reopen().await;
    assert_eq!(all(harness.store()).await, []);
}

pub async fn a_bounce_is_given_back_too<H: Harness>(mut harness: H) {
    let mut bounces = Vec::new();
    for (head, body) in [
        (300, 0),
        (300, 2000),
        (300, 100_000),
        (0, 2000),
        (0, 100_000),
    ] {
        let message = enqueue(harness.store()).await;
        let mut bounce = bounce(harness.store(), octets(body));
        bounce.head = octets(head).into();
        bounces.push(bounce.clone());
        let mut settlement = changes(vec![done(0)]);
        settlement.bounces.push(bounce);
        let claim = claim(harness.store(), &message).await;
        let left = harness.store().settle(claim, settlement).await;
        assert!(left.expect("settled").is_none());
    }
    for _ in 0..2 {
        let messages = all(harness.store()).await;
        assert_eq!(messages.len(), bounces.len());
        for (message, bounce) in messages.iter().zip(&bounces) {
            assert_eq!((message.id, message.origin), (bounce.id, Origin::Bounce));
            assert_eq!(message.sender, bounce.envelope.sender);
            let (head, body) = bytes_of(harness.store(), message).await;
            assert!(head == bounce.head && body == bounce.body);
        }
        harness.reopen().await;
    }
}
