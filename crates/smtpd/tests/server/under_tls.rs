//! Certificates, and clients that speak TLS.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use relay_message::QueueStore;
use relay_smtpd::{CertificatePair, Role, TlsServer, TlsSettings};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};

use crate::world::{Client, World, soon};

/// A client under TLS.
pub(crate) type Secured = Client<TlsStream<TcpStream>>;

/// Writes the files of a certificate for these names, and returns the certificate.
pub(crate) fn write_pair(
    directory: &Path,
    stem: &str,
    names: &[&str],
    algorithm: &'static SignatureAlgorithm,
) -> (CertificatePair, CertificateDer<'static>) {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let params = CertificateParams::new(names).expect("names");
    let certificate = params.self_signed(&key).expect("a certificate");
    let file = |end: &str, text: String| -> PathBuf {
        let path = directory.join(format!("{stem}.{end}"));
        std::fs::write(&path, text).expect("a file");
        path
    };
    let pair = CertificatePair {
        certificate: file("cert.pem", certificate.pem()),
        key: file("key.pem", key.serialize_pem()),
    };
    (pair, certificate.der().clone())
}

/// TLS with one certificate, for `relay.test`.
pub(crate) fn tls(settings: TlsSettings) -> Arc<TlsServer> {
    let directory = tempfile::tempdir().expect("a directory");
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let (pair, _) = write_pair(directory.path(), "relay", &["relay.test"], algorithm);
    Arc::new(TlsServer::new(&[pair], settings).expect("a good pair"))
}

/// Accepts any certificate, if the server has its key.
#[derive(Debug)]
struct TakesAny {
    provider: CryptoProvider,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// The TLS abilities of a client.
#[derive(Clone)]
pub(crate) struct Dialect(Arc<ClientConfig>);

impl Dialect {
    /// These versions of TLS, and every kind of signature.
    pub(crate) fn of(versions: &[&'static SupportedProtocolVersion]) -> Self {
        let provider = aws_lc_rs::default_provider();
        let algorithms = provider.signature_verification_algorithms;
        Self::with(versions, &algorithms.supported_schemes())
    }

    pub(crate) fn with(
        versions: &[&'static SupportedProtocolVersion],
        schemes: &[SignatureScheme],
    ) -> Self {
        let provider = aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_protocol_versions(versions)
            .expect("suites for these versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAny {
                provider,
                schemes: schemes.to_vec(),
            }))
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    pub(crate) async fn shake_hands(
        &self,
        name: &'static str,
        stream: TcpStream,
    ) -> std::io::Result<Secured> {
        let name = ServerName::try_from(name).expect("a host");
        let connecting = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream);
        soon(connecting).await.map(Client::over)
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self::of(tokio_rustls::rustls::ALL_VERSIONS)
    }
}

impl Client {
    /// Sends STARTTLS from a client that has sent EHLO.
    pub(crate) async fn secured(mut self, name: &'static str, dialect: &Dialect) -> Secured {
        self.expect("STARTTLS", "220 2.0.0").await;
        assert!(self.0.buffer().is_empty(), "nothing more in clear");
        let stream = self.0.into_inner();
        dialect.shake_hands(name, stream).await.expect("TLS")
    }
}

impl<S: QueueStore> World<S> {
    /// Makes a client under TLS, by STARTTLS or from the first octet, that has sent EHLO. Returns
    /// the offered extensions too.
    pub(crate) async fn secured(
        &self,
        role: Role,
        from: Ipv4Addr,
        dialect: &Dialect,
    ) -> (Secured, String) {
        let mut client = if role == Role::Submissions {
            let stream = self.connect_to(role, from).await.0.into_inner();
            let mut client = dialect
                .shake_hands("relay.test", stream)
                .await
                .expect("TLS");
            assert!(client.reply().await.starts_with("220 relay.test"));
            client
        } else {
            let client = self.greeted_at(role, from).await;
            client.secured("relay.test", dialect).await
        };
        let offer = client.hello().await;
        (client, offer)
    }
}
