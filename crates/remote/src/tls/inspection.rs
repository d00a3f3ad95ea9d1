//! A handshake that accepts any certificate and reports its problems. It is for diagnosis only,
//! never for mail.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use relay_smtp::outcome::TlsParameters;
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{self, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::trust::{TrustError, authorities, versions};
use super::{TlsFailure, certificate_problem, handshake};
use crate::stream::{Duplex, negotiated};

/// Checks certificates like a delivery, but does not stop at a problem.
#[derive(Debug)]
pub struct Inspector {
    roots: Arc<RootCertStore>,
}

/// The result of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The TLS parameters. They are verified if there are no flaws.
    pub tls: TlsParameters,
    /// The certificates in DER, the host's own first.
    pub chain: Vec<Vec<u8>>,
    /// The reasons why a delivery that verifies the host would fail.
    pub flaws: Vec<String>,
}

impl Inspector {
    /// Uses the system's authorities and those of `delivery.ca_file`. It reads files.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, TrustError> {
        let roots = Arc::new(authorities(ca_file)?);
        Ok(Self { roots })
    }

    /// Starts TLS with a host of this name.
    pub async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
        now: SystemTime,
    ) -> Result<(Box<dyn Duplex>, Presented), TlsFailure> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH);
        let witness = Arc::new(Witness {
            roots: Arc::clone(&self.roots),
            now: UnixTime::since_unix_epoch(now.unwrap_or(Duration::ZERO)),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
            flaws: Mutex::default(),
        });
        let config = versions()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        let stream = handshake(stream, Arc::new(config), host).await?;
        let connection = stream.get_ref().1;
        let flaws = witness.flaws();
        let presented = Presented {
            tls: negotiated(connection, flaws.is_empty()),
            chain: connection
                .peer_certificates()
                .map(|chain| chain.iter().map(|c| c.to_vec()).collect())
                .unwrap_or_default(),
            flaws,
        };
        Ok((Box::new(stream), presented))
    }
}

/// Checks everything in a handshake and records problems instead of failing.
#[derive(Debug)]
struct Witness {
    roots: Arc<RootCertStore>,
    now: UnixTime,
    algorithms: WebPkiSupportedAlgorithms,
    flaws: Mutex<Vec<String>>,
}

impl Witness {
    fn flaws(&self) -> Vec<String> {
        let flaws = self.flaws.lock();
        flaws.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note<T>(&self, result: Result<T, rustls::Error>) {
        let text = match result {
            Ok(_) => return,
            Err(rustls::Error::InvalidCertificate(reason)) => certificate_problem(&reason),
            Err(other) => other.to_string(),
        };
        let flaws = self.flaws.lock();
        flaws.unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match ParsedCertificate::try_from(own) {
            Ok(own) => {
                self.note(verify_server_cert_signed_by_trust_anchor(
                    &own,
                    &self.roots,
                    others,
                    self.now,
                    self.algorithms.all,
                ));
                self.note(verify_server_name(&own, name));
            }
            Err(error) => self.note::<()>(Err(error)),
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.algorithms;
        self.note(verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        ));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.algorithms;
        self.note(verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        ));
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_testkit::{Certificate, FakeMx};
    use std::io::Write;

    async fn inspect(certificate: &Certificate, trusted: bool, host: &str) -> Presented {
        let mx = FakeMx::start().await;
        mx.begin_with_tls(certificate);
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let other = Certificate::for_names(&["other.test"]);
        let authority = if trusted { certificate } else { &other };
        file.write_all(authority.pem().as_bytes()).expect("written");
        let inspector = Inspector::new(Some(file.path())).expect("authorities");
        let stream = TcpStream::connect(mx.address()).await.expect("connected");
        // Some day in 2026.
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(56 * 8766);
        let shaken = inspector.handshake(stream, host, now).await;
        shaken.expect("a handshake").1
    }

    #[tokio::test]
    async fn every_flaw_of_a_certificate_is_reported_and_none_stops_the_handshake() {
        let names = ["mx.test"];
        let (good, old) = (Certificate::for_names(&names), Certificate::expired(&names));
        for (certificate, trusted, host, expected) in [
            (&good, true, "mx.test", &[][..]),
            (&good, true, "elsewhere.test", &["it is for other names"]),
            (&good, false, "mx.test", &["no authority"]),
            (
                &good,
                false,
                "elsewhere.test",
                &["no authority", "it is for other names"],
            ),
            (&old, true, "mx.test", &["it has expired"]),
        ] {
            let presented = inspect(certificate, trusted, host).await;
            let flaws = &presented.flaws;
            assert_eq!(flaws.len(), expected.len(), "{flaws:?}");
            let told = flaws.iter().zip(expected);
            assert!(told.into_iter().all(|(f, e)| f.contains(e)), "{flaws:?}");
            assert_eq!(presented.tls.verified, expected.is_empty());
            assert_eq!(presented.chain.len(), 1);
        }
    }
}
