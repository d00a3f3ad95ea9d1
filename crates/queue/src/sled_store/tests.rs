//! Tests of a batch that may or may not have reached the disk.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use relay_message::{RecipientChange, RecipientState};
use relay_smtp::ForwardPath;
use relay_smtp::dsn::DsnRequest;
use tempfile::TempDir;

use super::*;
use crate::committer::tests::Moment;

/// Before anything is written, and when everything is durable.
const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

fn open(directory: &TempDir) -> SledStore {
    let config = StoreConfig {
        state_dir: directory.path().to_owned(),
        min_free: 0,
        inline_body: 100,
    };
    SledStore::open(&config).expect("opens")
}

fn envelope() -> Envelope {
    let to: ForwardPath = "u@b.test".parse().expect("an address");
    Envelope {
        sender: "a@b.test".parse().expect("an address"),
        recipients: vec![to.into()],
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
    }
}

async fn commit(store: &SledStore, body: &[u8]) -> Result<Message, StoreError> {
    let mut spool = store.begin()?;
    spool.write(body).await?;
    let head = Bytes::from_static(b"head");
    store.commit(spool, envelope(), UNIX_EPOCH, head).await
}

/// Waits, with a bound, until the store works again.
async fn until_open(store: &SledStore) {
    let open = async {
        while store.has_room(0).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let opened = tokio::time::timeout(Duration::from_secs(20), open).await;
    assert!(opened.is_ok(), "it opens again by itself");
}

async fn ids(store: &SledStore) -> Vec<QueueId> {
    let audit = store.audit().await.expect("audited");
    assert!(audit.is_balanced(), "{audit:?}");
    let messages = store.scan(None, 100).await.expect("scanned");
    assert_eq!(store.count(), messages.len() as u64);
    messages.iter().map(|m| m.id).collect()
}

fn files(state_dir: &Path) -> usize {
    std::fs::read_dir(state_dir.join("mess"))
        .expect("a directory")
        .count()
}

#[tokio::test]
async fn a_refused_message_is_never_in_the_queue_and_an_accepted_one_always() {
    for step in MOMENTS {
        for body in [&b"small"[..], &[7; 1000]] {
            let directory = tempfile::tempdir().expect("a directory");
            let store = open(&directory);
            let accepted = commit(&store, body).await.expect("committed").id;
            store.faults.fail_at(step);
            assert!(commit(&store, body).await.is_err(), "{step:?}");
            assert!(commit(&store, body).await.is_err(), "closed for a moment");
            until_open(&store).await;
            assert_eq!(ids(&store).await, [accepted], "{step:?}");
            let later = commit(&store, body).await.expect("committed").id;
            assert_eq!(ids(&store).await, [accepted, later], "{step:?}");
            drop(store);
            let store = open(&directory);
            assert_eq!(ids(&store).await, [accepted, later], "{step:?}");
            assert_eq!(
                files(directory.path()),
                if body.len() > 100 { 2 } else { 0 }
            );
            assert_eq!(store.count_damaged(), 0);
        }
    }
}

#[tokio::test]
async fn a_settlement_in_doubt_is_recorded_once_with_its_bounce_and_files() {
    let change = || RecipientChange {
        index: 0,
        state: RecipientState::Done,
        attempt: None,
    };
    for step in MOMENTS {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(&directory);
        let message = commit(&store, &[7; 1000]).await.expect("committed");
        let claimed = store.claim(message.id).await.expect("claimed");
        let (claim, _) = claimed.expect("it is there");
        let bounce = NewMessage {
            id: store.next_id(),
            origin: Origin::Bounce,
            envelope: envelope(),
            arrived: UNIX_EPOCH,
            head: Bytes::from_static(b"head"),
            body: vec![8; 1000].into(),
        };
        let id = bounce.id;
        store.faults.fail_at(step);
        let settlement = Settlement {
            recipients: vec![change()],
            bounces: vec![bounce],
            ..Settlement::default()
        };
        let left = store.settle(claim, settlement).await.expect("settled");
        assert!(left.is_none(), "{step:?}");
        assert_eq!(ids(&store).await, [id], "{step:?}");
        drop(store);
        let store = open(&directory);
        assert_eq!(ids(&store).await, [id], "{step:?}");
        assert_eq!((files(directory.path()), store.count_damaged()), (1, 0));
        let (claim, _) = store.claim(id).await.expect("claimed").expect("there");
        assert!(store.open(claim).await.is_ok());
    }
}

#[tokio::test]
async fn a_store_closed_while_in_doubt_loses_no_bounce() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(open(&directory));
    let message = commit(&store, b"small").await.expect("committed");
    let (claim, _) = store
        .claim(message.id)
        .await
        .expect("claimed")
        .expect("there");
    let bounce = NewMessage {
        id: store.next_id(),
        origin: Origin::Bounce,
        envelope: envelope(),
        arrived: UNIX_EPOCH,
        head: Bytes::from_static(b"head"),
        body: vec![8; 1000].into(),
    };
    let id = bounce.id;
    store.faults.fail_at(Moment::After);
    let settlement = Settlement {
        recipients: vec![RecipientChange {
            index: 0,
            state: RecipientState::Done,
            attempt: None,
        }],
        bounces: vec![bounce],
        ..Settlement::default()
    };
    let settling = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.settle(claim, settlement).await }
    });
    while store.has_room(0).is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.close().await.expect("closed");
    assert!(settling.await.expect("no panic").is_err());
    drop(store);
    let store = open(&directory);
    assert_eq!(ids(&store).await, [id]);
    let (claim, _) = store.claim(id).await.expect("claimed").expect("there");
    assert!(store.open(claim).await.is_ok());
}
