//! A store whose n-th operation fails. The operation is done completely or not at all, acknowledged
//! changes stay, and the store continues to work.

use std::collections::BTreeMap;

use relay_message::{Message, QueueId, QueueStore, StoreError};
use relay_queue::{MemoryStore, SledStore};
use relay_testkit::FaultyStore;

use crate::stores::{
    Harness, INLINE, InMemory, OnDisk, all, balanced, bounce, bytes, changes, commit, deferred,
    done, octets,
};

/// What the store has acknowledged.
#[derive(Default)]
struct Ledger {
    messages: BTreeMap<QueueId, Message>,
    bodies: BTreeMap<QueueId, Vec<u8>>,
}

/// Runs some operations and stops at the first error.
async fn live<S: QueueStore>(store: &S, ledger: &mut Ledger) -> Result<(), StoreError> {
    for length in [10, INLINE * 5] {
        let body = octets(length);
        let message = commit(store, 2, b"head", &body).await?;
        ledger.bodies.insert(message.id, body);
        ledger.messages.insert(message.id, message);
    }
    for message in store.scan(None, 10).await? {
        let Some((claim, mut message)) = store.claim(message.id).await? else {
            continue;
        };
        let (_, body) = bytes(store.open(claim).await?);
        assert!(body == ledger.bodies[&message.id]);
        store.settle(claim, changes(vec![deferred(0)])).await?;
        message.apply(vec![deferred(0)]);
        ledger.messages.insert(message.id, message.clone());
        assert_eq!(store.get(message.id).await?, Some(message.clone()));
        message.held = true;
        store.set_held(message.id, true).await?;
        ledger.messages.insert(message.id, message.clone());
        let mut last = changes(vec![done(0), done(1)]);
        let report = bounce(store, octets(INLINE * 2));
        last.bounces.push(report.clone());
        assert!(store.settle(claim, last).await?.is_none());
        ledger.messages.remove(&message.id);
        let size = (report.head.len() + report.body.len()) as u64;
        let report = Message::new(
            report.id,
            report.arrived,
            report.origin,
            report.envelope,
            size,
        );
        ledger.bodies.insert(report.id, octets(INLINE * 2));
        ledger.messages.insert(report.id, report);
    }
    let doomed = commit(store, 2, b"head", &octets(INLINE * 2)).await?;
    ledger.bodies.insert(doomed.id, octets(INLINE * 2));
    ledger.messages.insert(doomed.id, doomed.clone());
    store.delete(doomed.id).await?;
    ledger.messages.remove(&doomed.id);
    store.audit().await?;
    Ok(())
}

/// Checks that the store has exactly the acknowledged messages and their content.
async fn agrees<S: QueueStore>(store: &S, ledger: &Ledger) {
    let expected: Vec<Message> = ledger.messages.values().cloned().collect();
    assert_eq!(all(store).await, expected);
    let fresh = expected.iter().filter(|m| m.is_fresh()).count() as u64;
    assert_eq!(
        (store.count(), store.count_fresh()),
        (expected.len() as u64, fresh)
    );
    for message in &expected {
        let claimed = store.claim(message.id).await.expect("claimed");
        let (claim, _) = claimed.expect("it is there");
        let (_, body) = bytes(store.open(claim).await.expect("opened"));
        assert!(body == ledger.bodies[&message.id]);
        store.release(claim);
    }
    balanced(store).await;
}

/// Fails the first operation, the second, and so on until there are no more.
async fn every_operation_fails_once<S, H>()
where
    S: QueueStore,
    H: Harness<Store = FaultyStore<S>>,
{
    for n in 0.. {
        let (mut harness, mut ledger) = (H::new(), Ledger::default());
        harness.store().fail_after(n);
        let lived = live(harness.store(), &mut ledger).await;
        if harness.store().is_armed() {
            lived.expect("nothing has failed");
            assert!(n > 15, "many operations have failed: {n}");
            return;
        }
        assert!(lived.is_err(), "operation {n}");
        agrees(harness.store(), &ledger).await;
        harness.reopen().await;
        agrees(harness.store(), &ledger).await;
        let lived = live(harness.store(), &mut ledger).await;
        lived.expect("it goes on");
        agrees(harness.store(), &ledger).await;
    }
}

#[tokio::test]
async fn the_store_in_memory_keeps_what_it_acknowledged_after_any_failure() {
    every_operation_fails_once::<_, InMemory<FaultyStore<MemoryStore>>>().await;
}

#[tokio::test]
async fn the_store_on_disk_keeps_what_it_acknowledged_after_any_failure() {
    every_operation_fails_once::<_, OnDisk<FaultyStore<SledStore>>>().await;
}
