//! `acl`.

use std::io::Write;
use std::time::SystemTime;

use relay_control::Grant;

use crate::failure::Failure;
use relay_terminal::{date, until};

/// A line for each address that may relay for a while.
pub(crate) fn grants(
    out: &mut impl Write,
    grants: &[Grant],
    now: SystemTime,
) -> Result<(), Failure> {
    let mut lines = grants.iter().map(|grant| {
        let (end, left) = (date(grant.until), until(grant.until, now));
        writeln!(out, "{}  until {end} ({left})", grant.address)
    });
    lines.try_for_each(|line| line).map_err(Failure::Output)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_permission_is_shown_with_its_end() {
        let grant = Grant {
            address: "2001:db8::1".parse().expect("an address"),
            until: 1_795_230_601,
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_795_227_001);
        let mut out = Vec::new();
        grants(&mut out, &[grant], now).expect("memory");
        let expected = "2001:db8::1  until 21 Nov 2026 03:10:01 GMT (in 1h)\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
