//! A message that is moved to another queue arrives unchanged or not at all.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_message::{Message, QueueId, QueueStore, StoreError};
use relay_queue::SledStore;
use relay_queue::archive::{self, End, Imported};

use crate::journal_file::latest;
use crate::stores::{
    Harness, INLINE, OnDisk, all, balanced, bytes_of, changes, claim, commit, config, counts,
    deferred, done, enqueue, names, octets,
};

/// Heads and bodies in the database, partly or completely in a file, in several pieces, and empty.
const SIZES: [(usize, usize); 6] = [
    (10, 20),
    (0, 0),
    (10, INLINE * 3),
    (3000, 20),
    (10, 200_000),
    (3000, 0),
];

/// The time of an import that accepts the ids of the test.
const NOW: SystemTime = UNIX_EPOCH;

fn late() -> SystemTime {
    NOW + Duration::from_secs(1 << 33)
}

/// Exports the whole queue as a stream.
async fn export(store: &SledStore) -> Vec<u8> {
    let mut stream = archive::title().to_vec();
    let messages = all(store).await;
    for message in &messages {
        let pieces = store.export(message.id).await.expect("readable");
        for piece in pieces.expect("it is there") {
            stream.extend_from_slice(&piece.expect("readable"));
        }
    }
    stream.extend_from_slice(&archive::end(messages.len() as u64, 0));
    stream
}

/// Another queue, which imports the stream.
struct Target {
    directory: tempfile::TempDir,
    store: Arc<SledStore>,
}

impl Target {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = SledStore::open(&config(directory.path())).expect("opens");
        Self {
            directory,
            store: Arc::new(store),
        }
    }

    async fn import(&self, stream: &[u8], now: SystemTime) -> (Imported, Vec<(QueueId, String)>) {
        let mut refused = Vec::new();
        let mut report = |id, reason: &str| refused.push((id, reason.to_owned()));
        let imported = archive::import(&self.store, stream, now, &mut report).await;
        assert_eq!(imported.refused, refused.len() as u64);
        (imported, refused)
    }

    /// Checks that exactly these are in the queue, as in `source`, both now and after a reopening.
    async fn has(self, expected: &[Message], source: &SledStore) {
        assert_eq!(all(&*self.store).await, expected);
        for message in expected {
            let bytes = bytes_of(&*self.store, message).await;
            assert_eq!(bytes, bytes_of(source, message).await);
        }
        balanced(&*self.store).await;
        let fresh = expected.iter().filter(|m| m.is_fresh()).count() as u64;
        assert_eq!(counts(&*self.store), (expected.len() as u64, fresh, 0));
        self.store.close().await.expect("closes");
        let again = SledStore::open(&config(self.directory.path())).expect("opens");
        assert_eq!(all(&again).await, expected);
        balanced(&again).await;
        let large = expected.iter().filter(|m| m.size > 2 * INLINE as u64);
        let files = names(&self.directory.path().join("mess"));
        assert_eq!(files.len(), large.count());
    }
}

async fn source() -> OnDisk {
    let harness = <OnDisk>::new();
    for (head, body) in SIZES {
        let committed = commit(harness.store(), 3, &octets(head), &octets(body)).await;
        committed.expect("committed");
    }
    let messages = all(harness.store()).await;
    let held = claim(harness.store(), &messages[0]).await;
    let settled = changes(vec![done(0), deferred(1)]);
    harness
        .store()
        .settle(held, settled)
        .await
        .expect("settled");
    let held = harness.store().set_held(messages[2].id, true).await;
    held.expect("held");
    harness
}

#[tokio::test]
async fn a_queue_that_is_moved_is_the_same_queue() {
    let source = source().await;
    let (stream, target) = (export(source.store()).await, Target::new());
    let (imported, _) = target.import(&stream, late()).await;
    assert!(matches!(imported.end, End::Whole), "{imported:?}");
    assert_eq!(imported.taken, SIZES.len() as u64);
    target.has(&all(source.store()).await, source.store()).await;
}

#[tokio::test]
async fn a_stream_imported_twice_adds_each_message_once() {
    let source = source().await;
    let (stream, target) = (export(source.store()).await, Target::new());
    let (first, _) = target
        .import(&[&stream[..], &stream].concat(), late())
        .await;
    let (again, refused) = target.import(&stream, late()).await;
    let messages = SIZES.len() as u64;
    assert_eq!((first.taken, first.refused), (messages, messages));
    assert_eq!((again.taken, again.refused), (0, messages));
    assert!(matches!(again.end, End::Whole));
    assert!(
        refused
            .iter()
            .all(|(_, why)| why == "it is in the queue already")
    );
    target.has(&all(source.store()).await, source.store()).await;
}

