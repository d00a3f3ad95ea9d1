//! Answers as a person reads them.

mod acl;
mod books;
mod check;
mod dkim;
mod mx;
mod orders;
mod queue;
mod route;
mod status;
mod summary;

use std::borrow::Cow;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::failure::Failure;

pub(crate) use acl::grants;
pub(crate) use books::audit;
pub(crate) use check::report;
pub(crate) use dkim::{rotation, tested_keys};
pub(crate) use mx::exchangers;
pub(crate) use orders::orders;
pub(crate) use queue::{detail, entry, qread, steered};
pub(crate) use route::plan;
pub(crate) use status::qstat;
pub(crate) use summary::summary;

/// The answer as it came, on one line.
pub(crate) fn json(out: &mut impl Write, answer: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(answer).map_err(Failure::answer)?;
    writeln!(out, "{}", tame(&text)).map_err(Failure::Output)
}

/// `21 Nov 2026 03:10:00 GMT`, as qmail-qread writes it.
pub(crate) fn date(seconds: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        // httpdate knows the years up to 9999.
        Some(time) if seconds < 253_402_300_800 => {
            let date = httpdate::fmt_http_date(time);
            date.split_once(", ")
                .map_or(date.clone(), |(_, day)| day.to_owned())
        }
        _ => format!("{seconds} s"),
    }
}

/// How long until then: `in 6m 40s`, or `now`.
pub(crate) fn until(seconds: u64, now: SystemTime) -> String {
    let then = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let wait = then
        .and_then(|then| then.duration_since(now).ok())
        .unwrap_or_default();
    match wait.as_secs() {
        0 => "now".to_owned(),
        wait => format!(
            "in {}",
            humantime::format_duration(Duration::from_secs(wait))
        ),
    }
}

/// JSON that means the same and cannot steer a terminal: its writers escape the ASCII controls below
/// DEL only.
pub(crate) fn tame(json: &str) -> Cow<'_, str> {
    if !json.contains(steers) {
        return json.into();
    }
    let mut tame = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) {
            let escape = format!("\\u{:04x}", u32::from(c));
            tame.push_str(&escape);
        } else {
            tame.push(c);
        }
    }
    tame.into()
}

/// Whether a terminal does something else with it than show it in its place. All of them are below
/// U+10000.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text from elsewhere, such that it cannot steer a terminal.
pub(crate) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_qmail() {
        assert_eq!(date(1_795_230_600), "21 Nov 2026 03:10:00 GMT");
        assert_eq!(date(0), "01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(u64::MAX), format!("{} s", u64::MAX));
    }

    #[test]
    fn waits_are_told_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        for (then, expected) in [
            (1400, "in 6m 40s"),
            (1000, "now"),
            (5, "now"),
            (u64::MAX, "now"),
        ] {
            assert_eq!(until(then, now), expected);
        }
    }

    #[test]
    fn json_means_the_same_and_does_not_steer_the_terminal_either() {
        let text = "a\u{1b}\u{7f}\u{9b}2J\u{202e}\r\nü";
        let mut out = Vec::new();
        json(&mut out, &text).expect("memory");
        let shown = String::from_utf8(out).expect("text");
        assert_eq!(shown, "\"a\\u001b\\u007f\\u009b2J\\u202e\\r\\nü\"\n");
        assert_eq!(serde_json::from_str(&shown).ok(), Some(text.to_owned()));
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            safe("a\u{1b}[2Jb\r\nü\u{202e}"),
            "a\\u{1b}[2Jb\\r\\nü\\u{202e}"
        );
    }
}
