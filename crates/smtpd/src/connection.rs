//! One client: its bytes carried, its session's questions answered.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use relay_queue::{Message, QueueStore, StoreError};
use relay_smtp::server::{Event, MailRequest, Refusal, ServerSession, Transaction, replies};
use relay_smtp::{ForwardPath, Reply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::buffers::{BufferPool, Unread};
use crate::config::Config;
use crate::intake::Intake;
use crate::relay::is_our_postmaster;
use crate::trace::Trace;
use crate::{clock, events};

/// How long a client that still sends may keep us from closing.
const LINGER: Duration = Duration::from_secs(2);
/// How much of it is read meanwhile, in octets.
const LINGER_SIZE: u64 = 1024 * 1024;

/// What all connections share.
pub(crate) struct Shared<S> {
    pub(crate) store: Arc<S>,
    /// Told of each message once it is safe.
    pub(crate) accepted: Arc<dyn Fn(Message) + Send + Sync>,
    pub(crate) buffers: BufferPool,
    /// From now on idle sessions end; a message in work is waited for.
    pub(crate) stopping: CancellationToken,
}

/// A client and its session.
pub(crate) struct Connection<S: QueueStore, T> {
    shared: Arc<Shared<S>>,
    config: Arc<Config>,
    client: IpAddr,
    stream: T,
    session: ServerSession,
    intake: Intake<S>,
}

/// The client has gone: there is nobody to answer.
struct Gone;

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// `client` is judged and logged as it stands: an IPv4 address is to be given as one.
    pub(crate) fn new(
        shared: Arc<Shared<S>>,
        config: Arc<Config>,
        client: IpAddr,
        stream: T,
    ) -> Self {
        Self {
            session: ServerSession::new(config.settings(), clock::now().into_std()),
            shared,
            config,
            client,
            stream,
            intake: Intake::new(),
        }
    }

    /// Serves the client to the end of the session.
    pub(crate) async fn run(mut self) {
        let mut input = Unread::default();
        loop {
            let now = clock::now().into_std();
            let gathered = self.intake.gathered();
            let step = self.session.handle(input.octets(), gathered, now);
            input.advance(step.consumed, &self.shared.buffers);
            let going_on = match step.event {
                Some(Event::Close) => return self.close(&input).await,
                Some(Event::Flush) => self.flush().await,
                Some(event) => {
                    self.answer(event).await;
                    Ok(())
                }
                None => match self.flush().await {
                    Ok(()) => self.read().await.map(|read| input = read),
                    gone => gone,
                },
            };
            if going_on.is_err() {
                return;
            }
        }
    }

    async fn answer(&mut self, event: Event) {
        match event {
            Event::Mail(request) => self.judge_sender(request),
            Event::Rcpt(recipient) => self.judge_recipient(recipient),
            Event::Data => match self.intake.begin(&self.shared.store) {
                Ok(()) => self.session.accept_message(),
                Err(error) => self.refuse_message("DATA", &error),
            },
            Event::Content => {
                if let Err(error) = self.intake.pass_on().await {
                    self.refuse_message("end of DATA", &error);
                }
            }
            Event::MessageEnd(transaction) => self.commit(transaction).await,
            Event::Refused(refusal) => {
                self.intake.abandon();
                events::refused(self.client, self.session.hello(), &refusal);
            }
            Event::Flush | Event::Close => {}
        }
    }

    fn judge_sender(&mut self, request: MailRequest) {
        let room = |()| {
            let size = request.size.unwrap_or(0);
            self.shared
                .store
                .has_room(size)
                .map_err(|error| store_reply(&error))
        };
        match self
            .config
            .relay
            .judge_sender(&request.sender)
            .and_then(room)
        {
            Ok(()) => self.session.accept_sender(request),
            Err(reply) => self.refuse(&Refusal {
                command: "MAIL",
                sender: Some(request.sender),
                recipient: None,
                reply,
            }),
        }
    }

    fn judge_recipient(&mut self, recipient: ForwardPath) {
        let Config {
            hostname,
            postmaster,
            relay,
            ..
        } = &*self.config;
        let verdict = match recipient.mailbox() {
            _ if is_our_postmaster(&recipient, hostname) => {
                Ok(ForwardPath::Mailbox(postmaster.clone()))
            }
            Some(mailbox) => relay
                .judge_recipient(relay.may_relay(self.client), mailbox)
                .map(|()| recipient.clone()),
            None => Err(replies::no_gateway()),
        };
        match verdict {
            Ok(recipient) => self.session.accept_recipient(recipient),
            Err(reply) => self.refuse(&Refusal {
                command: "RCPT",
                sender: self.session.sender().cloned(),
                recipient: Some(recipient),
                reply,
            }),
        }
    }

    /// The end of a message: the client learns of it only once it is safe.
    async fn commit(&mut self, transaction: Transaction) {
        let arrived = clock::today();
        let trace = Trace {
            client: self.client,
            hello: self.session.hello(),
            utf8: transaction.utf8,
            hostname: &self.config.hostname,
            arrived,
            ends_header: transaction.lacks_header,
        };
        let sender = transaction.sender.clone();
        let id = self.intake.id();
        let stored = self
            .intake
            .commit(&self.shared.store, transaction, arrived, |id| {
                trace.to_header(id)
            })
            .await;
        let reply = match stored {
            Ok(message) => {
                events::new_message(&message, self.client);
                let reply = replies::queued(&message.id);
                (self.shared.accepted)(message);
                reply
            }
            Err(error) => {
                events::store_failed(id, &error);
                let refusal = Refusal {
                    command: "end of DATA",
                    sender: Some(sender),
                    recipient: None,
                    reply: store_reply(&error),
                };
                events::refused(self.client, self.session.hello(), &refusal);
                refusal.reply
            }
        };
        self.session.finish_message(&reply, clock::now().into_std());
    }

    /// The queue cannot take the message.
    fn refuse_message(&mut self, command: &'static str, error: &StoreError) {
        events::store_failed(self.intake.id(), error);
        self.intake.abandon();
        self.refuse(&Refusal {
            command,
            sender: self.session.sender().cloned(),
            recipient: None,
            reply: store_reply(error),
        });
    }

    fn refuse(&mut self, refusal: &Refusal) {
        events::refused(self.client, self.session.hello(), refusal);
        self.session.refuse(&refusal.reply);
    }

    /// Sends what is to be said, in one piece.
    async fn flush(&mut self) -> Result<(), Gone> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let deadline = Instant::from_std(self.session.deadline());
        match timeout_at(deadline, self.stream.write_all(&output)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Waits for input; none when the client took too long or the relay goes down, and then the
    /// session says so.
    async fn read(&mut self) -> Result<Unread, Gone> {
        let Self {
            shared,
            stream,
            session,
            ..
        } = self;
        let may_stop = !session.is_receiving();
        if may_stop && shared.stopping.is_cancelled() {
            session.refuse(&replies::shutting_down());
            return Ok(Unread::default());
        }
        tokio::select! {
            biased;
            read = poll_fn(|context| poll_input(stream, &shared.buffers, context)) => read,
            () = shared.stopping.cancelled(), if may_stop => {
                session.refuse(&replies::shutting_down());
                Ok(Unread::default())
            }
            () = sleep_until(Instant::from_std(session.deadline())) => {
                session.handle_timeout();
                Ok(Unread::default())
            }
        }
    }

    /// Says the last word. Octets that nobody has read would make the system reset the connection,
    /// and the reset may overtake that word: so they are read for a moment.
    async fn close(mut self, unread: &Unread) {
        let said = self.flush().await;
        if said.is_ok() && !unread.octets().is_empty() && self.stream.shutdown().await.is_ok() {
            let mut rest = self.stream.take(LINGER_SIZE);
            let mut nowhere = tokio::io::sink();
            // Whatever comes of it, the connection ends here.
            let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere)).await;
        }
    }
}

/// Reads into a buffer that is held only if there is something to read.
fn poll_input<T: AsyncRead + Unpin>(
    stream: &mut T,
    buffers: &BufferPool,
    context: &mut Context<'_>,
) -> Poll<Result<Unread, Gone>> {
    let mut buffer = buffers.take();
    let mut target = ReadBuf::new(&mut buffer);
    let poll = Pin::new(stream).poll_read(context, &mut target);
    let length = target.filled().len();
    match poll {
        Poll::Ready(Ok(())) if length > 0 => Poll::Ready(Ok(Unread::new(buffer, length))),
        other => {
            buffers.give_back(buffer);
            other.map(|_| Err(Gone))
        }
    }
}

/// What the client is told of trouble with the queue.
fn store_reply(error: &StoreError) -> Reply {
    match error {
        StoreError::NoRoom { .. } => replies::no_room(),
        StoreError::Io { .. }
        | StoreError::Database { .. }
        | StoreError::Locked { .. }
        | StoreError::ClaimLost(_)
        | StoreError::Damaged { .. }
        | StoreError::Closed { .. } => replies::store_failed(),
    }
}

#[cfg(test)]
mod tests;
