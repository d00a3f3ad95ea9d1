//! One connection to one host: bytes, time limits, and the session that gives them meaning.

use std::io;
use std::time::Duration;

use relay_smtp::client::{Answer, ClientSession, Envelope, Event};
use relay_smtp::{Peer, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::classify::{Doubt, Finding};
use crate::config::Config;
use crate::content::{Content, Pieces};
use crate::limits::after;

/// Replies come in pieces of at most this.
const INPUT: usize = 2048;
/// For a peer to answer QUIT; nothing depends on it.
const GOODBYE: Duration = Duration::from_secs(5);

/// An open connection whose session has got past EHLO.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    session: ClientSession,
    peer: Peer,
    input: Box<[u8; INPUT]>,
    /// The part of `input` that the session has not been given.
    unread: std::ops::Range<usize>,
    command_timeout: Duration,
    opened: Instant,
    transactions: u32,
}

/// A transaction that ended with the connection.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) finding: Finding,
    /// What had been decided before; `None` is open. Empty if nothing had been.
    pub(crate) answers: Vec<Option<Answer>>,
    /// The peer had left before this transaction began, as it may on an idle connection.
    pub(crate) stale: bool,
}

impl Connection {
    /// Connects, and talks until a transaction can begin.
    pub(crate) async fn open(peer: Peer, config: &Config) -> Result<Self, Finding> {
        let connecting = TcpStream::connect(peer.address);
        let stream = match timeout(config.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Finding::Unreachable(error.kind())),
            Err(_) => return Err(Finding::Unreachable(io::ErrorKind::TimedOut)),
        };
        // Every write is a whole group of commands, to be sent at once.
        let _ = stream.set_nodelay(true);
        let mut connection = Self {
            stream,
            session: ClientSession::new(&config.hostname),
            peer,
            input: Box::new([0; INPUT]),
            unread: 0..0,
            command_timeout: config.command_timeout,
            opened: Instant::now(),
            transactions: 0,
        };
        match connection.event().await? {
            Event::Ready => Ok(connection),
            Event::Broken(trouble) => Err(Finding::Session(trouble)),
            Event::Content | Event::Finished(_) => Err(connection.lost()),
        }
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The same address may be several hosts' by name; outcomes tell of the one that was meant.
    pub(crate) fn now_for(&mut self, host: &str) {
        if self.peer.host != host {
            host.clone_into(&mut self.peer.host);
        }
    }

