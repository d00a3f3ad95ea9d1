//! The rules of the operator that stay in force until they are removed, also after a restart.

use serde::{Deserialize, Serialize};

/// All rules that are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRules {
    /// The suspended destinations, sorted by name.
    pub suspended: Vec<String>,
    /// The rules that hold incoming mail.
    pub hold_incoming: Vec<HoldRule>,
}

/// A rule that holds incoming mail; all of its conditions must match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRule {
    /// The domain of a recipient; `None` for any.
    pub domain: Option<String>,
    /// The envelope sender, empty for the null sender; `None` for any.
    pub sender: Option<String>,
    /// When the rule was made, in seconds since 1970.
    pub since: u64,
}

/// The result of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleChange {
    /// How many rules were added or removed.
    pub changed: u64,
    /// The rules that are in force now.
    #[serde(rename = "orders")]
    pub rules: StandingRules,
}
