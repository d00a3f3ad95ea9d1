//! Rules for the store on disk only.

use std::fs;

use relay_message::{Message, QueueStore, Settlement, Spool, StoreError};
use relay_queue::{SledStore, StoreConfig};

use crate::stores::{
    Harness, INLINE, OnDisk, all, bounce, bytes_of, changes, claim, commit, config, deferred, done,
    enqueue, files_become, octets,
};

#[tokio::test]
async fn a_state_directory_has_one_owner() {
    let mut harness = <OnDisk>::new();
    let message = enqueue(harness.store()).await;
    let second = SledStore::open(&config(harness.path()));
    let Err(e @ StoreError::Locked { .. }) = second else {
        panic!("a second owner: {second:?}");
    };
    assert!(e.to_string().contains("in use by another relayd"), "{e}");
    assert_eq!(all(harness.store()).await, [message]);
    harness.reopen().await;
}

#[tokio::test]
async fn a_state_directory_is_created_with_its_parents_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let state_dir = directory.path().join("spool/relay/state");
    let store = SledStore::open(&config(&state_dir)).expect("opens");
    let message = enqueue(&store).await;
    assert_eq!(all(&store).await, [message]);
    for made in ["", "mess", "corrupt", "journal"] {
        let mode = fs::metadata(state_dir.join(made))
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{made}");
    }
}

#[tokio::test]
async fn a_store_that_was_dropped_can_be_opened_again_at_once() {
    let mut harness = <OnDisk>::new();
    let mut messages = Vec::new();
    for _ in 0..20 {
        messages.push(enqueue(harness.store()).await);
        harness.drop_store();
        harness.open();
        assert_eq!(all(harness.store()).await, messages);
    }
}

#[tokio::test]
async fn an_operation_without_a_waiter_is_recorded_when_the_store_is_dropped() {
    let mut harness = <OnDisk>::new();
    let messages = [
        enqueue(harness.store()).await,
        enqueue(harness.store()).await,
    ];
    let held = claim(harness.store(), &messages[0]).await;
    {
        let mut settling = Box::pin(harness.store().settle(held, changes(vec![done(0)])));
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, &mut settling).await;
        assert!(given_up.is_err());
    }
    harness.drop_store();
    harness.open();
    assert_eq!(all(harness.store()).await, messages[1..]);
}

#[tokio::test]
async fn body_files_are_removed_when_their_message_has_left() {
    let harness = <OnDisk>::new();
    let body = octets(INLINE * 3);
    let mut messages = Vec::new();
    for _ in 0..3 {
        let committed = commit(harness.store(), 1, b"head", &body).await;
        messages.push(committed.expect("committed"));
    }
    while let Some(message) = messages.pop() {
        let held = claim(harness.store(), &message).await;
        let left = harness.store().settle(held, changes(vec![done(0)])).await;
        assert!(left.expect("settled").is_none());
        let rest: Vec<String> = messages.iter().map(|m| m.id.to_string()).collect();
        files_become(&harness, &rest).await;
    }
}

/// A store whose disk is always full.
fn full(harness: &OnDisk) -> StoreConfig {
    StoreConfig {
        min_free: u64::MAX / 2,
        ..config(harness.path())
    }
}

#[tokio::test]
async fn without_disk_space_no_message_is_accepted_and_no_file_remains() {
    let mut harness = <OnDisk>::new();
    let queued = commit(harness.store(), 1, b"head", &octets(INLINE * 3)).await;
    let queued = queued.expect("committed");
    harness.close().await;
    let store = SledStore::open(&full(&harness)).expect("opens");
    let no_room =
        |answer| matches!(answer, Err(StoreError::NoRoom { min_free }) if min_free == u64::MAX / 2);
    assert!(no_room(store.has_room(0)));
    let mut spool = store.begin().expect("a spool");
    let mut grown = Ok(());
    for _ in 0..20 {
        grown = grown.and(spool.write(&octets(10_000)).await);
    }
    assert!(no_room(grown));
    drop(spool);
    files_become(&harness, &[queued.id.to_string()]).await;
    assert_eq!(bytes_of(&store, &queued).await.1, octets(INLINE * 3));
    store.close().await.expect("closed");
    harness.open();
    assert!(harness.store().has_room(0).is_ok());
    let more_than_any_disk = harness.store().has_room(u64::MAX);
    assert!(matches!(more_than_any_disk, Err(StoreError::NoRoom { .. })));
}

#[tokio::test]
async fn a_report_of_any_size_may_use_the_reserved_disk_space() {
    let mut harness = <OnDisk>::new();
    let failed = enqueue(harness.store()).await;
    harness.close().await;
    let store = SledStore::open(&full(&harness)).expect("opens");
    let held = claim(&store, &failed).await;
    let report = bounce(&store, octets(INLINE * 3));
    let settlement = Settlement {
        bounces: vec![report.clone()],
        ..changes(vec![done(0)])
    };
    let left = store.settle(held, settlement).await;
    assert!(
        left.expect("otherwise no space would ever be freed")
            .is_none()
    );
    let [entered] = &all(&store).await[..] else {
        panic!("the report alone is there");
    };
    assert_eq!(entered.id, report.id);
    assert_eq!(bytes_of(&store, entered).await.1, octets(INLINE * 3));
}

#[tokio::test]
async fn a_page_of_large_records_ends_before_it_fills_memory() {
    let harness = <OnDisk>::new();
    let store = harness.store();
    let mut messages = Vec::new();
    for _ in 0..10 {
        let mut message = commit(store, 100, b"head", b"").await.expect("committed");
        let held = claim(store, &message).await;
        let mut step: Vec<_> = (0..100).map(deferred).collect();
        for (_, outcome) in step.iter_mut().filter_map(|change| change.attempt.as_mut()) {
            outcome.detail = "x".repeat(10_000);
        }
        let left = store.settle(held, changes(step.clone())).await;
        assert!(left.expect("settled").is_some());
        message.apply(step);
        messages.push(message);
    }
    let mut found: Vec<Message> = Vec::new();
    loop {
        let after = found.last().map(|message| message.id);
        let page = store.scan(after, 1000).await.expect("scanned");
        assert!(page.len() < 8, "{} of a megabyte each", page.len());
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert!(found == messages);
}
