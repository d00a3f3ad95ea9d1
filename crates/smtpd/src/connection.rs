//! One client: its bytes carried, its session's questions answered.

mod dnsbl;
mod login;
mod policy;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use dnsbl::DnsblCheck;
use relay_failpoint as failpoint;
use relay_message::{Message, QueueId, QueueStore, Spool as _, StoreError};
use relay_smtp::server::{Channel, Event, Refusal, ServerSession, Transaction, replies};
use relay_smtp::{Reply, ReversePath};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use wire::secure;

use crate::auth::Authenticator;
use crate::buffers::{BufferPool, Unread};
use crate::client::ClientId;
use crate::config::{Role, ServerConfig};
use crate::external::External;
use crate::inbound_check::MessageSource;
use crate::intake::{Intake, IntakeError, Processing};
use crate::min_rate::MinRate;
use crate::received::Received;
use crate::rewrite::TooLong;
use crate::signing_pool::SigningPool;
use crate::stream::Stream;
use crate::submission::Submission;
use crate::tls::TlsFacts;
use crate::{clock, events};

/// What all connections share.
pub(crate) struct SharedState<S> {
    pub(crate) store: Arc<S>,
    /// Told of each message once it is safe.
    pub(crate) accepted: Arc<dyn Fn(Message) + Send + Sync>,
    pub(crate) buffers: BufferPool,
    pub(crate) authenticator: Authenticator,
    pub(crate) signing_pool: Arc<SigningPool>,
    /// From now on idle sessions end; a message in work is waited for.
    pub(crate) stopping: CancellationToken,
    /// Nothing is waited for any longer: every client that listens is told, and goes.
    pub(crate) ending: CancellationToken,
}

/// Who has come, and by which door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Judged and logged as it stands.
    pub(crate) id: ClientId,
    /// False for whoever comes through a proxy that does not name them: the address is then the
    /// proxy's, and what the proxy may do is not theirs to do.
    pub(crate) address_known: bool,
    pub(crate) role: Role,
}

impl Client {
    /// What passes between processes of one machine goes where nobody else can read it.
    fn channel(&self) -> Channel {
        match self.id {
            ClientId::Address(_) => Channel::Clear,
            ClientId::Uid(_) => Channel::Tls,
        }
    }

    /// Its address, if anybody knows it.
    fn address(&self) -> Option<IpAddr> {
        match self.id {
            ClientId::Address(address) => self.address_known.then_some(address),
            ClientId::Uid(_) => None,
        }
    }

    /// Whether what it sends was written by itself, not passed on: such a message is completed.
    fn submits_mail(&self) -> bool {
        let is_of_this_machine = matches!(self.id, ClientId::Uid(_));
        self.role.is_submission() || is_of_this_machine
    }
}

