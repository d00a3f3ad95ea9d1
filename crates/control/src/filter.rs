//! Selects the messages of the queue that a request applies to.
//!
//! A [`Filter`] is the query of a request that shows messages: one pair for each condition, and one pair
//! `id=…` for each id. A [`Scope`] is the body of a request that changes messages, in JSON: `"all"`, or
//! `{"matching":FILTER}`. An unknown name is an error and is never ignored: a verb for a few messages
//! must not apply to all of them.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The conditions that a message must meet. All conditions must match, and recipient conditions (domain,
/// address, state) must match the same recipient.
///
/// A recipient that is settled matches only a condition on its state: deleting the mail that waits for a
/// domain must not delete mail that has been delivered there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The ids of the messages; empty for any.
    #[serde(default, rename = "id", skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The domain of a recipient.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub domain: Option<String>,
    /// The envelope sender; empty for the null sender.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub sender: Option<String>,
    /// The address of a recipient.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub recipient: Option<String>,
    /// The minimum age, in whole seconds.
    #[serde(
        default,
        deserialize_with = "age",
        serialize_with = "seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub older_than: Option<Duration>,
    /// The state of a recipient or of the message.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub state: Option<Condition>,
}

/// Reads a condition that is present. Reading an `Option` instead would take an empty sender in a query,
/// which means the null sender, for no condition at all.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    u64::deserialize(deserializer).map(|seconds| Some(Duration::from_secs(seconds)))
}

/// Writes the age in seconds. It is rounded up, so that no younger message matches.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn seconds<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let age = age.unwrap_or_default();
    let rounded = age
        .as_secs()
        .saturating_add((age.subsec_nanos() > 0).into());
    rounded.serialize(serializer)
}

/// The state of a recipient, or of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
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

    /// Returns its name in requests and on command lines.
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

impl TryFrom<String> for Condition {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        text.parse()
    }
}

impl From<Condition> for &'static str {
    fn from(condition: Condition) -> Self {
        condition.name()
    }
}

/// Why a filter or a scope is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The value is not a state.
    #[error(
        "{0:?} is not a state; the states are queued, deferred, in-flight, done, failed and held"
    )]
    State(String),
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

/// The query of a request is not a filter: a condition is unknown, is given twice or has an invalid
/// value.
#[derive(Debug, thiserror::Error)]
#[error("the query is not a filter: {0}")]
pub struct QueryError(#[from] serde_html_form::de::Error);

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

    /// Reads the query of a request. An empty query has no condition.
    pub fn from_query(query: &str) -> Result<Self, QueryError> {
        Ok(serde_html_form::from_str(query)?)
    }

    /// Returns the query of a request; empty without a condition.
    pub fn query(&self) -> String {
        serde_html_form::to_string(self)
            .expect("a form has fields of text, numbers and lists of text")
    }
}

/// The messages that a verb applies to. Every message must be asked for explicitly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every message of the queue.
    All,
    /// The messages that match the filter, which has a condition.
    Matching(#[serde(deserialize_with = "with_condition")] Filter),
}

fn with_condition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Filter, D::Error> {
    let filter = Filter::deserialize(deserializer)?;
    if filter == Filter::default() {
        return Err(de::Error::custom(FilterError::Nothing));
    }
    Ok(filter)
}

impl Scope {
    /// Creates a scope from the conditions; `all` selects every message.
    pub fn new(all: bool, filter: Filter) -> Result<Self, FilterError> {
        match (all, filter == Filter::default()) {
            (true, true) => Ok(Self::All),
            (false, false) => Ok(Self::Matching(filter)),
            (false, true) => Err(FilterError::Nothing),
            (true, false) => Err(FilterError::AllAndSome),
        }
    }

    /// Returns the filter; it has no condition if every message is selected.
    pub fn into_filter(self) -> Filter {
        match self {
            Self::All => Filter::default(),
            Self::Matching(filter) => filter,
        }
    }
}

#[cfg(test)]
mod tests;
