//! Dates as used in header fields (RFC 5322 §3.3).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Formats a time in UTC: `Sun, 06 Nov 1994 08:49:37 +0000`. Times before 1970 and after 9999,
/// which only a damaged record can contain, become the nearest valid time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(pub SystemTime);

/// The last second of 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self
            .0
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .min(LAST);
        // RFC 9110's form differs from RFC 5322's only in the zone, whose form is obsolete in mail.
        let date = httpdate::fmt_http_date(UNIX_EPOCH + since);
        write!(f, "{} +0000", date.trim_end_matches(" GMT"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_in_utc_and_extreme_times_are_limited() {
        for (seconds, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 +0000"),
            (1 << 62, "Fri, 31 Dec 9999 23:59:59 +0000"),
        ] {
            assert_eq!(
                Date(UNIX_EPOCH + Duration::from_secs(seconds)).to_string(),
                text
            );
        }
        let before = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(Date(before).to_string(), "Thu, 01 Jan 1970 00:00:00 +0000");
    }
}
