//! Block lists: queried when the client connects, awaited when it names a recipient.

use std::sync::Arc;

use relay_message::QueueStore;
use relay_smtp::Reply;
use relay_smtp::server::replies;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::Connection;
use crate::config::Role;
use crate::inbound_check::{InboundCheck, Listing};

/// The state of the block list query for a client.
#[derive(Debug)]
pub(super) enum DnsblCheck {
    /// The query is running, or its result has not been fetched.
    Pending(AbortOnDropHandle<Option<Listing>>),
    /// The result; `None` also if no query was made.
    Done(Option<Box<Listing>>),
}

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// The checks for this client; `None` if it may relay or nothing is configured.
    pub(super) fn inbound(&self) -> Option<&Arc<dyn InboundCheck>> {
        let inbound = self.config.inbound.as_ref()?;
        (self.client.role == Role::Mx && !self.may_relay_mail()).then_some(inbound)
    }

    /// Whether the client may relay, by its address or its login.
    pub(super) fn may_relay_mail(&self) -> bool {
        self.session.user().is_some() || self.is_trusted()
    }

    /// Starts the query early, so that the result is usually there when it is needed.
    pub(super) fn start_dnsbl_check(&mut self) {
        let answer = self.inbound().zip(self.client.address());
        if let Some(answer) = answer.and_then(|(inbound, client)| inbound.listing(client)) {
            let asking = AbortOnDropHandle::new(tokio::spawn(answer));
            self.dnsbl = DnsblCheck::Pending(asking);
        }
    }

    /// Whether a query is pending whose result is needed.
    pub(super) fn needs_dnsbl_result(&self) -> bool {
        matches!(self.dnsbl, DnsblCheck::Pending(_)) && !self.may_relay_mail()
    }

    /// Waits for the result of the query.
    pub(super) async fn await_dnsbl_result(&mut self) {
        if let DnsblCheck::Pending(asking) = &mut self.dnsbl {
            // A failed task counts as not listed.
            self.dnsbl = DnsblCheck::Done(asking.await.unwrap_or_default().map(Box::new));
        }
    }

    /// Returns the refusal for a listed client.
    pub(super) fn check_dnsbl_result(&self) -> Result<(), Reply> {
        match &self.dnsbl {
            DnsblCheck::Done(Some(listing)) if !self.may_relay_mail() => {
                let Listing { list, text } = &**listing;
                let client = self.client.id.to_string();
                Err(replies::listed(&client, list, text))
            }
            DnsblCheck::Done(_) | DnsblCheck::Pending(_) => Ok(()),
        }
    }
}
