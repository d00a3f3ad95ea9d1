//! A queue of the earlier layout is taken over completely, wherever a crash interrupts that.

use std::time::UNIX_EPOCH;

use relay_message::{Body, Envelope, Message, Origin, QueueId, QueueStore};
use relay_smtp::ForwardPath;
use relay_smtp::dsn::DsnRequest;
use tempfile::TempDir;

use super::*;
use crate::earlier::tests::make;
use crate::record::Layout;
use crate::sled_store::{SledStore, StoreConfig};

const HEAD: &[u8] = b"head";

fn message(bits: u64, recipients: usize) -> Message {
    let to = (0..recipients).map(|n| format!("u{n}@b.test").parse::<ForwardPath>());
    let envelope = Envelope {
        sender: "a@b.test".parse().expect("an address"),
        recipients: to.map(|path| path.expect("an address").into()).collect(),
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
    };
    let size = (HEAD.len() + body(bits).len()) as u64;
    Message::new(
        QueueId::from_bits(bits),
        UNIX_EPOCH,
        Origin::Client,
        envelope,
        size,
    )
}

fn body(bits: u64) -> Vec<u8> {
    vec![bits.to_le_bytes()[0]; 700 * usize::try_from(bits).expect("few")]
}

fn stored(message: &Message, place: ContentPlace) -> EarlierMessage {
    let body = body(message.id.to_bits());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&body);
    checksum.update(HEAD);
    let layout = Layout {
        place,
        head: HEAD.len() as u64,
        body: body.len() as u64,
        checksum: checksum.finalize(),
    };
    let content = match place {
        ContentPlace::Journal => [HEAD, &body].concat(),
        ContentPlace::BodyFile => HEAD.to_vec(),
        ContentPlace::WholeFile => Vec::new(),
    };
    let record = Record {
        message: message.clone(),
        layout,
    };
    EarlierMessage {
        id: message.id,
        record: record.encode(),
        content,
    }
}

/// A queue with a message of each layout, and one whose record cannot be read.
fn earlier() -> (TempDir, Vec<Message>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mess = dir.path().join("mess");
    fs::create_dir(&mess).expect("made");
    let places = [
        ContentPlace::Journal,
        ContentPlace::BodyFile,
        ContentPlace::WholeFile,
        ContentPlace::Journal,
    ];
    let messages: Vec<Message> = (1..=4).map(|bits| message(bits, 2)).collect();
    let mut all: Vec<_> = messages
        .iter()
        .zip(places)
        .map(|(message, place)| stored(message, place))
        .collect();
    let files = [(2, body(2)), (3, [&body(3)[..], HEAD].concat())];
    for (bits, octets) in files {
        fs::write(mess.join(QueueId::from_bits(bits).to_string()), octets).expect("written");
    }
    let mut damaged = stored(&message(5, 3), ContentPlace::Journal);
    damaged.record.truncate(9);
    all.push(damaged);
    let mut books = Books {
        delivered: 7,
        ..Books::default()
    };
    books.accepted = 7 + 4 * 2 + 3;
    let ledger = Ledger {
        books,
        is_short: false,
    };
    make(dir.path(), &all, &ledger);
    (dir, messages)
}

fn open(dir: &TempDir) -> SledStore {
    let config = StoreConfig {
        state_dir: dir.path().to_owned(),
        min_free: 0,
        inline_body: 1000,
    };
    SledStore::open(&config).expect("opens")
}

async fn is_taken_over(dir: &TempDir, messages: &[Message]) {
    for _ in 0..2 {
        let store = open(dir);
        let found = store.scan(None, 100).await.expect("scanned");
        assert_eq!(found, messages);
        for message in messages {
            let content = store.content(message.id).await.expect("read");
            let content = content.expect("there");
            assert_eq!(content.head, HEAD);
            let octets = match content.body {
                Body::Inline(octets) => octets.to_vec(),
                Body::File { file, length } => {
                    use std::os::unix::fs::FileExt;
                    let mut octets = vec![0; usize::try_from(length).expect("short")];
                    file.read_exact_at(&mut octets, 0).expect("read");
                    octets
                }
            };
            assert_eq!(octets, body(message.id.to_bits()));
        }
        let audit = store.audit().await.expect("audited");
        assert!(audit.is_balanced(), "{audit:?}");
        assert_eq!((audit.books.delivered, audit.books.set_aside), (7, 3));
        assert_eq!(store.count_damaged(), 1);
        store.close().await.expect("closed");
    }
    for gone in ["queue", "queue.taken-over", "journal.new"] {
        assert!(!dir.path().join(gone).exists(), "{gone}");
    }
}

