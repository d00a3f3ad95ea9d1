//! What the operator has ordered, and what stands until it is taken back: over a restart too.

use serde::{Deserialize, Serialize};

/// All that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRules {
    /// Destinations that nothing is sent to, in the order of their names.
    pub suspended: Vec<String>,
    /// What is held as it comes in.
    pub hold_incoming: Vec<HoldRule>,
}

/// Mail that is held as it comes in: what fits all that is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRule {
    /// With a recipient at this domain; `None` for any.
    pub domain: Option<String>,
    /// From this address, empty for the null sender; `None` for any.
    pub sender: Option<String>,
    /// Since when.
    pub since: u64,
}

/// What an order has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleChange {
    /// How many of the orders that stand came or went; none if all was so before.
    pub changed: u64,
    /// What stands now.
    #[serde(rename = "orders")]
    pub rules: StandingRules,
}
