//! Who may send what to whom, on this listener.

use relay_message::QueueStore;
use relay_smtp::server::{Channel, MailRequest, Refusal, replies};
use relay_smtp::{ForwardPath, Recipient, Reply, ReversePath};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, store_reply};
use crate::auth::User;
use crate::client::ClientId;
use crate::config::ServerConfig;
use crate::events;
use crate::relay::{is_our_postmaster, is_postmaster};

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    pub(super) fn check_sender(&mut self, request: MailRequest) {
        match self.sender_verdict(&request) {
            Ok(()) => {
                let sender = self.rewritten(request.sender);
                self.session
                    .accept_sender(MailRequest { sender, ..request });
            }
            Err(reply) => self.refuse(&Refusal {
                command: "MAIL",
                sender: Some(request.sender),
                recipient: None,
                argument: None,
                reply,
            }),
        }
    }

    /// Checks a sender. The rules apply to the sender that the client gave; the rewritten sender
    /// goes into the envelope.
    fn rewritten(&self, sender: ReversePath) -> ReversePath {
        if !self.is_submitted() {
            return sender;
        }
        let from = sender.clone();
        let to = self.config.rewriting.sender(sender);
        if from != to {
            events::rewritten(self.client.id, &from, &to);
        }
        to
    }

    fn sender_verdict(&self, request: &MailRequest) -> Result<(), Reply> {
        match self.session.user() {
            Some(name) => {
                let users = self.config.users.as_deref();
                // A user that has been removed since the login may not send.
                let user = users.and_then(|users| users.find(name.as_str()));
                let user = user.ok_or_else(replies::authentication_required)?;
                check_sender_binding(&user, &request.sender)?;
            }
            None if self.client.role.is_submission() && !self.is_trusted() => {
                return Err(self.ask_for_login());
            }
            None => {}
        }
        self.config.relay.check_sender(&request.sender)?;
        let size = request.size.unwrap_or(0);
        let room = self.shared.store.has_room(size);
        room.map_err(|error| store_reply(&error))
    }

    /// Returns the refusal for a client that must log in first.
    fn ask_for_login(&self) -> Reply {
        match self.session.channel() {
            Channel::Clear if self.config.tls.is_some() => replies::want_tls(),
            Channel::Clear | Channel::Tls => replies::authentication_required(),
        }
    }

    pub(super) fn check_recipient(&mut self, recipient: Recipient) {
        let ServerConfig {
            hostname,
            postmaster,
            relay,
            ..
        } = &*self.config;
        let verdict = match recipient.path.mailbox() {
            _ if is_our_postmaster(&recipient.path, hostname) => {
                Ok(ForwardPath::Mailbox(postmaster.clone()))
            }
            Some(mailbox) => relay
                .check_recipient(self.may_relay_mail(), mailbox)
                // RFC 5321 §4.5.1: mail for postmaster is accepted even from clients on a block
                // list, at every domain, so their operators can ask for the reason.
                .and_then(|()| {
                    if is_postmaster(mailbox) {
                        Ok(())
                    } else {
                        self.check_dnsbl_result()
                    }
                })
                .map(|()| recipient.path.clone()),
            None => Err(replies::no_gateway()),
        };
        match verdict {
            Ok(path) => self
                .session
                .accept_recipient(Recipient { path, ..recipient }),
            Err(reply) => self.refuse(&Refusal {
                command: "RCPT",
                sender: self.session.sender().cloned(),
                recipient: Some(recipient.path),
                argument: None,
                reply,
            }),
        }
    }

    /// Whether the client may relay without a login: by its address, or as a user of this machine.
    pub(super) fn is_trusted(&self) -> bool {
        let ServerConfig {
            relay,
            temporary_relay,
            ..
        } = &*self.config;
        match self.client.id {
            ClientId::Address(address) => {
                self.client.address_known
                    && (relay.may_relay(address) || temporary_relay.may_relay(address))
            }
            ClientId::Uid(_) => true,
        }
    }
}

/// Whether a user may send with this sender. Every user may use the null sender; mail clients use
/// it for read receipts (RFC 8098 §2.1).
fn check_sender_binding(user: &User, sender: &ReversePath) -> Result<(), Reply> {
    let Some(mailbox) = sender.mailbox() else {
        return Ok(());
    };
    if user.senders.is_empty() || user.senders.iter().any(|pattern| pattern.matches(mailbox)) {
        Ok(())
    } else {
        Err(replies::not_your_sender())
    }
}