    /// Transactions begun on it.
    pub(crate) fn transactions(&self) -> u32 {
        self.transactions
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether another transaction can begin, as far as the session knows.
    pub(crate) fn is_idle(&self) -> bool {
        self.session.is_idle() && self.unread.is_empty()
    }

    /// Whether the peer of an idle connection has neither hung up nor said anything unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        matches!(read, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// One transaction: an answer for each of the envelope's recipients.
    pub(crate) async fn transact(
        &mut self,
        envelope: &Envelope<'_>,
        content: &Content,
    ) -> Result<Vec<Answer>, Broken> {
        let reused = self.transactions > 0;
        self.transactions += 1;
        match self.run(envelope, content).await {
            Ok(answers) => Ok(answers),
            Err(finding) => Err(Broken {
                finding,
                stale: reused && self.session.is_unanswered(),
                answers: self.session.abandon(),
            }),
        }
    }

    /// Says goodbye as RFC 5321 §4.1.1.10 wants it, without insisting.
    pub(crate) async fn close(mut self) {
        self.session.quit();
        let goodbye = async {
            self.stream.write_all(self.session.output()).await?;
            self.stream.shutdown().await?;
            while self.stream.read(&mut [0; 512]).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether the peer says 221 or not, the connection is over.
        let _ = timeout(GOODBYE, goodbye).await;
    }

    async fn run(
        &mut self,
        envelope: &Envelope<'_>,
        content: &Content,
    ) -> Result<Vec<Answer>, Finding> {
        let mut event = match self.session.begin(envelope) {
            Some(event) => event,
            None => self.event().await?,
        };
        loop {
            event = match event {
                Event::Finished(answers) => return Ok(answers),
                Event::Broken(trouble) => return Err(Finding::Session(trouble)),
                Event::Content => self.send(content).await?,
                Event::Ready => self.event().await?,
            };
        }
    }

    /// The message, and what the peer said to it.
    async fn send(&mut self, content: &Content) -> Result<Event, Finding> {
        let (mut pieces, mut piece) = (Pieces::new(content), Vec::new());
        loop {
            match pieces.next(&mut piece).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(Finding::Unreadable(error.kind())),
            }
            match timeout(self.command_timeout, self.stream.write_all(&piece)).await {
                Ok(Ok(())) => {}
                // A peer that hangs up in the middle may have said why.
                Ok(Err(_)) => return self.event().await,
                Err(_) => return Err(Finding::TimedOut(Stage::Message, Doubt::None)),
            }
        }
        self.session.content_sent();
        self.event().await
    }

    /// Sends what is to be sent, and reads until something has come of it.
    async fn event(&mut self) -> Result<Event, Finding> {
        let mut deadline = self.reply_deadline();
        loop {
            if !self.session.output().is_empty() {
                self.flush().await?;
                deadline = self.reply_deadline();
            }
            let replies = self.session.replies();
            let mut heard = &self.input[self.unread.clone()];
            let event = self.session.receive(&mut heard);
            self.unread.start = self.unread.end - heard.len();
            if let Some(event) = event {
                return Ok(event);
            }
            if self.session.replies() != replies {
                deadline = self.reply_deadline();
            }
            if self.session.output().is_empty() {
                self.read(deadline).await?;
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Finding> {
        let output = self.session.output();
        let sent = timeout(self.command_timeout, self.stream.write_all(output)).await;
        output.clear();
        match sent {
            // What a peer says before it hangs up counts: the read that follows finds it, or the end.
            Ok(_) => Ok(()),
            Err(_) => Err(self.timed_out()),
        }
    }

    /// By when a reply must be whole that is waited for from now on, however many octets at a time
    /// it comes in.
    fn reply_deadline(&self) -> Instant {
        after(match self.session.stage() {
            Stage::Message => self.command_timeout.saturating_mul(2),
            _ => self.command_timeout,
        })
    }

    async fn read(&mut self, deadline: Instant) -> Result<(), Finding> {
        let input = &mut self.input[..];
        match timeout_at(deadline, self.stream.read(input)).await {
            Ok(Ok(0) | Err(_)) => Err(self.lost()),
            Ok(Ok(length)) => {
                self.unread = 0..length;
                Ok(())
            }
            Err(_) => Err(self.timed_out()),
        }
    }

    fn lost(&self) -> Finding {
        Finding::Lost(self.session.stage(), self.doubt())
    }

    fn timed_out(&self) -> Finding {
        Finding::TimedOut(self.session.stage(), self.doubt())
    }

    fn doubt(&self) -> Doubt {
        if self.session.may_have_been_taken() {
            Doubt::MayBeTaken
        } else {
            Doubt::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_testkit::DEADLINE;
    use tokio::net::TcpListener;

    /// A connection past EHLO, and the peer's end of it.
    async fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = Peer {
            host: "mx.test".to_owned(),
            address: listener.local_addr().expect("an address"),
        };
        let config = Config::default();
        let accept = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let said = stream.write_all(b"220 mx.test\r\n250 mx.test\r\n").await;
            said.expect("written");
            stream
        };
        let (connection, stream) = tokio::join!(Connection::open(peer, &config), accept);
        (connection.expect("past EHLO"), stream)
    }

    async fn until_not_quiet(connection: &Connection) {
        let noise = async {
            while connection.is_quiet() {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, noise).await.expect("noise in time");
    }

    #[tokio::test]
    async fn a_peer_that_spoke_unasked_or_hung_up_is_not_quiet() {
        let (connection, mut stream) = connected().await;
        assert!(connection.is_quiet() && connection.is_idle());
        stream
            .write_all(b"250 by the way\r\n")
            .await
            .expect("written");
        until_not_quiet(&connection).await;

        let (connection, stream) = connected().await;
        assert!(connection.is_quiet());
        drop(stream);
        until_not_quiet(&connection).await;
    }
}