#[tokio::test]
async fn only_whole_messages_of_an_incomplete_stream_are_imported() {
    let source = source().await;
    let (stream, messages) = (export(source.store()).await, all(source.store()).await);
    let length = stream.len();
    let cuts = [
        0,
        1,
        14,
        15,
        16,
        40,
        200,
        400,
        length / 2,
        length - 30,
        length - 9,
        length - 1,
    ];
    for cut in cuts {
        let target = Target::new();
        let (imported, _) = target.import(&stream[..cut], late()).await;
        match (cut, &imported.end) {
            (0, End::Whole) => {}
            (1.., End::Torn(reason)) => assert!(!reason.is_empty()),
            other => panic!("{other:?}"),
        }
        let taken = usize::try_from(imported.taken).expect("few");
        assert_eq!(taken == SIZES.len(), cut > length - 9, "{cut}");
        target.has(&messages[..taken], source.store()).await;
    }
}

#[tokio::test]
async fn a_flipped_octet_anywhere_never_makes_another_message() {
    let source = source().await;
    let (stream, messages) = (export(source.store()).await, all(source.store()).await);
    let target = Target::new();
    for at in (0..600).chain((600..stream.len()).step_by(20_011)) {
        let mut damaged = stream.clone();
        damaged[at] ^= 1 << (at % 8);
        let (imported, _) = target.import(&damaged, late()).await;
        assert!(matches!(imported.end, End::Torn(_)), "{at}: {imported:?}");
    }
    let taken = all(&*target.store).await;
    assert!(taken.iter().all(|message| messages.contains(message)));
    target.has(&taken, source.store()).await;
}

#[tokio::test]
async fn messages_that_cannot_be_in_this_queue_are_refused_and_the_rest_imported() {
    let mut source = <OnDisk>::new();
    let (other, last) = (enqueue(source.store()).await, enqueue(source.store()).await);
    let stream = export(source.store()).await;
    let target = Target::new();
    let (imported, refused) = target.import(&stream, NOW).await;
    assert_eq!((imported.taken, imported.refused), (0, 2));
    assert_eq!(
        refused[0],
        (other.id, "the time in its id is in the future".to_owned())
    );

    // A record with the content of another message; the checksum of the stream is right.
    source.close().await;
    latest(source.path(), &other).rewrite_record(|record| {
        *record.last_mut().expect("octets") ^= 1;
    });
    source.open();
    let exported = source.store().export(other.id).await;
    assert!(matches!(exported, Err(StoreError::Damaged { id, .. }) if id == other.id));
    let exported = source.store().export(other.id).await;
    assert!(exported.expect("readable").is_none(), "it was set aside");
    let (imported, _) = target.import(&export(source.store()).await, late()).await;
    assert_eq!((imported.taken, imported.refused), (1, 0));
    target.has(&[last], source.store()).await;
}

#[tokio::test]
async fn an_invalid_number_or_text_in_a_stream_is_damage() {
    let id = QueueId::from_bits(4096);
    let target = Target::new();
    for line in [
        "relayd queue 2\n".to_owned(),
        "From app@sender.test\n".to_owned(),
        "\n".repeat(3),
        "x".repeat(500),
    ] {
        let (imported, _) = target.import(line.as_bytes(), late()).await;
        assert!(matches!(&imported.end, End::Torn(why) if why.contains("not a queue stream")));
    }
    for line in [
        format!("message {id} 1 1\n"),
        format!("message {id} 1 1 +1\n"),
        format!("message {id} 99999999999999 1 1\n"),
        format!("message {id} 1 99999999999999999999999 1\n"),
        "message nobody 1 1 1\n".to_owned(),
        "end 1 0\n".to_owned(),
        "end 0\n".to_owned(),
        "\u{fffd}\n".to_owned(),
    ] {
        let stream = format!("relayd queue 1\n{line}");
        let (imported, _) = target.import(stream.as_bytes(), late()).await;
        assert!(
            matches!(&imported.end, End::Torn(why) if why.contains("damaged")),
            "{line}"
        );
    }
    target.has(&[], <OnDisk>::new().store()).await;
}
