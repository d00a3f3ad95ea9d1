//! Reports when our certificates expire.

use std::time::{SystemTime, UNIX_EPOCH};

use relay_control::Certificate;
use relay_smtpd::{CertificateInfo, TlsServer};

const DAY: i64 = 24 * 60 * 60;

/// Describes the certificates in use for the operator.
pub(crate) fn described(tls: Option<&TlsServer>, now: SystemTime) -> Vec<Certificate> {
    let certificates = tls.map_or(&[][..], TlsServer::certificates);
    certificates
        .iter()
        .map(|info| describe(info, now))
        .collect()
}

fn describe(info: &CertificateInfo, now: SystemTime) -> Certificate {
    let expires = seconds(info.not_after);
    Certificate {
        file: info.path.display().to_string(),
        names: info.names.clone(),
        expires: expires.unsigned_abs(),
        days_left: (expires - seconds(now)).div_euclid(DAY),
    }
}

/// Converts a time to seconds since 1970. The times of certificates are not before 1970 or after
/// the year 9999.
fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_whole_and_negative_after_the_expiry() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let info = CertificateInfo {
            path: "/cert.pem".into(),
            names: vec!["relay.test".to_owned()],
            not_after: at(20 * 86_400),
        };
        for (now, days, warned) in [
            (0, 20, false),
            (6 * 86_400, 14, false),
            (6 * 86_400 + 1, 13, true),
            (20 * 86_400 - 1, 0, true),
            (20 * 86_400, 0, true),
            (20 * 86_400 + 1, -1, true),
        ] {
            let described = describe(&info, at(now));
            assert_eq!(described.days_left, days, "{now}");
            assert_eq!(described.needs_renewal(), warned, "{now}");
            assert_eq!(described.expires, 20 * 86_400);
        }
    }
}
