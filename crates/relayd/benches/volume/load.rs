//! Clients that send mail as fast as it is accepted.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::now;

/// Returns a message of about this many octets.
pub fn message(octets: usize) -> Vec<u8> {
    let header = "From: app@sender.test\r\nSubject: A report\r\n\r\n";
    let line = "The quick brown fox jumps over the lazy dog.\r\n";
    let lines = octets.saturating_sub(header.len()) / line.len();
    (header.to_owned() + &line.repeat(lines)).into_bytes()
}

/// Returns how long it takes until this many messages are accepted. Each client uses one
/// connection.
pub async fn offer(port: u16, to: &str, body: usize, count: usize, clients: usize) -> Duration {
    let envelope = format!("MAIL FROM:<app@sender.test>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    let body = [message(body), b".\r\n".to_vec()].concat();
    let mut running = JoinSet::new();
    let since = now();
    for client in 0..clients {
        let (envelope, body) = (envelope.clone(), body.clone());
        running.spawn(async move {
            let stream = TcpStream::connect(("127.0.0.1", port)).await;
            let mut stream = BufReader::new(stream.expect("it listens"));
            read_until(&mut stream, "220 ").await;
            stream
                .write_all(b"EHLO client.test\r\n")
                .await
                .expect("it reads");
            read_until(&mut stream, "250 ").await;
            for _ in (client..count).step_by(clients) {
                stream
                    .write_all(envelope.as_bytes())
                    .await
                    .expect("it reads");
                read_until(&mut stream, "354 ").await;
                stream.write_all(&body).await.expect("it reads");
                read_until(&mut stream, "250 ").await;
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("all is accepted");
    }
    since.elapsed()
}

/// Reads replies up to the one that begins with `start`.
async fn read_until(stream: &mut BufReader<TcpStream>, start: &str) {
    let mut line = String::new();
    while !line.starts_with(start) {
        line.clear();
        let length = stream.read_line(&mut line).await.expect("a reply");
        assert!(length > 0 && !line.starts_with(['4', '5']), "{line}");
    }
}
