//! Certificates that vouch for themselves.

use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A certificate with its key; who trusts it as an authority accepts it from a server.
pub struct Certificate {
    certified: CertifiedKey<KeyPair>,
}

impl Certificate {
    /// For a server of these names (or addresses).
    pub fn for_names(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Self {
            certified: generate_simple_self_signed(names).expect("names of a certificate"),
        }
    }

    /// The certificate alone, as a file of authorities has it.
    pub fn pem(&self) -> String {
        self.certified.cert.pem()
    }

    /// The key, as a file has it.
    pub fn key_pem(&self) -> String {
        self.certified.signing_key.serialize_pem()
    }

    /// What a server needs to use it, with TLS 1.2 and 1.3.
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
