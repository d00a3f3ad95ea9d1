//! What a proxy says before its client speaks, read off the socket.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::proxy::{self, Client, Header};

/// How long a proxy may take: it has all to say when it connects.
const WAIT: Duration = Duration::from_secs(5);

/// Reads the PROXY header and nothing behind it, for that may be a TLS handshake.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Client> {
    timeout(WAIT, read_header(stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read_header(stream: &mut TcpStream) -> io::Result<Client> {
    let mut header = [0; proxy::LONGEST];
    let mut taken = 0;
    loop {
        let seen = taken + stream.peek(&mut header[taken..]).await?;
        if seen == taken {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (end, client) = match proxy::parse(&header[..seen]) {
            // All of it belongs to the header: taken off, it is not seen again.
            Header::Partial => (seen, None),
            Header::Complete { length, client } => (length, Some(client)),
            Header::Invalid => {
                let what = "it does not begin with a PROXY header";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        };
        stream.read_exact(&mut header[taken..end]).await?;
        taken = end;
        if let Some(client) = client {
            return Ok(client);
        }
    }
}
