//! Chooses the certificate for a client.

use std::sync::Arc;

use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::pair::LoadedCertificate;

/// The certificates with their keys. The first one is the default.
#[derive(Debug)]
pub(super) struct Resolver {
    pairs: Vec<LoadedCertificate>,
}

impl Resolver {
    pub(super) fn new(pairs: Vec<LoadedCertificate>) -> Self {
        Self { pairs }
    }

    /// Returns the certificate for this name, of a kind that the client supports. An exact name has
    /// priority over a wildcard. If no name matches, the first certificate that the client supports
    /// is used.
    fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&LoadedCertificate> {
        let usable = || {
            self.pairs
                .iter()
                .filter(|pair| pair.key.key.choose_scheme(schemes).is_some())
        };
        let named = |fits: fn(&str, &str) -> bool| {
            let name = name?;
            usable().find(|pair| pair.info.names.iter().any(|ours| fits(ours, name)))
        };
        named(str::eq_ignore_ascii_case)
            .or_else(|| named(covers))
            .or_else(|| usable().next())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
            .map(|pair| Arc::clone(&pair.key))
    }
}

/// Whether a wildcard name matches this host. The `*` matches exactly the first label (RFC 6125
/// §6.4.3).
fn covers(pattern: &str, host: &str) -> bool {
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((label, rest))) => {
            !label.is_empty() && rest.eq_ignore_ascii_case(domain)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_exactly_one_label() {
        for (pattern, host, fits) in [
            ("*.relay.test", "mx.relay.test", true),
            ("*.relay.test", "MX.Relay.test", true),
            ("*.relay.test", "a.mx.relay.test", false),
            ("*.relay.test", "relay.test", false),
            ("*.relay.test", ".relay.test", false),
            ("*", "test", false),
            ("m*.relay.test", "mx.relay.test", false),
        ] {
            assert_eq!(covers(pattern, host), fits, "{pattern} {host}");
        }
    }
}
