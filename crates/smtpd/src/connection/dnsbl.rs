//! Whether block lists name the client: asked when it comes, wanted when it names a recipient.

use std::sync::Arc;

use relay_message::QueueStore;
use relay_smtp::Reply;
use relay_smtp::server::replies;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::Connection;
use crate::config::Role;
use crate::inbound_check::{InboundCheck, Listing};

/// What block lists say about a client.
#[derive(Debug)]
pub(super) enum DnsblCheck {
    /// They are asked; the answer may be there already.
    Pending(AbortOnDropHandle<Option<Listing>>),
    /// They have answered, or nobody asks them.
    Done(Option<Box<Listing>>),
}

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// Who looks into this client, unless it is one of our own.
    pub(super) fn inbound(&self) -> Option<&Arc<dyn InboundCheck>> {
        let inbound = self.config.inbound.as_ref()?;
        (self.client.role == Role::Mx && !self.may_relay_mail()).then_some(inbound)
    }

    /// Whether it may relay, as who it is or as who it has logged in as.
    pub(super) fn may_relay_mail(&self) -> bool {
        self.session.user().is_some() || self.is_trusted()
    }

    /// Asks the lists, so that they have answered by the time that it matters.
    pub(super) fn start_dnsbl_check(&mut self) {
        let answer = self.inbound().zip(self.client.address());
        if let Some(answer) = answer.and_then(|(inbound, client)| inbound.listing(client)) {
            let asking = AbortOnDropHandle::new(tokio::spawn(answer));
            self.dnsbl = DnsblCheck::Pending(asking);
        }
    }

    /// Whether the lists have been asked, and their answer matters.
    pub(super) fn needs_dnsbl_result(&self) -> bool {
        matches!(self.dnsbl, DnsblCheck::Pending(_)) && !self.may_relay_mail()
    }

    /// Waits for the lists.
    pub(super) async fn await_dnsbl_result(&mut self) {
        if let DnsblCheck::Pending(asking) = &mut self.dnsbl {
            // Whoever fails to ask finds nothing.
            self.dnsbl = DnsblCheck::Done(asking.await.unwrap_or_default().map(Box::new));
        }
    }

    /// What a client that stands on a list is told.
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
