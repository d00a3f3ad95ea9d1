//! The byte stream of a connection, in clear text or under TLS.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use relay_smtp::outcome::{TlsName, TlsParameters};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConnection;

/// The stream of a connection.
#[derive(Debug)]
pub(crate) enum PeerStream {
    Clear(TcpStream),
    /// Boxed, because a TLS stream is large and a pool holds hundreds of streams.
    Secure(Box<TlsStream<TcpStream>>),
}

/// Which of two things happened first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteOrRead {
    /// All octets were handed to the system.
    Written,
    /// The peer sent this many octets; 0 means that it closed the connection.
    Read(usize),
}

/// A stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl PeerStream {
    pub(crate) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.duplex().read(into).await
    }

    /// Hands all octets to the system.
    pub(crate) async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        let stream = self.duplex();
        stream.write_all(octets).await?;
        // The last TLS records may still be in the buffer.
        stream.flush().await
    }

    /// Hands the octets to the system until the peer sends something. Afterwards `octets` holds
    /// those that are still unsent.
    pub(crate) async fn write_or_read(
        &mut self,
        octets: &mut &[u8],
        heard: &mut [u8],
    ) -> io::Result<WriteOrRead> {
        let stream = self.duplex();
        poll_fn(|context| poll_both(stream, context, octets, heard)).await
    }

    /// Ends the sending direction.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.duplex().shutdown().await
    }

    /// Whether the peer has neither closed the connection nor sent anything unread. A stream that
    /// is not quiet must not be used again: this check may have dropped an octet.
    pub(crate) fn is_quiet(&self) -> bool {
        let socket = match self {
            Self::Clear(socket) => socket,
            Self::Secure(stream) => {
                let (socket, session) = stream.get_ref();
                // Decrypted octets that were not read yet do not show at the socket.
                if !session.wants_read() {
                    return false;
                }
                socket
            }
        };
        let read = socket.try_read(&mut [0]);
        matches!(read, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// The TLS parameters. `verified` says whether the certificate was checked.
    pub(crate) fn tls(&self, verified: bool) -> Option<TlsParameters> {
        match self {
            Self::Clear(_) => None,
            Self::Secure(stream) => Some(negotiated(stream.get_ref().1, verified)),
        }
    }

    fn duplex(&mut self) -> &mut dyn Duplex {
        match self {
            Self::Clear(stream) => stream,
            Self::Secure(stream) => &mut **stream,
        }
    }
}

/// Reads before it writes: a peer that refuses the message must not be sent the rest of it.
fn poll_both(
    stream: &mut dyn Duplex,
    context: &mut Context<'_>,
    octets: &mut &[u8],
    heard: &mut [u8],
) -> Poll<io::Result<WriteOrRead>> {
    let (mut stream, mut heard) = (Pin::new(stream), ReadBuf::new(heard));
    if stream.as_mut().poll_read(context, &mut heard)?.is_ready() {
        return Poll::Ready(Ok(WriteOrRead::Read(heard.filled().len())));
    }
    while !octets.is_empty() {
        let taken = ready!(stream.as_mut().poll_write(context, octets))?;
        if taken == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *octets = octets.get(taken..).unwrap_or_default();
    }
    ready!(stream.as_mut().poll_flush(context))?;
    Poll::Ready(Ok(WriteOrRead::Written))
}

/// The version and cipher suite that a handshake has negotiated.
pub(crate) fn negotiated(connection: &ClientConnection, verified: bool) -> TlsParameters {
    let version = connection.protocol_version().and_then(|v| v.as_str());
    let cipher = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str());
    TlsParameters {
        version: TlsName::known(match version {
            Some("TLSv1_2") => "TLSv1.2",
            Some("TLSv1_3") => "TLSv1.3",
            other => other.unwrap_or("unknown"),
        }),
        cipher: TlsName::known(cipher.unwrap_or("unknown")),
        verified,
    }
}
