//! A state directory opens whatever happened to its files. If only the index was hit, every message
//! is there.

#![no_main]

mod queue;

use std::fs;

use libfuzzer_sys::fuzz_target;

const CHANGE: usize = 6;

fuzz_target!(|input: &[u8]| {
    let (dir, files) = queue::copy();
    let index = dir.path().join("index");
    let mut only_the_index = true;
    for change in input.chunks_exact(CHANGE).take(6) {
        let file = &files[usize::from(change[0]) % files.len()];
        let Ok(mut octets) = fs::read(file) else {
            continue;
        };
        let at = u32::from_le_bytes(change[1..5].try_into().expect("four octets"));
        let place = at as usize % octets.len().max(1);
        only_the_index &= file.starts_with(&index) || file.ends_with("lock");
        match change[5] {
            0 => fs::remove_file(file).expect("removed"),
            1 => fs::write(file, b"").expect("written"),
            2 => fs::write(file, &octets[..place]).expect("written"),
            by => {
                if let Some(octet) = octets.get_mut(place) {
                    *octet ^= by;
                }
                fs::write(file, octets).expect("written");
            }
        }
    }
    let sound = queue::sound(dir.path());
    if only_the_index {
        assert_eq!(sound.len(), queue::MESSAGES);
    }
    assert_eq!(queue::sound(dir.path()), sound, "nothing more is lost later");
});
