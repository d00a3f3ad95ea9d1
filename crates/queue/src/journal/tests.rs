//! Rounds survive whatever happens to the segment around them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::round::PAGE;
use super::*;

/// The rounds of a test: each has messages with contents of these lengths.
type Rounds = Vec<Vec<usize>>;

struct Written {
    dir: TempDir,
    segment: Arc<Segment>,
    /// Where each round begins.
    starts: Vec<u32>,
    end: u32,
}

fn round(first_id: u64, contents: &[usize]) -> Round {
    let mut round = Round::default();
    for (id, &length) in (first_id..).zip(contents) {
        let content = vec![id.to_le_bytes()[0]; length];
        let octets = ContentOctets {
            parts: [&content, b""],
            checksum: crc32fast::hash(&content),
        };
        let summary = FrameState {
            outstanding: 1,
            flags: 0,
        };
        round.message(id, summary, format!("record {id}").as_bytes(), octets);
    }
    round.end(b"state");
    round
}

fn opening() -> Round {
    round(0, &[])
}

fn write(rounds: &Rounds) -> Written {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(dir.path().to_owned(), 7, Position::default());
    let mut journal = journal.expect("a journal");
    journal.set_segment_size(1 << 20);
    let (mut id, mut starts, mut last) = (1, Vec::new(), None);
    for contents in rounds {
        let appended = journal.append(&mut round(id, contents), opening);
        let appended = appended.expect("appended");
        id += contents.len() as u64;
        starts.push(appended.start);
        last = Some(appended.segment);
    }
    let end = journal.last().offset;
    let segment = last.expect("a round");
    Written {
        dir,
        segment,
        starts,
        end,
    }
}

impl Written {
    fn ids(&self, end: Option<u32>) -> Vec<u64> {
        let scan = scan(&self.segment.file, self.segment.tag, 0, end).expect("read");
        sound_ids(&scan)
    }

    fn octets(&self) -> Vec<u8> {
        fs::read(path(self.dir.path(), self.segment.number)).expect("read")
    }
}

fn sound_ids(scan: &super::scan::Scan) -> Vec<u64> {
    let frames = scan.frames.iter();
    let messages = frames.filter(|found| found.header.kind == FrameKind::Message && found.is_sound);
    messages.map(|found| found.header.id).collect()
}

fn rounds() -> impl Strategy<Value = Rounds> {
    let contents = prop::collection::vec(0..9000usize, 1..6);
    prop::collection::vec(contents, 1..8)
}

