//! The certificate authorities that are trusted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    WantsVerifier,
};

/// Why certificates cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The path in `delivery.ca_file`.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file contains a broken certificate.
    #[error("{file}: certificate {number}: {reason}")]
    Certificate {
        /// The path in `delivery.ca_file`.
        file: PathBuf,
        /// The number of the certificate in the file, counted from 1.
        number: usize,
        /// The problem with it.
        reason: String,
    },
    /// The file contains no certificate.
    #[error("{0} holds no certificate (PEM)")]
    Empty(PathBuf),
    /// Neither the system nor the configuration has an authority.
    #[error(
        "no certificate authority is trusted: install the system's (ca-certificates), or set \
         delivery.ca_file"
    )]
    NoAuthority,
    /// The task that reads the authorities did not finish.
    #[error("the certificate authorities could not be read: {0}")]
    Interrupted(String),
}

/// The two TLS configurations. Each is made once, because it holds the sessions for resumption.
#[derive(Debug)]
pub(crate) struct Trust {
    ca_file: Option<PathBuf>,
    verified: OnceCell<Arc<ClientConfig>>,
    unverified: Arc<ClientConfig>,
}

impl Trust {
    /// Trusts the system's authorities and those of a file. They are read at the first use.
    pub(crate) fn new(ca_file: Option<PathBuf>) -> Self {
        Self {
            ca_file,
            verified: OnceCell::new(),
            unverified: Arc::new(
                versions()
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate))
                    .with_no_client_auth(),
            ),
        }
    }

    /// The configuration that accepts any certificate.
    pub(crate) fn unverified(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.unverified)
    }

    /// The configuration that accepts only a valid certificate for the host's name.
    pub(crate) async fn verified(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let read = self.verified.get_or_try_init(async || {
            let ca_file = self.ca_file.clone();
            let read = tokio::task::spawn_blocking(move || read(ca_file.as_deref()));
            read.await
                .unwrap_or_else(|e| Err(TrustError::Interrupted(e.to_string())))
        });
        read.await.cloned()
    }
}

/// Checks that a file for `delivery.ca_file` contains valid certificates.
pub fn check_ca_file(file: &Path) -> Result<(), TrustError> {
    add_file(&mut RootCertStore::empty(), file)
}

/// The authorities of the system and of a file. The result may be empty.
pub(super) fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    // One broken certificate in the system's store must not disable the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        add_file(&mut roots, file)?;
    }
    Ok(roots)
}

fn read(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let roots = authorities(ca_file)?;
    if roots.is_empty() {
        return Err(TrustError::NoAuthority);
    }
    let config = versions().with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}

fn add_file(roots: &mut RootCertStore, file: &Path) -> Result<(), TrustError> {
    let bad = |number, reason| TrustError::Certificate {
        file: file.to_owned(),
        number,
        reason,
    };
    let text = std::fs::read(file).map_err(|source| TrustError::Read {
        file: file.to_owned(),
        source,
    })?;
    let mut number = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        number += 1;
        let certificate = certificate.map_err(|e| bad(number, e.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|e| bad(number, e.to_string()))?;
    }
    if number == 0 {
        return Err(TrustError::Empty(file.to_owned()));
    }
    Ok(())
}

pub(super) fn versions() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
}

/// Accepts any certificate for any host.
///
/// It does not even check the signature of the handshake. An attacker in between can use a
/// certificate of their own anyway, and failing on an unusual certificate would only mean no
/// encryption at all.
#[derive(Debug)]
struct AcceptAnyCertificate;

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_testkit::Certificate;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn a_ca_file_holds_certificates_and_nothing_broken() {
        let good = Certificate::for_names(&["mx.test"]).pem();
        assert!(check_ca_file(file(&good).path()).is_ok());
        assert!(check_ca_file(file(&good.repeat(2)).path()).is_ok());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, expected) in [
            (String::new(), "holds no certificate"),
            ("garbage".to_owned(), "holds no certificate"),
            (format!("{good}{broken}"), "certificate 2: "),
            (broken.replace("AAAA", "!"), "certificate 1: "),
        ] {
            let file = file(&text);
            let error = check_ca_file(file.path()).expect_err(&text).to_string();
            let name = file.path().display().to_string();
            assert!(error.contains(expected) && error.contains(&name), "{error}");
        }
        let gone = check_ca_file(Path::new("/no/such/file")).expect_err("no file");
        assert!(gone.to_string().starts_with("cannot read /no/such/file: "));
    }
}
