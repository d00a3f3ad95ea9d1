//! Which messages of the queue a request is about.
//!
//! A filter goes over the socket as pairs of a form, one for each thing it asks for; `id` may be
//! there many times. A name that is not known is an error and never left out of account: what was
//! meant for a few messages must not happen to all.

use std::str::FromStr;
use std::time::Duration;

/// What a message must be to be meant: all that is asked for here.
///
/// What is asked of a recipient (domain, address, state) must hold for one and the same. One that
/// nothing more will be tried for counts only where its state is asked for: who deletes what waits
/// for a domain does not mean mail that has been delivered there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these messages; empty for any.
    pub ids: Vec<String>,
    /// With a recipient at this domain.
    pub domain: Option<String>,
    /// From this address, empty for the null sender.
    pub sender: Option<String>,
    /// To this address.
    pub recipient: Option<String>,
    /// In the queue for longer than this; whole seconds.
    pub older_than: Option<Duration>,
    /// In this state.
    pub state: Option<Condition>,
}

/// A state that is asked for: of a recipient, or of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// A recipient waits for its first attempt.
    Queued,
    /// A recipient waits for another attempt.
    Deferred,
    /// A recipient is being tried.
    InFlight,
    /// A recipient's copy was delivered.
    Done,
    /// A recipient has failed for good.
    Failed,
    /// The message is set aside by the operator.
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

/// What a request asks for cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Another kind of thing than those of [`Filter`].
    #[error("messages cannot be chosen by {0:?}")]
    Name(String),
    /// The same thing twice, which one message could not be.
    #[error("{0} was given twice")]
    Twice(&'static str),
    /// No state.
    #[error("{0:?} is no state: there are queued, deferred, in-flight, done, failed and held")]
    State(String),
    /// No number of seconds.
    #[error("{0:?} is no number of seconds")]
    Age(String),
    /// Nothing is asked for, and not everything either.
    #[error(
        "which messages? name their ids, or choose by domain, sender, recipient, older-than or \
         state; all of them only with all"
    )]
    Nothing,
    /// Everything and something.
    #[error("all of them and some of them: choose one")]
    AllAndSome,
}

/// What a verb is about: it never means everything unless that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every message of the queue.
    All,
    /// Those that fit; the filter asks for something.
    Some(Filter),
}

impl Scope {
    /// `all`: whether everything is asked for.
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

    /// As it goes over the socket.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::All => vec![(ALL, "true".to_owned())],
            Self::Some(filter) => filter.pairs(),
        }
    }

    /// The filter behind it; one that asks for nothing if everything is meant.
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
    /// Whether it asks for no more than a rule for mail that comes in can: a domain and a sender.
    pub fn is_for_incoming(&self) -> bool {
        let rule = Self {
            domain: self.domain.clone(),
            sender: self.sender.clone(),
            ..Self::default()
        };
        *self == rule
    }

    /// Reads what [`Self::pairs`] has written; no pair at all asks for nothing.
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

    /// As it goes over the socket.
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
        // Rounded up: what is younger was not asked for.
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
