//! Submits the demo's own message as any client would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long to wait for one reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many octets one line of a reply may have.
const LONGEST_LINE: u64 = 1000;

const MESSAGE: &str = "\
From: Application <app@example.org>\r\n\
To: You <you@example.net>\r\n\
Subject: Hello from the demo\r\n\
\r\n\
This message was accepted, queued, signed and delivered.\r\n";

/// Sends the message. Returns the dialogue, one line for each command and reply.
pub(super) async fn send(relay: SocketAddr) -> io::Result<String> {
    let mut dialogue = Dialogue {
        stream: BufReader::new(TcpStream::connect(relay).await?),
        said: String::new(),
    };
    dialogue.reply().await?;
    for command in [
        "EHLO app.example.org",
        "MAIL FROM:<app@example.org>",
        "RCPT TO:<you@example.net>",
        "DATA",
    ] {
        dialogue.note("CLIENT", command);
        dialogue.write(&format!("{command}\r\n")).await?;
        dialogue.reply().await?;
    }
    for line in MESSAGE.lines().chain(["."]) {
        dialogue.note("CLIENT", line);
    }
    dialogue.write(&format!("{MESSAGE}.\r\n")).await?;
    dialogue.reply().await?;
    dialogue.note("CLIENT", "QUIT");
    dialogue.write("QUIT\r\n").await?;
    dialogue.reply().await?;
    Ok(dialogue.said)
}

struct Dialogue {
    stream: BufReader<TcpStream>,
    said: String,
}

impl Dialogue {
    fn note(&mut self, speaker: &str, line: &str) {
        self.said.extend(["   ", speaker, "  ", line, "\n"]);
    }

    async fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes()).await
    }

    /// Reads a whole reply. A negative reply is an error.
    async fn reply(&mut self) -> io::Result<()> {
        loop {
            let mut line = String::new();
            let mut limited = (&mut self.stream).take(LONGEST_LINE);
            timeout(PATIENCE, limited.read_line(&mut line)).await??;
            let line = line.trim_end();
            self.note("RELAY ", line);
            match line.as_bytes() {
                [b'2' | b'3', _, _, b'-', ..] => {}
                [b'2' | b'3', ..] => return Ok(()),
                _ => return Err(io::Error::other(format!("the relay said {line:?}"))),
            }
        }
    }
}
