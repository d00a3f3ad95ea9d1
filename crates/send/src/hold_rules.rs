//! Rules by which incoming mail is held.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use relay_message::Message;
use relay_smtp::address::is_at;

/// A rule that holds incoming mail. A message must match every field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRule {
    /// The domain of a recipient; `None` for any.
    pub domain: Option<String>,
    /// The sender, empty for the null sender; `None` for any.
    pub sender: Option<String>,
    /// Mail that arrived earlier does not match, even if it is read again after a restart.
    pub since: SystemTime,
}

impl HoldRule {
    /// Whether a message matches and has been neither tried nor released yet.
    fn fits(&self, message: &Message) -> bool {
        message.arrived >= self.since
            && message.is_fresh()
            && !message.released
            && self.domain.as_ref().is_none_or(|domain| {
                let mut recipients = message.recipients.iter();
                recipients.any(|r| is_at(r.to.path.as_str(), domain))
            })
            && self
                .sender
                .as_ref()
                .is_none_or(|sender| message.sender.as_str().eq_ignore_ascii_case(sender))
    }
}

/// The current rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct HoldRules(Arc<RwLock<Vec<HoldRule>>>);

impl HoldRules {
    pub(crate) fn new(rules: Vec<HoldRule>) -> Self {
        Self(Arc::new(RwLock::new(rules)))
    }

    pub(crate) fn replace(&self, rules: Vec<HoldRule>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Whether a message is to be held now.
    pub(crate) fn hold(&self, message: &Message) -> bool {
        let rules = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !message.held && rules.iter().any(|rule| rule.fits(message))
    }
}
