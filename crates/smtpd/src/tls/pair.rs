//! Reads a certificate and its key from their files.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls_pemfile::Item;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::{CertificateInfo, CertificatePair, TlsError};

/// The most octets of a file. Certificate chains have a few thousand.
const FILE_SIZE: u64 = 1024 * 1024;

/// A certificate with its matching key.
#[derive(Debug)]
pub(super) struct LoadedCertificate {
    pub(super) info: CertificateInfo,
    pub(super) key: Arc<CertifiedKey>,
}

impl LoadedCertificate {
    pub(super) fn read(
        files: &CertificatePair,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let CertificatePair { certificate, key } = files;
        let chain = read_pem(certificate)?.certificates;
        let Some(own) = chain.first() else {
            let file = certificate.clone();
            return Err(TlsError::NoCertificate { file });
        };
        let info = describe(certificate, own)?;
        let Some(private) = read_pem(key)?.key else {
            return Err(TlsError::NoKey { file: key.clone() });
        };
        let signer = provider
            .key_provider
            .load_private_key(private)
            .map_err(|error| TlsError::BadKey {
                file: key.clone(),
                reason: error.to_string(),
            })?;
        let pair = CertifiedKey::new(chain, signer);
        match_up(&pair, files)?;
        Ok(Self {
            info,
            key: Arc::new(pair),
        })
    }
}

/// Whether the key belongs to the certificate. A key that cannot return its public half is
/// accepted.
fn match_up(pair: &CertifiedKey, files: &CertificatePair) -> Result<(), TlsError> {
    let CertificatePair { certificate, key } = files;
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        Err(error) => Err(TlsError::BadCertificate {
            file: certificate.clone(),
            reason: error.to_string(),
        }),
    }
}

/// The content of a PEM file. Other sections in it are ignored.
#[derive(Default)]
struct Pem {
    certificates: Vec<CertificateDer<'static>>,
    key: Option<PrivateKeyDer<'static>>,
}

fn read_pem(file: &Path) -> Result<Pem, TlsError> {
    let failed = |source: io::Error| TlsError::Read {
        file: file.to_owned(),
        source,
    };
    let opened = File::open(file).map_err(failed)?;
    let mut pem = Pem::default();
    for item in rustls_pemfile::read_all(&mut BufReader::new(opened.take(FILE_SIZE))) {
        match item.map_err(failed)? {
            Item::X509Certificate(certificate) => pem.certificates.push(certificate),
            Item::Pkcs1Key(key) => pem.key = pem.key.or(Some(key.into())),
            Item::Pkcs8Key(key) => pem.key = pem.key.or(Some(key.into())),
            Item::Sec1Key(key) => pem.key = pem.key.or(Some(key.into())),
            _ => {}
        }
    }
    Ok(pem)
}

/// Returns the names and the expiry of a certificate.
fn describe(file: &Path, certificate: &CertificateDer<'_>) -> Result<CertificateInfo, TlsError> {
    let failed = |error: x509_cert::der::Error| TlsError::BadCertificate {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let parsed = Certificate::from_der(certificate).map_err(failed)?;
    let certified = parsed.tbs_certificate();
    let alternatives = certified
        .get_extension::<SubjectAltName>()
        .map_err(failed)?;
    let names = alternatives.map_or_else(Vec::new, |(_, alternatives)| {
        let names = alternatives.0.into_iter();
        names
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.to_string()),
                _ => None,
            })
            .collect()
    });
    Ok(CertificateInfo {
        path: file.to_owned(),
        names,
        not_after: certified.validity().not_after.to_system_time(),
    })
}
