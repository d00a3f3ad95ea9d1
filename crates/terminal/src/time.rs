//! Times as a person reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Formats seconds since 1970 as qmail-qread does: `21 Nov 2026 03:10:00 GMT`.
pub fn date(seconds: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        // httpdate accepts years up to 9999.
        Some(time) if seconds < 253_402_300_800 => {
            let date = httpdate::fmt_http_date(time);
            date.split_once(", ")
                .map_or(date.clone(), |(_, day)| day.to_owned())
        }
        _ => format!("{seconds} s"),
    }
}

/// Formats the time that is left: `in 6m 40s`, or `now` if `seconds` since 1970 have passed.
pub fn until(seconds: u64, now: SystemTime) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_qmail_does() {
        assert_eq!(date(1_795_230_600), "21 Nov 2026 03:10:00 GMT");
        assert_eq!(date(0), "01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(u64::MAX), format!("{} s", u64::MAX));
    }

    #[test]
    fn waits_are_relative_to_now() {
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
}
