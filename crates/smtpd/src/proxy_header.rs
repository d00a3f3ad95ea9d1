//! Reads the PROXY header, which a proxy sends before the octets of its client.

mod parse;

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::parse::Header;
pub(crate) use self::parse::ProxiedClient;

/// How long a proxy may take. It has the whole header when it connects.
const WAIT: Duration = Duration::from_secs(5);

/// Reads the PROXY header and nothing after it, because a TLS handshake may follow.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<ProxiedClient> {
    timeout(WAIT, read_header(stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read_header(stream: &mut TcpStream) -> io::Result<ProxiedClient> {
    let mut header = [0; parse::LONGEST];
    let mut taken = 0;
    loop {
        let seen = taken + stream.peek(&mut header[taken..]).await?;
        if seen == taken {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (end, client) = match parse::parse(&header[..seen]) {
            // All of these octets belong to the header. After they are consumed they cannot be read
            // again.
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_proxy_that_takes_too_long_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        for beginning in [&b""[..], b"PROXY TCP4 192.0.2.1 "] {
            let mut proxy = TcpStream::connect(address).await.expect("a listener");
            let (mut stream, _) = listener.accept().await.expect("a connection");
            proxy.write_all(beginning).await.expect("a connection");
            // Nothing else happens in this test, so the clock may skip ahead.
            tokio::time::pause();
            let began = tokio::time::Instant::now();
            let read = read(&mut stream).await;
            let kind = read.map_err(|error| error.kind());
            assert_eq!(kind, Err(io::ErrorKind::TimedOut), "{beginning:?}");
            assert_eq!(began.elapsed().as_secs(), WAIT.as_secs());
            tokio::time::resume();
        }
    }
}
