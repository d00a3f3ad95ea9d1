//! The rules of the operator that stay in force until they are removed, also after a restart.

use serde::{Deserialize, Serialize};

use crate::filter::Scope;

/// A change of the standing rules, in JSON such as `{"suspend":"a.test"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleVerb {
    /// Stop delivery to this destination: a domain, or a smarthost.
    Suspend(String),
    /// Resume delivery to this destination.
    Resume(String),
    /// Hold incoming mail. The filter may have only a domain and a sender.
    Hold(Scope),
    /// Remove the hold rule with these conditions, or all hold rules. Held mail stays held.
    Release(Scope),
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    #[test]
    fn a_change_of_the_rules_is_one_key_with_its_argument() {
        let mail_for_a_domain = Scope::Matching(Filter {
            domain: Some("a.test".to_owned()),
            ..Filter::default()
        });
        for (verb, expected) in [
            (
                RuleVerb::Suspend("a.test".to_owned()),
                r#"{"suspend":"a.test"}"#,
            ),
            (RuleVerb::Resume(String::new()), r#"{"resume":""}"#),
            (
                RuleVerb::Hold(mail_for_a_domain),
                r#"{"hold":{"matching":{"domain":"a.test"}}}"#,
            ),
            (RuleVerb::Release(Scope::All), r#"{"release":"all"}"#),
        ] {
            let json = serde_json::to_string(&verb).expect("JSON");
            assert_eq!(json, expected);
            assert_eq!(
                serde_json::from_str::<RuleVerb>(&json).expect("a verb"),
                verb
            );
        }
    }

    #[test]
    fn an_incomplete_or_unknown_change_is_refused() {
        for json in [
            "{}",
            r#""suspend""#,
            r#"{"suspend":null}"#,
            r#"{"suspend":"a.test","resume":"a.test"}"#,
            r#"{"pause":"a.test"}"#,
            r#"{"hold":{}}"#,
            r#"{"release":{"matching":{}}}"#,
            r#"{"release":{"matching":{"size":"3"}}}"#,
        ] {
            serde_json::from_str::<RuleVerb>(json).expect_err(json);
        }
    }
}