fn all_ids(rounds: &Rounds) -> Vec<u64> {
    (1..=rounds.iter().flatten().count() as u64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn all_rounds_are_read_again(rounds in rounds()) {
        let written = write(&rounds);
        prop_assert_eq!(written.ids(None), all_ids(&rounds));
        prop_assert_eq!(written.ids(Some(written.end)), all_ids(&rounds));
        let read = scan(&written.segment.file, written.segment.tag, 0, None).expect("read");
        prop_assert_eq!((read.end, read.damage.len()), (written.end, 0));
        for &start in &written.starts {
            prop_assert_eq!(start % PAGE, 0);
            let read = scan(&written.segment.file, written.segment.tag, start, None);
            prop_assert_eq!(read.expect("read").end, written.end);
        }
    }

    /// A power loss in the middle of the last round: any of its pages may be missing.
    #[test]
    fn an_incomplete_last_round_does_not_count(rounds in rounds(), lost in any::<prop::sample::Index>()) {
        let written = write(&rounds);
        let start = *written.starts.last().expect("a round");
        let pages = (written.end - start) / PAGE;
        let page = start + PAGE * u32::try_from(lost.index(pages as usize)).expect("few");
        let before = written.octets();
        let was_empty = before[page as usize..(page + PAGE) as usize].iter().all(|&c| c == 0);
        written.segment.file.write_all_at(&[0; PAGE as usize], u64::from(page)).expect("written");
        let kept = all_ids(&rounds[..rounds.len() - 1].to_vec());
        if was_empty {
            prop_assert_eq!(written.ids(None), all_ids(&rounds));
        } else {
            prop_assert_eq!(written.ids(None), kept);
            let read = scan(&written.segment.file, written.segment.tag, 0, None).expect("read");
            prop_assert_eq!((read.end, read.damage.len()), (start, 0));
        }
    }

    /// The next segment tells that all rounds were durable.
    #[test]
    fn a_flipped_octet_costs_one_frame_at_most(
        rounds in rounds(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let written = write(&rounds);
        let at = PAGE + u32::try_from(at.index((written.end - PAGE) as usize)).expect("few");
        let mut octet = [0];
        written.segment.file.read_exact_at(&mut octet, u64::from(at)).expect("read");
        octet[0] ^= 1 << bit;
        written.segment.file.write_all_at(&octet, u64::from(at)).expect("written");
        let ids = written.ids(Some(written.end));
        let all = all_ids(&rounds);
        prop_assert!(ids.len() + 1 >= all.len(), "{ids:?} of {all:?}");
        prop_assert!(ids.iter().all(|id| all.contains(id)));
        prop_assert!(ids.is_sorted());
    }

    #[test]
    fn any_octets_are_read_without_a_panic(
        octets in prop::collection::vec(any::<u8>(), 0..20_000),
        tag in any::<u64>(),
        start in any::<u32>(),
        end in any::<Option<u32>>(),
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("any");
        fs::write(&path, &octets).expect("written");
        let file = open(&path).expect("opened");
        let read = scan(&file, tag, start, end).expect("read");
        prop_assert_eq!(read.frames.len(), 0);
        SegmentHeader::read(&file).expect("read");
        tag_of_first_frame(&file).expect("read");
    }
}

#[test]
fn a_message_with_the_text_of_a_frame_is_no_frame() {
    let written = write(&vec![vec![100]]);
    let stolen = written.octets()[PAGE as usize..written.end as usize].to_vec();
    // The same octets in a segment of their own, whose frames before them are damaged.
    let dir = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(dir.path().to_owned(), 7, Position::default());
    let mut journal = journal.expect("a journal");
    let mut round = Round::default();
    let content = ContentOctets {
        parts: [&stolen, b""],
        checksum: crc32fast::hash(&stolen),
    };
    round.message(9, FrameState::default(), b"record", content);
    round.end(b"state");
    let appended = journal.append(&mut round, opening).expect("appended");
    let (segment, start) = (appended.segment, appended.start);
    segment
        .file
        .write_all_at(b"?", u64::from(start) + 9)
        .expect("written");
    let end = journal.last().offset;
    let read = scan(&segment.file, segment.tag, 0, Some(end)).expect("read");
    assert_eq!(sound_ids(&read), [0; 0]);
    assert_eq!(read.damage.len(), 1);
}

#[test]
fn what_an_earlier_use_of_the_file_left_does_not_count() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(dir.path().to_owned(), 7, Position::default());
    let mut journal = journal.expect("a journal");
    journal.set_segment_size(64 * 1024);
    let numbers = |dir: &Path| {
        let names = fs::read_dir(dir).expect("a directory").flatten();
        let names = names.filter_map(|name| number(&name.file_name().to_string_lossy()));
        let mut numbers: Vec<u32> = names.collect();
        numbers.sort_unstable();
        numbers
    };
    let mut last = None;
    for id in 1..40 {
        let appended = journal.append(&mut round(id, &[9000]), opening);
        last = Some((appended.expect("appended").segment, id));
        if let [first, _, _, ..] = numbers(dir.path())[..] {
            journal.give_up(first).expect("given up");
        }
    }
    let (segment, id) = last.expect("a segment");
    assert!(segment.number > 5, "{}", segment.number);
    let read = scan(&segment.file, segment.tag, 0, None).expect("read");
    let ids = sound_ids(&read);
    assert_eq!(ids.last(), Some(&id));
    assert!(ids.len() < 6, "{ids:?}");
}

#[test]
fn a_damaged_copy_of_a_header_is_replaced_by_the_other() {
    let written = write(&vec![vec![10]]);
    let file = &written.segment.file;
    let header = SegmentHeader::read(file).expect("read");
    assert!(
        matches!(header, FirstPage::FrameHeader(h) if h.tag == written.segment.tag && h.queue == 7)
    );
    file.write_all_at(b"x", 20).expect("written");
    assert_eq!(SegmentHeader::read(file).expect("read"), header);
    file.write_all_at(b"x", 2048 + 20).expect("written");
    assert_eq!(SegmentHeader::read(file).expect("read"), FirstPage::Damaged);
    let tag = tag_of_first_frame(file).expect("read");
    assert_eq!(tag, Some(written.segment.tag));
}
