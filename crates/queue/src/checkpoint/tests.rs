//! An index on disk is what some checkpoint wrote, or it is not used.

use std::collections::BTreeMap;

use proptest::prelude::*;
use relay_message::Books;
use tempfile::TempDir;

use super::*;

type Entries = BTreeMap<QueueId, Entry>;

fn entry(n: u32) -> Entry {
    Entry {
        record: Position {
            segment: n,
            offset: n * 3,
        },
        record_length: 300 + n,
        content: Position {
            segment: n / 2,
            offset: n * 5,
        },
        content_length: n % 7,
        outstanding: n % 3,
        flags: u8::try_from(n % 4).expect("small"),
    }
}

fn checkpoint(generation: u64) -> Checkpoint {
    let books = Books {
        accepted: generation,
        ..Books::default()
    };
    Checkpoint {
        queue: 77,
        generation,
        position: Position {
            segment: 5,
            offset: 8192,
        },
        ledger: Ledger {
            books,
            is_short: false,
        },
        notes: [(1, Bytes::from_static(b"a note"))].into(),
        last_id: Some(QueueId::from_bits(999)),
    }
}

/// An index with a history, in a directory of its own, and its entries at each checkpoint.
fn aged() -> (TempDir, Vec<Entries>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut disk = DiskIndex::create(&dir.path().join("index")).expect("made");
    let id = |n: u32| QueueId::from_bits(u64::from(n) << 20);
    let first: Vec<_> = (0..300).map(|n| (id(n), entry(n))).collect();
    disk.fill(&first).expect("filled");
    let mut entries: Entries = first.into_iter().collect();
    let mut history = Vec::new();
    for generation in 1..=3u32 {
        let changes = (0..100u32).map(|n| {
            let n = n * generation;
            (id(n), (n % 5 > 0).then(|| entry(n + generation)))
        });
        let changes: BTreeMap<_, _> = changes.collect();
        for (&id, &entry) in &changes {
            match entry {
                Some(entry) => drop(entries.insert(id, entry)),
                None => drop(entries.remove(&id)),
            }
        }
        let changes: Vec<_> = changes.into_iter().collect();
        let written = disk.write(&changes, &checkpoint(u64::from(generation)));
        written.expect("written");
        history.push(entries.clone());
    }
    drop(disk);
    (dir, history)
}

fn open(dir: &TempDir) -> Result<(Checkpoint, Entries), Unusable> {
    let opened = DiskIndex::open(&dir.path().join("index"));
    opened.map(|(_, checkpoint, entries)| (checkpoint, entries.into_iter().collect()))
}

#[test]
fn an_index_is_read_as_it_was_written() {
    let (dir, history) = aged();
    for _ in 0..2 {
        assert!(open(&dir) == Ok((checkpoint(3), history[2].clone())));
    }
}

#[test]
fn more_changes_than_a_batch_may_have_are_written_too() {
    let (dir, history) = aged();
    let opened = DiskIndex::open(&dir.path().join("index"));
    let (mut disk, ..) = opened.expect("usable");
    let count = u32::try_from(LARGEST_BATCH).expect("small") + 10;
    let id = |n: u32| QueueId::from_bits(u64::from(n) << 20);
    let changes = (0..count).map(|n| (id(n), (n % 3 > 0).then(|| entry(n))));
    let changes: Vec<_> = changes.collect();
    disk.write(&changes, &checkpoint(4)).expect("written");
    drop(disk);
    let mut entries = history[2].clone();
    for (id, entry) in changes {
        match entry {
            Some(entry) => drop(entries.insert(id, entry)),
            None => drop(entries.remove(&id)),
        }
    }
    assert!(open(&dir) == Ok((checkpoint(4), entries)));
}

#[test]
fn an_index_without_a_checkpoint_is_not_used() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(open(&dir), Err(Unusable::Missing));
    let mut disk = DiskIndex::create(&dir.path().join("index")).expect("made");
    let entries = [(QueueId::from_bits(1), entry(1))];
    disk.fill(&entries).expect("filled");
    drop(disk);
    assert_eq!(open(&dir), Err(Unusable::Incomplete));
}

#[test]
fn an_index_of_a_later_version_or_with_a_changed_entry_is_not_used() {
    let (dir, _) = aged();
    let change = |key: &[u8], octet: usize, value: u8| {
        let db = sled::open(dir.path().join("index")).expect("opened");
        let mut octets = db.get(key).expect("read").expect("there").to_vec();
        octets[octet] = value;
        db.insert(key, octets).expect("written");
    };
    change(CHECKPOINT, 0, VERSION + 1);
    assert_eq!(open(&dir), Err(Unusable::Version(VERSION + 1)));
    change(CHECKPOINT, 0, VERSION);
    assert!(open(&dir).is_ok());
    change(&key(QueueId::from_bits(299 << 20)), 3, 200);
    assert_eq!(open(&dir), Err(Unusable::Mismatch));
}

#[test]
fn the_octets_of_an_entry_are_fixed() {
    let golden = b"\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05\0\0\0\x06\0\0\0\x07\0\0\0\x03";
    let entry = Entry {
        record: Position {
            segment: 1,
            offset: 2,
        },
        record_length: 3,
        content: Position {
            segment: 4,
            offset: 5,
        },
        content_length: 6,
        outstanding: 7,
        flags: 3,
    };
    let id = QueueId::from_bits(9);
    assert_eq!(&encode(&entry), golden);
    assert_eq!(decode(&key(id), golden), Some((id, entry)));
    assert_eq!(decode(&key(id), &golden[1..]), None);
    assert_eq!(decode(b"books", golden), None);
}

/// What happens to a file.
#[derive(Debug, Clone)]
enum Damage {
    Remove,
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Remove),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), 1..=255u8).prop_map(|(at, by)| Damage::Flip(at, by)),
        (any::<prop::sample::Index>(), 1..=255u8).prop_map(|(at, by)| Damage::Flip(at, by)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// A changed octet can make sled go back to an earlier checkpoint. That is harmless: the journal
    /// is read from there, or tells that the checkpoint is too old.
    #[test]
    fn a_damaged_index_is_not_used_or_whole(
        file in any::<prop::sample::Index>(),
        damage in damage(),
    ) {
        let (dir, history) = aged();
        let index = dir.path().join("index");
        let names = fs::read_dir(&index).expect("a directory").flatten();
        let mut files: Vec<_> = names.map(|n| n.path()).filter(|p| p.is_file()).collect();
        files.sort();
        let path = file.get(&files);
        let mut octets = fs::read(path).expect("read");
        let used = octets.iter().rposition(|&c| c != 0).map_or(1, |last| last + 1);
        match damage {
            Damage::Remove => fs::remove_file(path).expect("removed"),
            Damage::Cut(at) => {
                octets.truncate(at.index(used));
                fs::write(path, octets).expect("written");
            }
            Damage::Flip(at, by) => {
                octets[at.index(used)] ^= by;
                fs::write(path, octets).expect("written");
            }
        }
        if let Ok((found, entries)) = open(&dir) {
            let generation = found.generation;
            prop_assert!((1..=3).contains(&generation));
            prop_assert_eq!(found, checkpoint(generation));
            let then = &history[usize::try_from(generation - 1).expect("small")];
            prop_assert!(entries == *then, "not as at checkpoint {generation}");
        }
        let mut disk = DiskIndex::create(&index).expect("made");
        disk.write(&[], &checkpoint(4)).expect("written");
        drop(disk);
        prop_assert_eq!(open(&dir), Ok((checkpoint(4), Entries::new())));
    }
}
