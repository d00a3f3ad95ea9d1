//! One connection, with a complete transcript.

use std::io;
use std::time::{Duration, SystemTime};

use relay_remote::{Duplex, Inspector, Presented};
use relay_smtp::client::{ClientSession, Event, Trouble};
use relay_smtp::reply_parser::ReplyParser;
use relay_smtp::{Reply, Stage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::certificate::{Certificate, Handshake};
use super::target::Endpoint;
use super::transcript::Transcript;

/// How many octets are read at a time.
const INPUT: usize = 4096;

/// Why there is no connection to a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} ({}): {reason}", endpoint.host, endpoint.address)]
pub(crate) struct ConnectError {
    endpoint: Endpoint,
    reason: ConnectFailure,
}

/// What the system reports about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum ConnectFailure {
    #[error("{0}")]
    Io(io::ErrorKind),
    #[error("no answer in time")]
    Timeout,
}

/// Why a dialogue ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// The server refused, or a requirement of ours is not met.
    #[error("{0}")]
    Refused(String),
    /// The connection was lost, or the server sent an invalid reply.
    #[error("{0}")]
    Broken(String),
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(String),
}

/// Why no session could be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SessionError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The dialogue ended before a transaction could begin.
    #[error(transparent)]
    Ended(#[from] End),
}

/// A connection to one server.
pub(super) struct Dialogue<'s, 'o> {
    wire: Wire,
    /// Octets that were read but not parsed yet.
    unread: Vec<u8>,
    parser: ReplyParser,
    script: &'s mut Transcript<'o>,
    limit: Duration,
}

enum Wire {
    Clear(TcpStream),
    Secure(Box<dyn Duplex>),
    /// There is no connection, because a handshake has failed.
    Gone,
}

