//! The bytes of a connection, in clear or under TLS.

use std::io;

use relay_smtp::outcome::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::tls;

/// A connection's stream.
#[derive(Debug)]
pub(crate) enum Stream {
    Clear(TcpStream),
    /// Boxed: most of a TLS stream is its state, and a pool holds streams by the hundred.
    Secure(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(crate) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(into).await,
            Self::Secure(stream) => stream.read(into).await,
        }
    }

    /// Hands all of it to the system.
    pub(crate) async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.write_all(octets).await,
            Self::Secure(stream) => {
                stream.write_all(octets).await?;
                // The last records may still be on this side of the socket.
                stream.flush().await
            }
        }
    }

    /// Tells the peer that nothing more comes.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.shutdown().await,
            Self::Secure(stream) => stream.shutdown().await,
        }
    }

    /// Whether the peer has neither hung up nor sent anything that nobody has read. A stream that
    /// was not quiet is of no more use: an octet may have been lost in asking.
    pub(crate) fn is_quiet(&self) -> bool {
        let socket = match self {
            Self::Clear(socket) => socket,
            Self::Secure(stream) => {
                let (socket, session) = stream.get_ref();
                // What was decrypted and not read would not show at the socket.
                if !session.wants_read() {
                    return false;
                }
                socket
            }
        };
        let read = socket.try_read(&mut [0]);
        matches!(read, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// What protects it, and whether its peer was asked for a certificate of its name.
    pub(crate) fn tls(&self, verified: bool) -> Option<Tls> {
        match self {
            Self::Clear(_) => None,
            Self::Secure(stream) => Some(tls::settled(stream.get_ref().1, verified)),
        }
    }
}
