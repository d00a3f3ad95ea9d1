//! TLS as a client: trusted authorities and the handshake.

mod inspection;
mod trust;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig};

pub use self::inspection::{Inspector, Presented};
pub(crate) use self::trust::Trust;
pub use self::trust::{TrustError, check_ca_file};

/// The most octets of clear text before a handshake. A peer that sends more is not trusted.
const MAX_CHATTER: usize = 64 * 1024;

/// Why TLS could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The trusted authorities could not be loaded.
    #[error("{0}")]
    Trust(String),
    /// The certificate is not valid for the host, or no trusted authority issued it.
    #[error("the certificate of {host} is not accepted: {reason}")]
    Certificate {
        /// The name that the certificate should have.
        host: String,
        /// The problem with it.
        reason: String,
    },
    /// The handshake failed for another reason.
    #[error("TLS handshake failed: {0}")]
    Handshake(String),
    /// The handshake did not finish in time.
    #[error("TLS handshake failed: no answer in time")]
    TimedOut,
}

/// Starts TLS with a host. Its name is sent as SNI and, if `config` verifies, must be in the
/// certificate.
pub(crate) async fn handshake(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    host: &str,
) -> Result<TlsStream<TcpStream>, TlsFailure> {
    drop_plain_text(&stream)?;
    let name = server_name(host, &stream)?;
    let connector = TlsConnector::from(config);
    let shaken = connector.connect(name, stream).await;
    shaken.map_err(|e| TlsFailure::new(host, &e))
}

/// Drops all octets that came before the handshake. A server sends TLS only after the client's
/// first octets, so those were in clear text, and an attacker may have inserted them.
fn drop_plain_text(stream: &TcpStream) -> Result<(), TlsFailure> {
    let (mut dropped, mut chatter) = (0, [0; 1024]);
    while dropped < MAX_CHATTER {
        match stream.try_read(&mut chatter) {
            Ok(0) => {
                return Err(TlsFailure::Handshake(
                    "the host closed the connection".to_owned(),
                ));
            }
            Ok(length) => dropped += length,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(TlsFailure::Handshake(e.kind().to_string())),
        }
    }
    Err(TlsFailure::Handshake(
        "the host keeps sending clear text".to_owned(),
    ))
}

/// The name for SNI. A host name that no certificate can have is replaced by the address: without
/// verification that is enough, and with verification the handshake fails.
fn server_name(host: &str, stream: &TcpStream) -> Result<ServerName<'static>, TlsFailure> {
    if let Ok(name) = ServerName::try_from(host.to_owned()) {
        return Ok(name);
    }
    let address = stream.peer_addr().map(|peer| peer.ip().to_canonical());
    let address: IpAddr = address.map_err(|e| TlsFailure::Handshake(e.kind().to_string()))?;
    Ok(ServerName::IpAddress(address.into()))
}

impl TlsFailure {
    fn new(host: &str, error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|e| e.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidCertificate(reason)) => Self::Certificate {
                host: host.to_owned(),
                reason: certificate_problem(reason),
            },
            Some(tls) => Self::Handshake(tls.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Handshake("the host closed the connection".to_owned())
            }
            None => Self::Handshake(error.kind().to_string()),
        }
    }
}

/// The problem with a certificate, and what can be done about it.
fn certificate_problem(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => {
            "it has expired; if the clock of this machine is right, the host's operator must renew it"
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock of this machine right?"
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "it is for other names; use a name that is in the certificate"
        }
        // The signature is also bad if a trusted authority has the same name but another key.
        E::UnknownIssuer | E::BadSignature => {
            "no authority that is trusted here has issued it; if it is the right one, put its \
             authority's certificate into delivery.ca_file"
        }
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_testkit::DEADLINE;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.expect("connected"), theirs.expect("accepted").0)
    }

    async fn readable(stream: &TcpStream) {
        let readable = tokio::time::timeout(DEADLINE, stream.readable());
        readable.await.expect("in time").expect("readable");
    }

    #[tokio::test]
    async fn everything_that_came_before_a_handshake_is_dropped() {
        let (ours, mut theirs) = pair().await;
        assert_eq!(drop_plain_text(&ours), Ok(()), "nothing to drop");
        theirs.write_all(&[b'x'; 5000]).await.expect("written");
        readable(&ours).await;
        assert_eq!(drop_plain_text(&ours), Ok(()));
        let left = ours.try_read(&mut [0]).expect_err("nothing is left");
        assert_eq!(left.kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        readable(&ours).await;
        assert!(drop_plain_text(&ours).is_err(), "the peer is gone");
    }

    #[tokio::test]
    async fn a_peer_that_never_stops_sending_clear_text_gets_no_handshake() {
        let (ours, mut theirs) = pair().await;
        let talking =
            tokio::spawn(async move { while theirs.write_all(&[b'x'; 8192]).await.is_ok() {} });
        let refused = async {
            loop {
                match drop_plain_text(&ours) {
                    Ok(()) => readable(&ours).await,
                    Err(refused) => return refused,
                }
            }
        };
        let refused = tokio::time::timeout(DEADLINE, refused)
            .await
            .expect("an end");
        assert!(refused.to_string().contains("keeps sending"), "{refused}");
        talking.abort();
    }
}
