//! A segment of the journal with changed octets costs at most one message for each change, however
//! the index is.

#![no_main]

mod queue;

use std::fs;

use libfuzzer_sys::fuzz_target;

/// The octets of a change: the file, the place, and what to change there.
const CHANGE: usize = 6;

fuzz_target!(|input: &[u8]| {
    let Some((&with_index, input)) = input.split_first() else {
        return;
    };
    let (dir, files) = queue::copy();
    let journal = dir.path().join("journal");
    let segments: Vec<_> = files.iter().filter(|f| f.starts_with(&journal)).collect();
    let changes: Vec<_> = input.chunks_exact(CHANGE).take(4).collect();
    for change in &changes {
        let segment = segments[usize::from(change[0]) % segments.len()];
        let mut octets = fs::read(segment).expect("read");
        let at = u32::from_le_bytes(change[1..5].try_into().expect("four octets"));
        let place = at as usize % octets.len();
        octets[place] ^= change[5];
        fs::write(segment, octets).expect("written");
    }
    if with_index % 2 == 0 {
        fs::remove_dir_all(dir.path().join("index")).expect("removed");
    }
    let sound = queue::sound(dir.path());
    assert!(sound.len() + changes.len() >= queue::MESSAGES, "{sound:?}");
    assert_eq!(queue::sound(dir.path()), sound, "nothing more is lost later");
});
