//! The contents of a certificate.

use std::time::{SystemTime, UNIX_EPOCH};

use relay_smtp::outcome::TlsParameters;
use serde::Serialize;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use relay_terminal::date;

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Certificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) names: Vec<String>,
    /// The end of validity, in seconds since 1970.
    pub(crate) not_after: u64,
}

/// The results of a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Handshake {
    #[serde(flatten)]
    pub(crate) tls: TlsParameters,
    pub(crate) flaws: Vec<String>,
    pub(crate) chain: Vec<Certificate>,
}

impl Certificate {
    /// Parses a certificate. Returns `None` if it is not valid.
    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(octets).ok()?;
        let certified = parsed.tbs_certificate();
        let alternatives = certified.get_extension::<SubjectAltName>().ok()?;
        let names = alternatives.map_or_else(Vec::new, |(_, names)| names.0);
        let not_after = certified.validity().not_after.to_system_time();
        Some(Self {
            subject: certified.subject().to_string(),
            issuer: certified.issuer().to_string(),
            names: names.iter().filter_map(name).collect(),
            not_after: seconds(not_after),
        })
    }

    /// Returns a description on one line.
    pub(super) fn text(&self) -> String {
        let names = match &self.names[..] {
            [] => String::new(),
            names => format!(", names {}", names.join(" ")),
        };
        let Self {
            subject, issuer, ..
        } = self;
        let until = date(self.not_after);
        format!("{subject}, issued by {issuer}{names}, until {until}")
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let four = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(octets).map(Into::into));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_that_are_not_a_certificate_are_ignored() {
        assert_eq!(Certificate::read(b"\x30\x03abc"), None);
        assert_eq!(Certificate::read(b""), None);
    }
}
