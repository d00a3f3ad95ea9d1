//! Selects the messages of the queue that a request applies to.
//!
//! A filter is sent as pairs of a form, one for each condition; `id` may be repeated. An unknown name is
//! an error and is never ignored: a verb that was meant for a few messages must not apply to all.

use std::str::FromStr;
use std::time::Duration;

/// The conditions that a message must meet. All conditions must match, and recipient conditions (domain,
/// address, state) must match the same recipient.
///
/// A recipient that is settled matches only a condition on its state: deleting the mail that waits for a
/// domain must not delete mail that has been delivered there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The ids of the messages; empty for any.
    pub ids: Vec<String>,
    /// The domain of a recipient.
    pub domain: Option<String>,
    /// The envelope sender; empty for the null sender.
    pub sender: Option<String>,
    /// The address of a recipient.
    pub recipient: Option<String>,
    /// The minimum age, in whole seconds.
    pub older_than: Option<Duration>,
    /// The state of a recipient or of the message.
    pub state: Option<Condition>,
}

/// The state of a recipient, or of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// A recipient waits for its first attempt.
    Queued,
    /// A recipient waits for another attempt.
    Deferred,
    /// A recipient is being tried.
    InFlight,
    /// The message was delivered to a recipient.
    Done,
    /// Delivery to a recipient has failed permanently.
    Failed,
    /// The operator holds the message.
    Held,
}

impl Condition {
    const ALL: [Self; 6] = [
        Self::Queued,
        Self::Deferred,
        Self::InFlight,
        Self::Done,
        Self::Failed,
        Self::Held,
    ];

    /// Its name in requests and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Deferred => "deferred",
            Self::InFlight => "in-flight",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }
}

impl FromStr for Condition {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|condition| condition.name() == text);
        found.ok_or_else(|| FilterError::State(text.to_owned()))
    }
}

/// Why a filter is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The name is not a condition of [`Filter`].
    #[error("messages cannot be selected by {0:?}")]
    Name(String),
    /// A condition was given twice.
    #[error("{0} was given twice")]
    Twice(&'static str),
    /// The value is not a state.
    #[error(
        "{0:?} is not a state; the states are queued, deferred, in-flight, done, failed and held"
    )]
    State(String),
    /// The value is not a number of seconds.
    #[error("{0:?} is not a number of seconds")]
    Age(String),
    /// There is neither a condition nor `all`.
    #[error(
        "which messages? give their ids, or select them by domain, sender, recipient, older-than or \
         state; all selects every message"
    )]
    Nothing,
    /// There are both conditions and `all`.
    #[error("all cannot be combined with other conditions")]
    AllAndSome,
}

/// The messages that a verb applies to. Without `all`, a verb never applies to every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every message of the queue.
    All,
    /// The messages that match the filter, which has a condition.
    Some(Filter),
}

impl Scope {
    /// Creates a scope from the conditions; `all` selects every message.
    pub fn new(all: bool, filter: Filter) -> Result<Self, FilterError> {
        match (all, filter == Filter::default()) {
            (true, true) => Ok(Self::All),
            (false, false) => Ok(Self::Some(filter)),
            (false, true) => Err(FilterError::Nothing),
            (true, false) => Err(FilterError::AllAndSome),
        }
    }

    /// Reads what [`Self::pairs`] has written.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, FilterError> {
        let mut all = false;
        let rest = pairs.into_iter().filter(|(name, value)| {
            let is_all = name == ALL && value == "true";
            all |= is_all;
            !is_all
        });
        let filter = Filter::from_pairs(rest)?;
        Self::new(all, filter)
    }

    /// Returns the pairs of the form.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::All => vec![(ALL, "true".to_owned())],
            Self::Some(filter) => filter.pairs(),
        }
    }

    /// Returns the filter; it has no condition if every message is selected.
    pub fn into_filter(self) -> Filter {
        match self {
            Self::All => Filter::default(),
            Self::Some(filter) => filter,
        }
    }
}

const ALL: &str = "all";
const ID: &str = "id";
const DOMAIN: &str = "domain";
const SENDER: &str = "sender";
const RECIPIENT: &str = "recipient";
const OLDER_THAN: &str = "older_than";
const STATE: &str = "state";

impl Filter {
    /// Whether it has only the conditions that a rule for incoming mail may have: domain and sender.
    pub fn is_for_incoming(&self) -> bool {
        let rule = Self {
            domain: self.domain.clone(),
            sender: self.sender.clone(),
            ..Self::default()
        };
        *self == rule
    }

    /// Reads what [`Self::pairs`] has written; without a pair there is no condition.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                ID => filter.ids.push(value),
                DOMAIN => once(&mut filter.domain, DOMAIN, value)?,
                SENDER => once(&mut filter.sender, SENDER, value)?,
                RECIPIENT => once(&mut filter.recipient, RECIPIENT, value)?,
                OLDER_THAN => {
                    let seconds = value.parse().map_err(|_| FilterError::Age(value))?;
                    once(
                        &mut filter.older_than,
                        OLDER_THAN,
                        Duration::from_secs(seconds),
                    )?;
                }
                STATE => once(&mut filter.state, STATE, value.parse()?)?,
                _ => return Err(FilterError::Name(name)),
            }
        }
        Ok(filter)
    }

    /// Returns the pairs of the form.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs: Vec<_> = self.ids.iter().map(|id| (ID, id.clone())).collect();
        let texts = [
            (DOMAIN, &self.domain),
            (SENDER, &self.sender),
            (RECIPIENT, &self.recipient),
        ];
        for (name, value) in texts {
            pairs.extend(value.iter().map(|value| (name, value.clone())));
        }
        // Rounded up, so that no younger message matches.
        let seconds = |age: Duration| {
            age.as_secs()
                .saturating_add((age.subsec_nanos() > 0).into())
        };
        let age = self.older_than.map(|age| seconds(age).to_string());
        pairs.extend(age.map(|age| (OLDER_THAN, age)));
        let state = self.state.map(|state| state.name().to_owned());
        pairs.extend(state.map(|state| (STATE, state)));
        pairs
    }
}

fn once<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), FilterError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(FilterError::Twice(name)),
    }
}

#[cfg(test)]
mod tests;
