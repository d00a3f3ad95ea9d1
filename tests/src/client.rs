//! An SMTP client for tests, independent of the relay's own code.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::DEADLINE;

/// A client that sends exactly what the test says.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<Channel>,
}

/// The connection of a client.
#[derive(Debug)]
enum Channel {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Client {
    /// Connects without reading or sending anything.
    pub async fn connect(port: u16) -> Self {
        Self::try_connect(port).await.expect("it listens")
    }

    /// Connects if there is a listener.
    pub async fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        Ok(Self {
            stream: BufReader::new(Channel::Clear(stream)),
        })
    }

    /// Makes a TLS handshake as `name`. The certificate must be signed by `authority`.
    pub async fn shake_hands(self, name: &str, authority: &str) -> io::Result<Self> {
        let Channel::Clear(stream) = self.stream.into_inner() else {
            return Err(io::Error::other("TLS has already been started"));
        };
        let host = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(tls_client(authority));
        let shaken = timeout(DEADLINE, connector.connect(host, stream)).await;
        let stream = shaken.expect("a handshake in time")?;
        Ok(Self {
            stream: BufReader::new(Channel::Tls(Box::new(stream))),
        })
    }

    /// Sends STARTTLS, makes the handshake, and sends EHLO again.
    pub async fn start_tls(mut self, name: &str, authority: &str) -> io::Result<Self> {
        let reply = self.command("STARTTLS").await;
        assert!(reply.starts_with("220 "), "{reply}");
        let mut client = self.shake_hands(name, authority).await?;
        client.command("EHLO client.test").await;
        Ok(client)
    }

    /// Logs in and returns the reply.
    pub async fn login(&mut self, name: &str, password: &str) -> String {
        let plain = format!("\0{name}\0{password}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
        self.command(&format!("AUTH PLAIN {encoded}")).await
    }

    /// Reads one whole reply. It is empty if the relay has closed the connection.
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            let read = timeout(DEADLINE, self.stream.read_line(&mut line)).await;
            let length = read.expect("a reply in time").unwrap_or_default();
            reply += &line;
            if length == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return reply.trim_end().to_owned();
            }
        }
    }

    /// Sends one line and returns its reply.
    pub async fn command(&mut self, line: &str) -> String {
        self.write(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Makes one transaction. Returns the queue id, or the reply that ended it.
    pub async fn send(
        &mut self,
        from: &str,
        to: &[&str],
        message: &[u8],
    ) -> Result<String, String> {
        let mut commands = vec![format!("MAIL FROM:<{from}>")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        commands.push("DATA".into());
        for command in commands {
            let reply = self.command(&command).await;
            if !reply.starts_with(['2', '3']) {
                return Err(reply);
            }
        }
        let stuffed = String::from_utf8_lossy(message).replace("\r\n.", "\r\n..");
        self.write(format!("{stuffed}.\r\n").as_bytes()).await;
        let reply = self.reply().await;
        match reply.strip_prefix("250 ").and_then(|r| r.rsplit_once(' ')) {
            Some((_, id)) => Ok(id.to_owned()),
            None => Err(reply),
        }
    }

    /// Sends octets unchanged. If the relay was killed in the meantime, reading the reply shows it.
    pub async fn write(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets).await;
        let _ = self.stream.flush().await;
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A TLS configuration that trusts only this authority (PEM).
fn tls_client(authority: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
