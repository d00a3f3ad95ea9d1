//! Self-signed certificates.

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedKey, DistinguishedName, DnType, KeyPair, date_time_ymd};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A self-signed certificate with its key. A client that trusts it as an authority accepts it.
pub struct Certificate {
    certified: CertifiedKey<KeyPair>,
}

impl Certificate {
    /// Makes a certificate for a server with these names or addresses.
    pub fn for_names(names: &[&str]) -> Self {
        Self::with(&params(names))
    }

    /// Makes a certificate that was valid only in 2001.
    pub fn expired(names: &[&str]) -> Self {
        let mut params = params(names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        Self::with(&params)
    }

    fn with(params: &CertificateParams) -> Self {
        let signing_key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&signing_key).expect("a certificate");
        Self {
            certified: CertifiedKey { cert, signing_key },
        }
    }

    /// The certificate in PEM, as in a file of authorities.
    pub fn pem(&self) -> String {
        self.certified.cert.pem()
    }

    /// The key in PEM.
    pub fn key_pem(&self) -> String {
        self.certified.signing_key.serialize_pem()
    }

    /// A server configuration with this certificate, for TLS 1.2 and 1.3.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(self.certified.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both")
            .with_no_client_auth()
            .with_single_cert(vec![self.certified.cert.der().clone()], key)
            .expect("the key is the certificate's");
        Arc::new(config)
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).expect("names of a certificate");
    // Clients find an issuer by its name.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