/// A client and its session.
pub(crate) struct Connection<S: QueueStore, T> {
    shared: Arc<SharedState<S>>,
    config: Arc<ServerConfig>,
    client: Client,
    stream: Stream<T>,
    tls: Option<Box<TlsFacts>>,
    session: ServerSession,
    intake: Intake<S>,
    failed_logins: u32,
    dnsbl: DnsblCheck,
    /// Of the message that comes in, or came last. Boxed: most sessions wait most of the time.
    min_rate: Option<Box<MinRate>>,
}

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// A session that begins at once: in clear, or where nobody can listen in.
    pub(crate) fn new(
        shared: Arc<SharedState<S>>,
        config: Arc<ServerConfig>,
        client: Client,
        stream: T,
    ) -> Self {
        let now = clock::now().into_std();
        Self {
            session: ServerSession::new(
                config.settings(client.submits_mail()),
                client.channel(),
                now,
            ),
            shared,
            config,
            client,
            stream: Stream::Clear(stream),
            tls: None,
            intake: Intake::new(),
            failed_logins: 0,
            dnsbl: DnsblCheck::Done(None),
            min_rate: None,
        }
    }

    /// A session that begins under TLS; none where the handshake failed.
    pub(crate) async fn secured(
        shared: Arc<SharedState<S>>,
        config: Arc<ServerConfig>,
        client: Client,
        stream: T,
    ) -> Option<Self> {
        let (stream, tls) = secure(&shared, config.tls.as_deref(), client, stream).await?;
        let now = clock::now().into_std();
        Some(Self {
            session: ServerSession::new(config.settings(client.submits_mail()), Channel::Tls, now),
            shared,
            config,
            client,
            stream,
            tls: Some(tls),
            intake: Intake::new(),
            failed_logins: 0,
            dnsbl: DnsblCheck::Done(None),
            min_rate: None,
        })
    }

    /// Serves the client to the end of the session.
    pub(crate) async fn run(mut self) {
        self.start_dnsbl_check();
        let mut input = Unread::default();
        loop {
            let now = clock::now().into_std();
            let gathered = self.intake.gathered();
            let step = self.session.handle(input.octets(), gathered, now);
            input.advance(step.consumed, &self.shared.buffers);
            if let Some(min_rate) = &mut self.min_rate {
                min_rate.add(step.consumed);
            }
            let going_on = match step.event {
                Some(Event::Close) => return self.close(&input).await,
                Some(Event::Flush) => self.flush().await,
                Some(Event::StartTls) => {
                    // Whoever wrote these octets, they came before the handshake (RFC 3207 §4.2).
                    input.advance(input.octets().len(), &self.shared.buffers);
                    match Box::pin(self.start_tls()).await {
                        Some(secured) => self = secured,
                        None => return,
                    }
                    Ok(())
                }
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
            Event::Mail(request) => self.check_sender(request),
            Event::Rcpt(recipient) => {
                if self.needs_dnsbl_result() {
                    // Boxed, so that the sessions that are busy otherwise stay small.
                    Box::pin(self.await_dnsbl_result()).await;
                    self.session.answered(clock::now().into_std());
                }
                self.check_recipient(recipient);
            }
            Event::Data => self.begin_message(),
            Event::Content => {
                if let Err(error) = self.intake.pass_on().await {
                    self.refuse_message("end of DATA", &error);
                }
            }
            Event::MessageEnd(transaction) => self.commit(transaction).await,
            Event::Refused(refusal) => {
                self.intake.abandon();
                events::refused(self.client.id, self.session.hello(), &refusal);
            }
            Event::Authenticate(credentials) => {
                Box::pin(self.log_in(credentials)).await;
                self.session.answered(clock::now().into_std());
            }
            Event::ScramUser(user) => self.challenge(&user),
            Event::ScramDone { user, verified } => {
                Box::pin(self.finish_scram(user, verified)).await;
                self.session.answered(clock::now().into_std());
            }
            Event::StartTls | Event::Flush | Event::Close => {}
        }
    }

    fn begin_message(&mut self) {
        match self.shared.store.begin() {
            Ok(spool) => {
                let processing = self.processing(spool.id());
                self.intake.begin(spool, processing);
                let most = self.config.limits.session.message_size;
                self.min_rate = Some(Box::new(MinRate::new(clock::now(), most)));
                self.session.accept_message();
            }
            Err(error) => self.refuse_message("DATA", &error.into()),
        }
    }

    /// What is done with a message that begins now, if anything.
    fn processing(&self, id: QueueId) -> Option<Processing> {
        if self.may_relay_mail() {
            return Some(Processing::Submission(Submission {
                config: Arc::clone(&self.config),
                id,
                begun: clock::today(),
                submitted_by: self
                    .session
                    .sender()
                    .cloned()
                    .filter(|_| self.is_submitted()),
                is_local: matches!(self.client.id, ClientId::Uid(_)),
                signing_pool: Arc::clone(&self.shared.signing_pool),
            }));
        }
        let inbound = self.inbound().map(Arc::clone)?;
        Some(Processing::External(External {
            inbound,
            source: MessageSource {
                id,
                client: self.client.address(),
                hello: self.session.hello().map(|hello| hello.name.clone()),
                sender: self.session.sender().cloned()?,
                begun: clock::today(),
            },
        }))
    }

    /// Whether what comes is a client's own mail, not passed on for others.
    fn is_submitted(&self) -> bool {
        self.client.submits_mail() || self.session.user().is_some()
    }

    /// The end of a message: the client learns of it only once it is safe.
    async fn commit(&mut self, transaction: Transaction) {
        let arrived = clock::today();
        let received = Received {
            client: self.client.id,
            hello: self.session.hello(),
            utf8: transaction.utf8,
            tls: self.tls.as_deref(),
            authenticated: self.session.user().is_some(),
            hostname: &self.config.hostname,
            arrived,
        };
        let lacks_header = transaction.lacks_header;
        let sender = transaction.sender.clone();
        let id = self.intake.id();
        let stored = self
            .intake
            .commit(&self.shared.store, transaction, arrived, |id, additions| {
                let mut head = additions.top;
                head.extend_from_slice(received.to_header(id).as_bytes());
                head.extend_from_slice(additions.fields.as_bytes());
                // Without a header section of its own, the client's first line could become a part
                // of our last field.
                if lacks_header {
                    head.extend_from_slice(b"\r\n");
                }
                Bytes::from(head)
            })
            .await;
        let reply = match stored {
            Ok(message) => {
                failpoint::point("accepted");
                events::new_message(&message, self.client.id, self.session.user());
                let reply = replies::queued(&message.id);
                (self.shared.accepted)(message);
                reply
            }
            Err(error) => {
                let reply = intake_reply(id, &error);
                let refusal = refusal("end of DATA", Some(sender), reply);
                events::refused(self.client.id, self.session.hello(), &refusal);
                refusal.reply
            }
        };
        self.session.finish_message(&reply, clock::now().into_std());
    }

    /// The message cannot be taken in.
    fn refuse_message(&mut self, command: &'static str, error: &IntakeError) {
        let reply = intake_reply(self.intake.id(), error);
        self.intake.abandon();
        let sender = self.session.sender().cloned();
        self.refuse(&refusal(command, sender, reply));
    }

    fn refuse(&mut self, refusal: &Refusal) {
        events::refused(self.client.id, self.session.hello(), refusal);
        self.session.refuse(&refusal.reply);
    }
}

/// A message that is not taken in.
fn refusal(command: &'static str, sender: Option<ReversePath>, reply: Reply) -> Refusal {
    Refusal {
        command,
        sender,
        recipient: None,
        argument: None,
        reply,
    }
}

/// What the client is told of a message that cannot be taken in, and if the fault is ours, the log.
fn intake_reply(id: Option<QueueId>, error: &IntakeError) -> Reply {
    match error {
        IntakeError::Store(error) => {
            events::store_failed(id, error);
            store_reply(error)
        }
        IntakeError::Signing(error) => {
            events::signing_failed(id, error);
            replies::signing_failed()
        }
        IntakeError::Header(TooLong) => replies::header_too_big(),
        IntakeError::Refused(reply) => (**reply).clone(),
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
