//! One connection to one host: it reads and writes for a session and applies the time limits.

mod open;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use relay_message::Content;
use relay_smtp::client::{Answer, ClientSession, Envelope, Event};
use relay_smtp::sasl::Mechanism;
use relay_smtp::{Peer, Stage};
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use self::open::{ConnectError, Connector};
use crate::classify::{Cause, DuplicateRisk};
use crate::content::ContentChunks;
use crate::deadline::after;
use crate::pool_key::PoolKey;
use crate::stream::{PeerStream, WriteOrRead};

/// The most octets that one read takes.
const INPUT: usize = 2048;
/// Octets of a message that are sent under one time limit (RFC 5321 §4.5.3.2.5).
const BLOCK: usize = 64 * 1024;
/// How long the peer may take to answer QUIT. Nothing depends on the answer.
const GOODBYE: Duration = Duration::from_secs(5);

/// An open connection whose session is ready for a transaction: EHLO, STARTTLS and AUTH are done.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: PeerStream,
    session: ClientSession,
    peer: Peer,
    pool_key: PoolKey,
    input: Box<[u8; INPUT]>,
    /// The part of `input` that the session has not read yet.
    unread: std::ops::Range<usize>,
    command_timeout: Duration,
    opened: Instant,
    transactions: u32,
}

/// A transaction that ended because the connection broke.
#[derive(Debug)]
pub(crate) struct TransactionError {
    pub(crate) cause: Cause,
    /// The answers before the failure, `None` for a recipient without one. Empty if there were none
    /// at all.
    pub(crate) answers: Vec<Option<Answer>>,
    /// The peer had closed the idle connection before this transaction began.
    pub(crate) stale: bool,
}

/// Who sends the success report that the sender may have asked for (RFC 3461 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reports {
    /// The peer offers DSN and got the sender's request.
    ByPeer,
    /// The relay, because the peer does not offer DSN.
    ByUs,
}

impl Connection {
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Sets the host name that outcomes show. Several hosts may have the same address.
    pub(crate) fn now_for(&mut self, host: &str) {
        if self.peer.host != host {
            host.clone_into(&mut self.peer.host);
        }
    }

    /// Who sends the success reports for messages that the peer accepts.
    pub(crate) fn reports(&self) -> Reports {
        if self.session.extensions().dsn {
            Reports::ByPeer
        } else {
            Reports::ByUs
        }
    }

    /// The AUTH mechanism of this session, if it has logged in.
    pub(crate) fn mechanism(&self) -> Option<Mechanism> {
        self.session.mechanism()
    }

    /// The key under which the pool keeps this connection.
    pub(crate) fn pool_key(&self) -> &PoolKey {
        &self.pool_key
    }

    /// The number of transactions so far.
    pub(crate) fn transactions(&self) -> u32 {
        self.transactions
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether the session is ready for another transaction.
    pub(crate) fn is_idle(&self) -> bool {
        self.session.is_idle() && self.unread.is_empty()
    }

    /// Whether the peer of an idle connection has neither closed it nor sent an unexpected reply.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }

    /// Makes one transaction and returns an answer for each recipient of the envelope.
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

    /// Closes the connection with QUIT (RFC 5321 §4.1.1.10).
    pub(crate) async fn close(mut self) {
        self.session.quit();
        let goodbye = async {
            self.stream.write_all(self.session.output()).await?;
            self.stream.shutdown().await?;
            while self.stream.read(&mut [0; 512]).await? > 0 {}
            io::Result::Ok(())
        };
        // The connection is over whether or not the peer answers 221.
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
                // A session asks for TLS only before it is ready.
                Event::StartTls => return Err(self.lost()),
            };
        }
    }

    /// Sends the message and returns what the peer answered.
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

    /// Sends some octets of a message. It stops if the peer answers early: a peer may refuse a
    /// message and never read the rest of it.
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
                // A peer that closes the connection early may have given its reason before.
                Ok(Err(_)) => return self.event().await.map(Some),
                Err(_) => return Err(self.timed_out()),
            };
            self.unread = 0..length;
        }
    }

    /// Sends what the session has to send, and reads until the session has an event.
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

    /// Passes the octets that were read to the session.
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
            // A last reply before the peer closed the connection counts. The next read finds it.
            Ok(_) => Ok(()),
            Err(_) => Err(self.timed_out()),
        }
    }

    /// The instant by which a complete reply must arrive. More octets of an incomplete reply do not
    /// extend it.
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
