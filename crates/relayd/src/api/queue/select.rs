//! Finds the messages of the queue that match a filter.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use relay_control::{Condition, Filter};
use relay_message::{Message, QueueId, QueueStore, QueuedRecipient, StoreError};
use relay_smtp::address::is_at;

use super::describe::{Sending, state};
use crate::clock;
use crate::shared::Shared;

/// How many records are read from the store at a time.
const PAGE: usize = 500;

/// The matching messages, page by page. Messages that arrive after the start are not included, so
/// the walk ends even if mail arrives faster than it is read.
pub(super) struct Selection {
    filter: Filter,
    pub(super) shared: Arc<Shared>,
    pub(super) sending: Sending,
    began: SystemTime,
    rest: Rest,
    unknown: Vec<String>,
}

/// What is still to be read.
enum Rest {
    /// All messages after the first id, up to the second.
    Between(Option<QueueId>, QueueId),
    /// The messages with these ids.
    Named(std::vec::IntoIter<QueueId>),
    Nothing,
}

impl Selection {
    pub(super) fn new(filter: Filter, shared: Arc<Shared>, sending: Sending) -> Self {
        let mut unknown = Vec::new();
        let rest = if filter.ids.is_empty() {
            Rest::Between(None, shared.store.next_id())
        } else {
            // An id that is given twice counts once.
            let mut ids = BTreeSet::<QueueId>::new();
            for id in &filter.ids {
                match id.parse() {
                    Ok(id) => drop(ids.insert(id)),
                    Err(_) => unknown.push(id.clone()),
                }
            }
            Rest::Named(ids.into_iter().collect::<Vec<_>>().into_iter())
        };
        Self {
            filter,
            shared,
            sending,
            began: clock::now(),
            rest,
            unknown,
        }
    }

    /// Reads the first page. Returns it with the rest of the selection.
    pub(super) async fn begin(mut self) -> Result<(Option<Vec<Message>>, Self), StoreError> {
        let first = self.page().await?;
        Ok((first, self))
    }

    /// Returns the matching messages of the next page. It may be empty. Returns `None` after the
    /// last page.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Message>>, StoreError> {
        let store = &self.shared.store;
        let mut page = match &mut self.rest {
            Rest::Nothing => return Ok(None),
            Rest::Named(ids) => {
                let ids: Vec<_> = ids.take(PAGE).collect();
                if ids.is_empty() {
                    return Ok(None);
                }
                let mut page = Vec::new();
                for id in ids {
                    match store.get(id).await? {
                        Some(message) => page.push(message),
                        None => self.unknown.push(id.to_string()),
                    }
                }
                page
            }
            Rest::Between(after, end) => {
                let (after, end) = (*after, *end);
                let mut page = store.scan(after, PAGE).await?;
                let last = page.last().map(|message| message.id);
                self.rest = match last {
                    Some(last) if last < end => Rest::Between(Some(last), end),
                    _ => Rest::Nothing,
                };
                page.retain(|message| message.id < end);
                page
            }
        };
        page.retain(|message| self.fits(message));
        Ok(Some(page))
    }

    /// Returns the given ids that were not found in the queue so far.
    pub(super) fn into_unknown(self) -> Vec<String> {
        self.unknown
    }

    fn fits(&self, message: &Message) -> bool {
        let filter = &self.filter;
        let is_from = |sender: &String| message.sender.as_str().eq_ignore_ascii_case(sender);
        let age = self
            .began
            .duration_since(message.arrived)
            .unwrap_or_default();
        filter.sender.as_ref().is_none_or(is_from)
            && filter.older_than.is_none_or(|oldest| age > oldest)
            && self.fits_recipient(message)
    }

    /// Returns whether one recipient meets all conditions on recipients. Without such conditions
    /// every message does.
    fn fits_recipient(&self, message: &Message) -> bool {
        if self.filter.state == Some(Condition::Held) && !message.held {
            return false;
        }
        let mut rows = message.recipients.iter();
        !self.asks_for_recipients() || rows.any(|row| self.is_asked_for(message, row))
    }

    /// Counts the unsettled recipients of a matching message that do not match the filter.
    pub(super) fn others(&self, message: &Message) -> u64 {
        if !self.asks_for_recipients() {
            return 0;
        }
        let rows = message.recipients.iter();
        let others = rows.filter(|row| !row.state.is_settled() && !self.is_asked_for(message, row));
        others.count() as u64
    }

    fn asks_for_recipients(&self) -> bool {
        let Filter {
            domain, recipient, ..
        } = &self.filter;
        domain.is_some() || recipient.is_some() || self.state().is_some()
    }

    /// Returns the state that a recipient must have.
    fn state(&self) -> Option<&'static str> {
        match self.filter.state {
            Some(Condition::Held) | None => None,
            Some(state) => Some(state.name()),
        }
    }

    fn is_asked_for(&self, message: &Message, row: &QueuedRecipient) -> bool {
        let Filter {
            domain,
            recipient: address,
            ..
        } = &self.filter;
        let is_at = |domain: &String| is_at(row.to.path.as_str(), domain);
        let is = |address: &String| row.to.path.as_str().eq_ignore_ascii_case(address);
        domain.as_ref().is_none_or(is_at)
            && address.as_ref().is_none_or(is)
            && self.has_state(message, row)
    }

    /// Returns whether a recipient has the state of the filter. Without one, it must not be settled.
    fn has_state(&self, message: &Message, row: &QueuedRecipient) -> bool {
        let found = state(&self.shared, &self.sending, message, row);
        match self.state() {
            Some(state) => found.name() == state,
            None => !found.is_settled(),
        }
    }
}
