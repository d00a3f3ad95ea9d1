//! The connection of one client: moves its bytes and answers the questions of its session.

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
use relay_smtp::server::{Channel, Refusal, ServerEvent, ServerSession, Transaction, replies};
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

/// The state that all connections share.
pub(crate) struct SharedState<S> {
    pub(crate) store: Arc<S>,
    /// Called for each message once it is stored.
    pub(crate) accepted: Arc<dyn Fn(Message) + Send + Sync>,
    pub(crate) buffers: BufferPool,
    pub(crate) authenticator: Authenticator,
    pub(crate) signing_pool: Arc<SigningPool>,
    /// Cancelled when the server shuts down. Idle sessions then end; a message that is coming in
    /// may finish.
    pub(crate) stopping: CancellationToken,
    /// Cancelled at the end of the drain: every client gets a reply and is disconnected.
    pub(crate) ending: CancellationToken,
}

/// A client and the role of the listener that it connected to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Its identity, for permissions and the log.
    pub(crate) id: ClientId,
    /// False if the client comes through a proxy that does not name it. The address is then that of
    /// the proxy, and the client does not get the permissions of the proxy.
    pub(crate) address_known: bool,
    pub(crate) role: Role,
}

impl Client {
    /// No one else can read what two processes of one machine exchange, so that counts as TLS.
    fn channel(&self) -> Channel {
        match self.id {
            ClientId::Address(_) => Channel::Clear,
            ClientId::Uid(_) => Channel::Tls,
        }
    }

    /// Returns the address of the client, if it is known.
    fn address(&self) -> Option<IpAddr> {
        match self.id {
            ClientId::Address(address) => self.address_known.then_some(address),
            ClientId::Uid(_) => None,
        }
    }

    /// Whether the client submits its own mail. Missing fields of such mail are added.
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
    /// The time limit of the current or last message. Boxed, because most sessions are idle.
    min_rate: Option<Box<MinRate>>,
}

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// A session that begins without a handshake.
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

    /// A session that begins with a TLS handshake; `None` if the handshake fails.
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
                Some(ServerEvent::Close) => return self.close(&input).await,
                Some(ServerEvent::Flush) => self.flush().await,
                Some(ServerEvent::StartTls) => {
                    // These octets came before the handshake and must be discarded (RFC 3207 §4.2).
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

    async fn answer(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Mail(request) => self.check_sender(request),
            ServerEvent::Rcpt(recipient) => {
                if self.needs_dnsbl_result() {
                    // Boxed to keep the futures of other sessions small.
                    Box::pin(self.await_dnsbl_result()).await;
                    self.session.answered(clock::now().into_std());
                }
                self.check_recipient(recipient);
            }
            ServerEvent::Data => self.begin_message(),
            ServerEvent::Content => {
                if let Err(error) = self.intake.pass_on().await {
                    self.refuse_message("end of DATA", &error);
                }
            }
            ServerEvent::MessageEnd(transaction) => self.commit(transaction).await,
            ServerEvent::Refused(refusal) => {
                self.intake.abandon();
                events::refused(self.client.id, self.session.hello(), &refusal);
            }
            ServerEvent::Authenticate(credentials) => {
                Box::pin(self.log_in(credentials)).await;
                self.session.answered(clock::now().into_std());
            }
            ServerEvent::ScramUser(user) => self.challenge(&user),
            ServerEvent::ScramDone { user, verified } => {
                Box::pin(self.finish_scram(user, verified)).await;
                self.session.answered(clock::now().into_std());
            }
            ServerEvent::StartTls | ServerEvent::Flush | ServerEvent::Close => {}
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

    /// How to process a message that begins now, if it is processed at all.
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

    /// Whether the client submits its own mail, by the listener or by its login.
    fn is_submitted(&self) -> bool {
        self.client.submits_mail() || self.session.user().is_some()
    }

    /// Commits the message. The client gets its reply only after the message is stored.
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

    /// Refuses a message that could not be stored or was rejected.
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

/// The refusal of a message.
fn refusal(command: &'static str, sender: Option<ReversePath>, reply: Reply) -> Refusal {
    Refusal {
        command,
        sender,
        recipient: None,
        argument: None,
        reply,
    }
}

/// The reply for a message that is not accepted. Errors of our own are also logged.
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

/// The reply for an error of the queue.
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