fn places(dir: &TempDir) -> Places {
    Places {
        state_dir: dir.path().to_owned(),
        old: dir.path().join("queue"),
        old_done: dir.path().join("queue.taken-over"),
        new: dir.path().join("journal.new"),
        journal: dir.path().join("journal"),
    }
}

#[tokio::test]
async fn everything_is_taken_over_and_the_old_queue_removed() {
    let (dir, messages) = earlier();
    is_taken_over(&dir, &messages).await;
}

#[tokio::test]
async fn a_takeover_is_continued_after_a_crash_in_any_of_its_steps() {
    for step in 0..4 {
        let (dir, messages) = earlier();
        make_dir(&dir.path().join("corrupt")).expect("made");
        let places = places(&dir);
        if step == 0 {
            fs::create_dir(&places.new).expect("made");
            fs::write(places.new.join("00000001"), b"a part of a segment").expect("written");
        } else {
            take_over(&places).expect("taken over");
            // The damaged message was set aside; a second attempt would do it again.
            fs::remove_dir_all(dir.path().join("corrupt")).expect("removed");
        }
        if step == 1 {
            is_taken_over(&dir, &messages).await;
            continue;
        }
        make_dir(&dir.path().join("corrupt")).expect("made");
        if step >= 2 {
            fs::write(dir.path().join("corrupt/0000000000005.reason"), b"kept").expect("written");
            fs::rename(&places.old, &places.old_done).expect("renamed");
        }
        if step >= 3 {
            fs::rename(&places.new, &places.journal).expect("renamed");
        }
        is_taken_over(&dir, &messages).await;
    }
}

#[test]
fn a_queue_of_the_earlier_layout_beside_a_journal_is_not_removed() {
    let (dir, _) = earlier();
    fs::create_dir(dir.path().join("journal")).expect("made");
    let refused = run(dir.path()).expect_err("refused").to_string();
    assert!(refused.contains("an earlier relayd ran here"), "{refused}");
    fs::rename(
        dir.path().join("journal"),
        dir.path().join("queue.taken-over"),
    )
    .expect("renamed");
    assert!(run(dir.path()).is_err());
    assert!(dir.path().join("queue/db").exists());
}

#[tokio::test]
async fn a_body_whose_record_the_earlier_database_has_lost_is_kept() {
    let (dir, _) = earlier();
    let id = QueueId::from_bits(2);
    let db = sled::open(dir.path().join("queue")).expect("opened");
    for kind in *b"mc" {
        let key = [&[kind][..], &id.to_bits().to_be_bytes()].concat();
        assert!(db.remove(key).expect("removed").is_some());
    }
    db.flush().expect("flushed");
    drop(db);
    let store = open(&dir);
    assert_eq!((store.count(), store.count_damaged()), (3, 2));
    let kept = fs::read(dir.path().join(format!("corrupt/{id}.body")));
    assert_eq!(kept.expect("kept"), body(2));
    let audit = store.audit().await.expect("audited");
    assert!(
        audit.is_balanced() && audit.books.set_aside == 5,
        "{audit:?}"
    );
    store.close().await.expect("closed");
}

#[test]
fn a_queue_without_its_database_file_is_not_taken_for_an_empty_one() {
    let (dir, _) = earlier();
    fs::remove_file(dir.path().join("queue/db")).expect("removed");
    let config = StoreConfig {
        state_dir: dir.path().to_owned(),
        min_free: 0,
        inline_body: 1000,
    };
    assert!(SledStore::open(&config).is_err());
    let bodies = fs::read_dir(dir.path().join("mess")).expect("a directory");
    assert_eq!(bodies.count(), 2);
}
