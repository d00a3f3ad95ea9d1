//! One session of the fake server, with the script's steps.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, empty};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{ReceivedMail, ScriptStep, Shared, TlsMode};

/// A stream in clear text or under TLS.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A finished handshake.
struct Handshake {
    /// The server name that the client sent (SNI).
    server_name: Option<String>,
}

pub(super) struct Session {
    stream: Box<dyn Duplex>,
    number: usize,
    pub(super) shared: Arc<Shared>,
    input: Vec<u8>,
    tls: Option<Handshake>,
    /// The mechanism of the client's login.
    pub(super) user: Option<String>,
    mail: Option<String>,
    recipients: Vec<String>,
}

impl Session {
    pub(super) fn new(stream: TcpStream, number: usize, shared: Arc<Shared>) -> Self {
        Self {
            stream: Box::new(stream),
            number,
            shared,
            input: Vec::new(),
            tls: None,
            user: None,
            mail: None,
            recipients: Vec::new(),
        }
    }

    pub(super) async fn run(&mut self) -> Result<()> {
        if self.tls_mode().is_some_and(|mode| mode.is_implicit) {
            self.handshake().await?;
        }
        self.reply("connect", "220 mx.test ESMTP").await?;
        loop {
            let line = self.command().await?;
            let verb = line.split(' ').next().unwrap_or_default();
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => self.ehlo().await?,
                "HELO" => drop(self.reply("helo", "250 mx.test").await?),
                "MAIL" => self.mail(&line).await?,
                "RCPT" => self.rcpt(&line).await?,
                "DATA" => self.data().await?,
                "STARTTLS" => self.starttls().await?,
                "AUTH" => self.auth(&line).await?,
                "RSET" => {
                    self.mail = None;
                    self.reply("rset", "250 2.0.0 ok").await?;
                }
                "QUIT" => {
                    self.reply("quit", "221 2.0.0 bye").await?;
                    return Ok(());
                }
                "NOOP" => self.say(b"250 2.0.0 ok\r\n").await?,
                _ => self.say(b"500 5.5.2 what\r\n").await?,
            }
        }
    }

    async fn ehlo(&mut self) -> Result<()> {
        let mut lines = self.shared.world().extensions.clone();
        lines.insert(0, "mx.test".to_owned());
        if self.tls.is_none() && self.tls_mode().is_some() {
            lines.push("STARTTLS".to_owned());
        }
        let last = lines.len() - 1;
        let lines = lines.iter().enumerate();
        let reply: Vec<String> = lines
            .map(|(i, line)| format!("250{}{line}", if i == last { ' ' } else { '-' }))
            .collect();
        self.reply("ehlo", &reply.join("\n")).await.map(drop)
    }

    async fn starttls(&mut self) -> Result<()> {
        let default = match self.tls_mode() {
            Some(_) if self.tls.is_none() => "220 2.0.0 go ahead",
            _ => "502 5.5.1 no",
        };
        if self.reply("starttls", default).await? == b'2' {
            self.handshake().await?;
        }
        Ok(())
    }

    /// The stage `handshake`: makes the handshake unless the script says otherwise.
    async fn handshake(&mut self) -> Result<()> {
        let is_told = self.shared.world().replies.contains_key("handshake");
        if is_told {
            self.reply("handshake", "").await?;
        }
        let mode = self.tls_mode().ok_or(ErrorKind::Unsupported)?;
        let clear = std::mem::replace(&mut self.stream, Box::new(empty()));
        let secure = TlsAcceptor::from(mode.config).accept(clear).await?;
        let server_name = secure.get_ref().1.server_name().map(ToOwned::to_owned);
        self.stream = Box::new(secure);
        self.tls = Some(Handshake { server_name });
        self.input.clear();
        self.mail = None;
        Ok(())
    }

    fn tls_mode(&self) -> Option<TlsMode> {
        self.shared.world().tls.clone()
    }

    async fn mail(&mut self, line: &str) -> Result<()> {
        let argument = line.get("MAIL FROM:".len()..).unwrap_or_default();
        if self.reply("mail", "250 2.1.0 ok").await? == b'2' {
            self.mail = Some(argument.to_owned());
            self.recipients.clear();
        }
        Ok(())
    }

    async fn rcpt(&mut self, line: &str) -> Result<()> {
        if self.mail.is_none() {
            return self.say(b"503 5.5.1 MAIL first\r\n").await;
        }
        let argument = line.get("RCPT TO:".len()..).unwrap_or_default();
        let address = argument
            .split('>')
            .next()
            .unwrap_or_default()
            .trim_start_matches('<');
        let kind = address.split_inclusive('-').next().unwrap_or(address);
        let own = [format!("rcpt {address}"), format!("rcpt {kind}")];
        let own = {
            let world = self.shared.world();
            own.into_iter().find(|own| world.replies.contains_key(own))
        };
        let stage = own.as_deref().unwrap_or("rcpt");
        if self.reply(stage, "250 2.1.5 ok").await? == b'2' {
            self.recipients.push(argument.to_owned());
        }
        Ok(())
    }

    async fn data(&mut self) -> Result<()> {
        let default = match (&self.mail, self.recipients.is_empty()) {
            (Some(_), false) => "354 go ahead",
            _ => "503 5.5.1 no recipients",
        };
        if self.reply("data", default).await? != b'3' {
            return Ok(());
        }
        let raw = self.content().await?;
        let message = ReceivedMail {
            mail: self.mail.take().unwrap_or_default(),
            recipients: std::mem::take(&mut self.recipients),
            data: without_stuffing(&raw),
            raw,
            connection: self.number,
            tls: self.tls.is_some(),
            server_name: self.tls.as_ref().and_then(|tls| tls.server_name.clone()),
            mechanism: self.user.clone(),
        };
        let taken = self.peek("dot", "250 2.0.0 taken") == b'2';
        if taken {
            self.shared.change(|w| w.messages.push(message));
        }
        self.reply("dot", "250 2.0.0 taken").await.map(drop)
    }

    /// Reads up to CRLF.CRLF, including the last line end.
    async fn content(&mut self) -> Result<Vec<u8>> {
        let mut all = b"\r\n".to_vec();
        all.append(&mut self.input);
        let mut searched = 0;
        loop {
            let end = find(&all[searched..], b"\r\n.\r\n").map(|at| at + searched);
            if let Some(end) = end {
                self.input = all.split_off(end + 5);
                return Ok(all[2..end + 2].to_vec());
            }
            searched = all.len().saturating_sub(4);
            let before = all.len();
            self.stream.read_buf(&mut all).await?;
            if all.len() == before {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads and records the next line.
    pub(super) async fn command(&mut self) -> Result<String> {
        let line = self.line().await?;
        self.shared.change(|w| w.commands.push(line.clone()));
        Ok(line)
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The first octet that `stage` will send.
    fn peek(&self, stage: &str, default: &str) -> u8 {
        let world = self.shared.world();
        let step = world.replies.get(stage).and_then(|steps| steps.first());
        match step {
            Some(ScriptStep::Say(text) | ScriptStep::SayAndDrop(text)) => first(text.as_bytes()),
            Some(ScriptStep::Raw(octets)) => first(octets),
            Some(ScriptStep::Drop | ScriptStep::Silence | ScriptStep::Drip(..)) => 0,
            None => first(default.as_bytes()),
        }
    }

    /// Does the step of `stage` and returns the first octet of the reply.
    pub(super) async fn reply(&mut self, stage: &str, default: &str) -> Result<u8> {
        let (step, delay) = {
            let mut world = self.shared.world();
            let delay = world.delays.get(stage).copied();
            let step = match world.replies.get_mut(stage) {
                Some(steps) if steps.len() > 1 => steps.remove(0),
                Some(steps) => steps.first().cloned().expect("a stage has a step"),
                None => ScriptStep::from(default),
            };
            (step, delay)
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        match step {
            ScriptStep::Say(text) => {
                self.say(&lines(&text)).await?;
                Ok(first(text.as_bytes()))
            }
            ScriptStep::Raw(octets) => {
                self.say(&octets).await?;
                Ok(first(&octets))
            }
            ScriptStep::SayAndDrop(text) => {
                self.say(&lines(&text)).await?;
                Err(ErrorKind::ConnectionAborted.into())
            }
            ScriptStep::Drop => Err(ErrorKind::ConnectionAborted.into()),
            ScriptStep::Silence => self.until_the_peer_hangs_up().await,
            ScriptStep::Drip(octets, pause) => loop {
                for octet in &octets {
                    tokio::time::sleep(pause).await;
                    self.say(&[*octet]).await?;
                }
            },
        }
    }

    async fn until_the_peer_hangs_up<T>(&mut self) -> Result<T> {
        let mut ignored = [0; 4096];
        while self.stream.read(&mut ignored).await? > 0 {}
        Err(Error::from(ErrorKind::UnexpectedEof))
    }

    pub(super) async fn say(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }
}

fn first(octets: &[u8]) -> u8 {
    octets.first().copied().unwrap_or(0)
}

fn lines(text: &str) -> Vec<u8> {
    let mut wire = text.replace('\n', "\r\n").into_bytes();
    wire.extend_from_slice(b"\r\n");
    wire
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|w| w == wanted)
}

/// Removes the first dot from every line that begins with one (RFC 5321 §4.5.2).
fn without_stuffing(raw: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(raw.len());
    let mut rest = raw.strip_prefix(b".").unwrap_or(raw);
    while let Some(at) = find(rest, b"\r\n.") {
        data.extend_from_slice(&rest[..at + 2]);
        rest = &rest[at + 3..];
    }
    data.extend_from_slice(rest);
    data
}