impl Wire {
    fn duplex(&mut self) -> io::Result<&mut dyn Duplex> {
        match self {
            Self::Clear(stream) => Ok(stream),
            Self::Secure(stream) => Ok(stream.as_mut()),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl<'s, 'o> Dialogue<'s, 'o> {
    /// Connects, and waits at most `limit` for each step.
    pub(super) async fn connect(
        endpoint: &Endpoint,
        script: &'s mut Transcript<'o>,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let mut dialogue = Self {
            wire: Wire::Gone,
            unread: Vec::new(),
            parser: ReplyParser::default(),
            script,
            limit,
        };
        dialogue.connect_again(endpoint).await?;
        Ok(dialogue)
    }

    /// Closes the connection and opens another one.
    pub(super) async fn connect_again(&mut self, endpoint: &Endpoint) -> Result<(), ConnectError> {
        let Endpoint { host, address } = endpoint;
        self.wire = Wire::Gone;
        self.unread.clear();
        self.parser = ReplyParser::default();
        self.script
            .note(&format!("connecting to {host} ({address})"));
        let connected = timeout(self.limit, TcpStream::connect(address)).await;
        let reason = match connected {
            Ok(Ok(stream)) => {
                self.wire = Wire::Clear(stream);
                return Ok(());
            }
            Ok(Err(error)) => ConnectFailure::Io(error.kind()),
            Err(_) => ConnectFailure::Timeout,
        };
        self.script.note(&reason.to_string());
        Err(ConnectError {
            endpoint: endpoint.clone(),
            reason,
        })
    }

    /// Removes secrets from a text of the server that is shown elsewhere.
    pub(super) fn without_secrets(&self, words: &str) -> String {
        self.script.without_secrets(words)
    }

    /// Starts TLS on the connection. Octets that were received before and not parsed yet are
    /// dropped, because they may be from an attacker (RFC 3207 §4.2).
    pub(super) async fn secure(
        &mut self,
        inspector: &Inspector,
        host: &str,
        now: SystemTime,
    ) -> Result<Handshake, End> {
        self.unread.clear();
        self.script.forget_rest();
        let Wire::Clear(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(End::Tls("TLS within TLS".to_owned()));
        };
        let shaking = inspector.handshake(stream, host, now);
        let reason = match timeout(self.limit, shaking).await {
            Ok(Ok((stream, presented))) => {
                self.wire = Wire::Secure(stream);
                return Ok(self.present(presented));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "TLS handshake failed: no answer in time".to_owned(),
        };
        self.script.note(&reason);
        Err(End::Tls(reason))
    }

    fn present(&mut self, presented: Presented) -> Handshake {
        let Presented { tls, chain, flaws } = presented;
        let (version, cipher) = (tls.version.as_str(), tls.cipher.as_str());
        self.script.note(&format!("{version} with {cipher}"));
        let read = chain.iter().map(|octets| Certificate::read(octets));
        let chain: Vec<_> = read.flatten().collect();
        for (i, certificate) in chain.iter().enumerate() {
            let line = format!("certificate {}: {}", i + 1, certificate.text());
            self.script.note(&line);
        }
        if flaws.is_empty() {
            self.script
                .note("the certificate is verified: its name and its issuer");
        }
        for flaw in &flaws {
            self.script
                .note(&format!("the certificate is not verified: {flaw}"));
        }
        Handshake { tls, flaws, chain }
    }

    /// Sends the output of the session, and reads until there is an event.
    pub(super) async fn event(&mut self, session: &mut ClientSession) -> Result<Event, End> {
        loop {
            let stage = session.stage();
            // The output may be a password.
            let said = Zeroizing::new(std::mem::take(session.output()));
            if !said.is_empty() {
                self.show(&said, stage);
                self.write(&said).await?;
            }
            let mut heard = &self.unread[..];
            let event = session.receive(&mut heard);
            self.unread = heard.to_vec();
            if let Some(event) = event {
                return Ok(event);
            }
            if session.output().is_empty() {
                self.read().await?;
            }
        }
    }

    fn show(&mut self, said: &[u8], stage: Stage) {
        let text = String::from_utf8_lossy(said);
        for line in text.trim_end_matches("\r\n").split("\r\n") {
            if stage == Stage::Auth {
                self.script.client_in_auth(line);
            } else {
                self.script.client(line);
            }
        }
    }

    /// Sends one command and returns the reply.
    pub(super) async fn exchange(&mut self, command: &str) -> Result<Reply, End> {
        self.script.client(command);
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Sends the encoded lines of a message and returns the reply.
    pub(super) async fn content(&mut self, octets: &[u8]) -> Result<Reply, End> {
        self.show(octets, Stage::Message);
        self.write(octets).await?;
        self.reply().await
    }

    /// Sends QUIT if the connection is still open.
    pub(super) async fn quit(mut self) {
        // The connection ends now, so the result does not matter.
        let _ = self.exchange("QUIT").await;
    }

    async fn reply(&mut self) -> Result<Reply, End> {
        loop {
            let mut heard = &self.unread[..];
            let parsed = self.parser.parse(&mut heard);
            self.unread = heard.to_vec();
            match parsed {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => self.read().await?,
                Err(error) => return Err(End::Broken(error.to_string())),
            }
        }
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), End> {
        let writing = async {
            let stream = self.wire.duplex()?;
            stream.write_all(octets).await?;
            stream.flush().await
        };
        match timeout(self.limit, writing).await {
            // A server may send a reason before it disconnects. The next read finds it.
            Ok(_) => Ok(()),
            Err(_) => Err(End::Broken("the server has stopped reading".to_owned())),
        }
    }

    async fn read(&mut self) -> Result<(), End> {
        let mut input = [0; INPUT];
        let reading = async { self.wire.duplex()?.read(&mut input).await };
        let lost = match timeout(self.limit, reading).await {
            Ok(Ok(length)) if length > 0 => {
                let heard = input.get(..length).unwrap_or_default();
                self.script.server(heard);
                self.unread.extend_from_slice(heard);
                return Ok(());
            }
            Ok(Ok(_)) => "the server has closed the connection".to_owned(),
            Ok(Err(error)) => format!("the connection has failed: {}", error.kind()),
            Err(_) => "no reply in time".to_owned(),
        };
        self.script.server_is_gone();
        Err(End::Broken(lost))
    }
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(_, reply)
            | Trouble::TlsRefused(reply)
            | Trouble::AuthRefused(reply) => Self::Refused(reply.to_string()),
            Trouble::Unexpected(_, reply) => Self::Broken(format!("an unexpected reply: {reply}")),
            Trouble::Garbled(_, error) => Self::Broken(error.to_string()),
            Trouble::NoTls => Self::Refused("the server does not offer STARTTLS".to_owned()),
            Trouble::NoMechanism { offered } => Self::Refused(format!(
                "the server offers no usable login mechanism: {offered:?}"
            )),
            Trouble::AuthInClear => Self::Refused(
                "no login without TLS: the password would be sent in clear text".to_owned(),
            ),
            Trouble::Challenge(error) => Self::Broken(error.to_string()),
        }
    }
}
