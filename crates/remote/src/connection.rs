//! One connection to one host: bytes, time limits, and the session that gives them meaning.

mod open;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use relay_smtp::client::{Answer, ClientSession, Envelope, Event};
use relay_smtp::sasl::Mechanism;
use relay_smtp::{Peer, Stage};
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use self::open::{ConnectError, Connector};

use crate::classify::{Cause, DuplicateRisk};
use crate::content::{Content, ContentChunks};
use crate::deadline::after;
use crate::pool_key::PoolKey;
use crate::stream::{Stream, WriteOrRead};

/// Replies come in pieces of at most this.
const INPUT: usize = 2048;
/// Octets of a message that are sent under one time limit (RFC 5321 §4.5.3.2.5).
const BLOCK: usize = 64 * 1024;
/// For a peer to answer QUIT; nothing depends on it.
const GOODBYE: Duration = Duration::from_secs(5);

/// An open connection whose session has got past EHLO, STARTTLS and AUTH.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    session: ClientSession,
    peer: Peer,
    pool_key: PoolKey,
    input: Box<[u8; INPUT]>,
    /// The part of `input` that the session has not been given.
    unread: std::ops::Range<usize>,
    command_timeout: Duration,
    opened: Instant,
    transactions: u32,
}

/// A transaction that ended with the connection.
#[derive(Debug)]
pub(crate) struct TransactionError {
    pub(crate) cause: Cause,
    /// What had been decided before; `None` is open. Empty if nothing had been.
    pub(crate) answers: Vec<Option<Answer>>,
    /// The peer had left before this transaction began, as it may on an idle connection.
    pub(crate) stale: bool,
}

/// Who tells the sender, if that is asked for, that a message has been taken (RFC 3461 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reports {
    /// The peer offers DSN and has been told what is asked for.
    ByPeer,
    /// It does not.
    ByUs,
}

impl Connection {
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The same address may be several hosts' by name; outcomes tell of the one that was meant.
    pub(crate) fn now_for(&mut self, host: &str) {
        if self.peer.host != host {
            host.clone_into(&mut self.peer.host);
        }
    }

    /// Who makes the reports on what the peer takes.
    pub(crate) fn reports(&self) -> Reports {
        if self.session.extensions().dsn {
            Reports::ByPeer
        } else {
            Reports::ByUs
        }
    }

    /// By which mechanism we have logged in.
    pub(crate) fn mechanism(&self) -> Option<Mechanism> {
        self.session.mechanism()
    }

    /// What it was made for.
    pub(crate) fn pool_key(&self) -> &PoolKey {
        &self.pool_key
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
        self.stream.is_quiet()
    }

    /// One transaction: an answer for each of the envelope's recipients.
    pub(crate) async fn transact(
        &mut self,
        envelope: &Envelope<'_>,
        content: &Content,
    ) -> Result<Vec<Answer>, TransactionError> {
        let reused = self.transactions > 0;
        self.transactions += 1;
        match self.run(envelope, content).await {
            Ok(answers) => Ok(answers),
            Err(cause) => Err(TransactionError {
                cause,
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
    ) -> Result<Vec<Answer>, Cause> {
        let mut event = match self.session.begin(envelope) {
            Some(event) => event,
            None => self.event().await?,
        };
        loop {
            event = match event {
                Event::Finished(answers) => return Ok(answers),
                Event::Broken(trouble) => return Err(Cause::Session(trouble)),
                Event::Content => self.send(content).await?,
                Event::Ready => self.event().await?,
                // A session asks for that before it is ready, and at no other time.
                Event::StartTls => return Err(self.lost()),
            };
        }
    }

    /// The message, and what the peer said to it.
    async fn send(&mut self, content: &Content) -> Result<Event, Cause> {
        let (mut pieces, mut piece) = (ContentChunks::new(content), Vec::new());
        loop {
            match pieces.next(&mut piece).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(Cause::Unreadable(error.kind())),
            }
            for block in piece.chunks(BLOCK) {
                if let Some(event) = self.send_block(block).await? {
                    return Ok(event);
                }
            }
        }
        self.session.content_sent();
        self.event().await
    }

    /// Some octets of a message, unless the peer ends it meanwhile: it may refuse what it has heard
    /// so far, and never read the rest.
    async fn send_block(&mut self, mut block: &[u8]) -> Result<Option<Event>, Cause> {
        let deadline = after(self.command_timeout);
        loop {
            if let Some(event) = self.hear() {
                return Ok(Some(event));
            }
            let sending = self.stream.write_or_read(&mut block, &mut self.input[..]);
            let length = match timeout_at(deadline, sending).await {
                Ok(Ok(WriteOrRead::Written)) => return Ok(None),
                Ok(Ok(WriteOrRead::Read(0))) => return Err(self.lost()),
                Ok(Ok(WriteOrRead::Read(length))) => length,
                // A peer that hangs up in the middle may have said why.
                Ok(Err(_)) => return self.event().await.map(Some),
                Err(_) => return Err(self.timed_out()),
            };
            self.unread = 0..length;
        }
    }

    /// Sends what is to be sent, and reads until something has come of it.
    async fn event(&mut self) -> Result<Event, Cause> {
        let mut deadline = self.reply_deadline();
        loop {
            if !self.session.output().is_empty() {
                self.flush().await?;
                deadline = self.reply_deadline();
            }
            let replies = self.session.replies();
            if let Some(event) = self.hear() {
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

    /// Gives the session what has been read.
    fn hear(&mut self) -> Option<Event> {
        let mut heard = &self.input[self.unread.clone()];
        let event = self.session.receive(&mut heard);
        self.unread.start = self.unread.end - heard.len();
        event
    }

    async fn flush(&mut self) -> Result<(), Cause> {
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

    async fn read(&mut self, deadline: Instant) -> Result<(), Cause> {
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

    fn lost(&self) -> Cause {
        Cause::Lost(self.session.stage(), self.risk())
    }

    fn timed_out(&self) -> Cause {
        Cause::TimedOut(self.session.stage(), self.risk())
    }

    fn risk(&self) -> DuplicateRisk {
        if self.session.may_have_been_taken() {
            DuplicateRisk::MayBeDelivered
        } else {
            DuplicateRisk::None
        }
    }
}
