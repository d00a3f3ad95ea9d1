//! Whether block lists name the client: asked when it comes, wanted when it names a recipient.

use std::sync::Arc;

use relay_queue::QueueStore;
use relay_smtp::Reply;
use relay_smtp::server::replies;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::Connection;
use crate::config::Role;
use crate::inbound::{Inbound, Listing};

/// What block lists say about a client.
#[derive(Debug)]
pub(super) enum Standing {
    /// They are asked; the answer may be there already.
    Asked(AbortOnDropHandle<Option<Listing>>),
    /// They have answered, or nobody asks them.
    Known(Option<Box<Listing>>),
}

impl<S: QueueStore, T: AsyncRead + AsyncWrite + Unpin> Connection<S, T> {
    /// Who looks into this client, unless it is one of our own.
    pub(super) fn inbound(&self) -> Option<&Arc<dyn Inbound>> {
        let inbound = self.config.inbound.as_ref()?;
        (self.visitor.role == Role::Mx && !self.is_own_client()).then_some(inbound)
    }

    /// Whether it may relay, as who it is or as who it has logged in as.
    pub(super) fn is_own_client(&self) -> bool {
        self.session.user().is_some() || self.is_trusted()
    }

    /// Asks the lists, so that they have answered by the time that it matters.
    pub(super) fn ask_for_standing(&mut self) {
        let answer = self.inbound().zip(self.visitor.address());
        if let Some(answer) = answer.and_then(|(inbound, client)| inbound.listing(client)) {
            let asking = AbortOnDropHandle::new(tokio::spawn(answer));
            self.standing = Standing::Asked(asking);
        }
    }

    /// Whether the lists have been asked, and their answer matters.
    pub(super) fn needs_standing(&self) -> bool {
        matches!(self.standing, Standing::Asked(_)) && !self.is_own_client()
    }

    /// Waits for the lists.
    pub(super) async fn learn_standing(&mut self) {
        if let Standing::Asked(asking) = &mut self.standing {
            // Whoever fails to ask finds nothing.
            self.standing = Standing::Known(asking.await.unwrap_or_default().map(Box::new));
        }
    }

    /// What a client that stands on a list is told.
    pub(super) fn judge_standing(&self) -> Result<(), Reply> {
        match &self.standing {
            Standing::Known(Some(listing)) if !self.is_own_client() => {
                let Listing { list, text } = &**listing;
                let client = self.visitor.peer.to_string();
                Err(replies::listed(&client, list, text))
            }
            Standing::Known(_) | Standing::Asked(_) => Ok(()),
        }
    }
}
