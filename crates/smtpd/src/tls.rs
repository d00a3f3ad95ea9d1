//! The server's side of TLS: certificates by name, safe suites, one bounded handshake.

mod pair;
mod resolver;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relay_smtp::address::is_domain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{NoServerSessionStorage, ServerConfig};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, CipherSuite, ProtocolVersion, ServerConnection};
use tokio_rustls::server::TlsStream;

use pair::LoadedCertificate;
use resolver::Resolver;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// A certificate chain and its private key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePair {
    /// The file of the certificate chain. The server's own certificate comes first.
    pub certificate: PathBuf,
    /// The file of the private key, in PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// The TLS settings of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// Whether clients may resume sessions with tickets. This is off by default, because some
    /// senders fail with tickets and mail gains little from them.
    pub session_tickets: bool,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate was configured.
    #[error("TLS needs a certificate and a key")]
    NoPair,
    /// A file cannot be read, or is not PEM.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The error of the system or of the PEM parser.
        source: io::Error,
    },
    /// A file does not contain a certificate.
    #[error("{} holds no certificate", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// A file does not contain a private key.
    #[error("{} holds no private key; a key with a passphrase cannot be used", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// A certificate cannot be parsed.
    #[error("{} holds a certificate that cannot be read: {reason}", file.display())]
    BadCertificate {
        /// The file.
        file: PathBuf,
        /// The error of the parser.
        reason: String,
    },
    /// A key cannot be used.
    #[error("{} holds a key that cannot be used: {reason}", file.display())]
    BadKey {
        /// The file.
        file: PathBuf,
        /// The error of the TLS library.
        reason: String,
    },
    /// The key does not belong to the certificate.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The TLS library refuses the settings.
    #[error("TLS cannot be set up: {reason}")]
    Setup {
        /// The error of the library.
        reason: String,
    },
}

/// A certificate that is in use, as shown to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The DNS names that it is valid for.
    pub names: Vec<String>,
    /// When it expires.
    pub not_after: SystemTime,
}

/// The certificates and settings. They are read once; to use new files, make a new value.
pub struct TlsServer {
    acceptor: TlsAcceptor,
    certificates: Vec<CertificateInfo>,
}

impl TlsServer {
    /// Reads all certificates and keys. The first certificate is used for clients that send no host
    /// name or an unknown one. If several match a name, the first whose kind of key the client
    /// supports is used.
    pub fn new(pairs: &[CertificatePair], settings: TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pairs = pairs
            .iter()
            .map(|files| LoadedCertificate::read(files, &provider))
            .collect::<Result<Vec<_>, _>>()?;
        if pairs.is_empty() {
            return Err(TlsError::NoPair);
        }
        let certificates = pairs.iter().map(|pair| pair.info.clone()).collect();
        // RFC 8996 forbids versions before TLS 1.2. The library has only AEAD suites with forward
        // secrecy for TLS 1.2.
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| setup_error(&error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver::new(pairs)));
        config.ignore_client_order = true;
        // Without session storage and a ticketer no tickets are sent.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if settings.session_tickets {
            config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| setup_error(&error))?;
        }
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificates,
        })
    }

    /// Returns the certificates in use, in the order of the configuration.
    pub fn certificates(&self) -> &[CertificateInfo] {
        &self.certificates
    }

    /// Makes the handshake within the time limit.
    pub(crate) async fn accept<T>(&self, stream: T) -> io::Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        timeout(HANDSHAKE, self.acceptor.accept(stream))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

fn setup_error(error: &rustls::Error) -> TlsError {
    TlsError::Setup {
        reason: error.to_string(),
    }
}

/// The result of a handshake, for the log and the Received field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFacts {
    /// The version in its usual form, such as `TLSv1.3`.
    pub(crate) version: &'static str,
    /// The name of the cipher suite in IANA's registry.
    pub(crate) cipher: String,
    /// The host name that the client asked for, if it is a valid one.
    pub(crate) server_name: Option<String>,
}

impl TlsFacts {
    pub(crate) fn of(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let suite = connection.negotiated_cipher_suite();
        let name = connection.server_name().filter(|name| is_domain(name));
        Self {
            version,
            cipher: suite.map_or_else(String::new, |suite| iana_name(suite.suite())),
            server_name: name.map(str::to_owned),
        }
    }
}

/// The library writes `TLS13_` where the registry has `TLS_`.
fn iana_name(suite: CipherSuite) -> String {
    let name = suite.as_str().unwrap_or_default();
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_owned(),
    }
}
