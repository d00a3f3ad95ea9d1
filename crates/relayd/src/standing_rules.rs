//! The operator's standing rules: suspended destinations, and rules that hold incoming mail.
//!
//! They are kept as JSON in the queue. The change is written before the schedule learns of it, so a
//! confirmed rule survives a crash.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_message::DestinationKey;
use relay_send::HoldRule;
use serde::{Deserialize, Serialize};

use crate::queue_note::{Keep, NoteError};

/// The largest number of rules of each kind. A faulty script reaches this limit, a person does not.
const MOST: usize = 1000;
/// The longest name or address in octets. No domain or path is longer (RFC 5321 §4.5.3.1).
const LONGEST: usize = 320;

/// Why a rule cannot be added, or why the existing ones cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StandingRulesError {
    /// There are too many rules.
    #[error("there are {MOST} of these rules already; remove some")]
    Full,
    /// The name or address is empty or too long.
    #[error("the name or address is empty or too long")]
    Name,
    /// The rules cannot be read or written.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// They are not what the relay wrote.
    #[error("{name}: {source}; repair it, or remove it and make the rules again")]
    Format {
        /// The name of the text.
        name: String,
        /// The error and its position.
        source: serde_json::Error,
    },
}

/// The rules as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    suspended: Vec<String>,
    hold_incoming: Vec<StoredRule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRule {
    domain: Option<String>,
    sender: Option<String>,
    /// Microseconds since 1970, like the times of messages.
    since: u64,
}

/// The rules in memory and in the queue.
#[derive(Debug)]
pub(crate) struct StandingRules {
    kept: Box<dyn Keep>,
    stored: Stored,
}

impl StandingRules {
    /// Reads the rules. There are none before the first change.
    pub(crate) fn open(kept: Box<dyn Keep>) -> Result<Self, StandingRulesError> {
        let stored = match kept.read()? {
            None => Stored::default(),
            Some(text) => {
                let read = serde_json::from_slice(&text);
                read.map_err(|source| StandingRulesError::Format {
                    name: kept.name(),
                    source,
                })?
            }
        };
        Ok(Self { kept, stored })
    }

    /// Writes the rules again, so that the file of an earlier version is taken over.
    pub(crate) fn take_over(&self) -> Result<(), StandingRulesError> {
        self.write(&self.stored)
    }

    /// Returns the rules for the schedule.
    pub(crate) fn for_send(&self) -> relay_send::StandingRules {
        let suspended = self.stored.suspended.iter();
        relay_send::StandingRules {
            suspended: suspended.map(|name| key(name)).collect(),
            hold_incoming: self.hold_rules(),
        }
    }

    /// Returns the hold rules for the schedule.
    pub(crate) fn hold_rules(&self) -> Vec<HoldRule> {
        let rules = self.stored.hold_incoming.iter().map(|rule| HoldRule {
            domain: rule.domain.clone(),
            sender: rule.sender.clone(),
            since: UNIX_EPOCH + Duration::from_micros(rule.since),
        });
        rules.collect()
    }

    /// Returns the rules as the control API describes them.
    pub(crate) fn described(&self) -> relay_control::StandingRules {
        let rules = self.stored.hold_incoming.iter();
        let rules = rules.map(|rule| relay_control::HoldRule {
            domain: rule.domain.clone(),
            sender: rule.sender.clone(),
            since: rule.since / 1_000_000,
        });
        relay_control::StandingRules {
            suspended: self.stored.suspended.clone(),
            hold_incoming: rules.collect(),
        }
    }

    /// Suspends a destination. Returns `false` if it was suspended already. Once this returns, the
    /// change survives power loss. This also holds for the other changes.
    pub(crate) fn suspend(&mut self, destination: &str) -> Result<bool, StandingRulesError> {
        check(destination)?;
        self.change(|stored| {
            let place = stored
                .suspended
                .binary_search_by(|name| (**name).cmp(destination));
            let Err(place) = place else {
                return Ok(false);
            };
            has_room(stored.suspended.len())?;
            stored.suspended.insert(place, destination.to_owned());
            Ok(true)
        })
    }

    /// Resumes a destination. Returns `false` if it was not suspended.
    pub(crate) fn resume(&mut self, destination: &str) -> Result<bool, StandingRulesError> {
        self.change(|stored| {
            let before = stored.suspended.len();
            stored.suspended.retain(|name| name != destination);
            Ok(stored.suspended.len() < before)
        })
    }

    /// Holds matching mail from now on. Returns `false` if the rule exists already.
    pub(crate) fn hold(
        &mut self,
        rule: &HoldConditions,
        now: SystemTime,
    ) -> Result<bool, StandingRulesError> {
        // The null sender is an empty string.
        let sender = rule.sender.as_deref().filter(|sender| !sender.is_empty());
        rule.domain
            .iter()
            .map(String::as_str)
            .chain(sender)
            .try_for_each(check)?;
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.change(|stored| {
            if stored.hold_incoming.iter().any(|other| rule.is(other)) {
                return Ok(false);
            }
            has_room(stored.hold_incoming.len())?;
            stored.hold_incoming.push(StoredRule {
                domain: rule.domain.clone(),
                sender: rule.sender.clone(),
                since: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            });
            Ok(true)
        })
    }

    /// Removes the rule with these conditions, or every rule. Returns the number of removed rules.
    /// Messages that they have held remain held.
    pub(crate) fn release(
        &mut self,
        rule: Option<&HoldConditions>,
    ) -> Result<usize, StandingRulesError> {
        let mut ended = 0;
        self.change(|stored| {
            let before = stored.hold_incoming.len();
            stored
                .hold_incoming
                .retain(|other| rule.is_some_and(|rule| !rule.is(other)));
            ended = before - stored.hold_incoming.len();
            Ok(ended > 0)
        })?;
        Ok(ended)
    }

    /// Changes the rules and writes them. `change` returns whether it changed anything.
    fn change(
        &mut self,
        change: impl FnOnce(&mut Stored) -> Result<bool, StandingRulesError>,
    ) -> Result<bool, StandingRulesError> {
        let mut changed = self.stored.clone();
        if !change(&mut changed)? {
            return Ok(false);
        }
        self.write(&changed)?;
        self.stored = changed;
        Ok(true)
    }

    fn write(&self, stored: &Stored) -> Result<(), StandingRulesError> {
        let text = serde_json::to_vec_pretty(stored).expect("its keys are names of fields");
        Ok(self.kept.write(text)?)
    }
}

/// The conditions of a rule for incoming mail. Without any, it applies to all mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HoldConditions {
    pub(crate) domain: Option<String>,
    pub(crate) sender: Option<String>,
}

impl HoldConditions {
    fn is(&self, rule: &StoredRule) -> bool {
        same(self.domain.as_ref(), rule.domain.as_ref())
            && same(self.sender.as_ref(), rule.sender.as_ref())
    }
}

fn same(one: Option<&String>, other: Option<&String>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn has_room(taken: usize) -> Result<(), StandingRulesError> {
    if taken < MOST {
        Ok(())
    } else {
        Err(StandingRulesError::Full)
    }
}

fn check(name: &str) -> Result<(), StandingRulesError> {
    if name.is_empty() || name.len() > LONGEST {
        Err(StandingRulesError::Name)
    } else {
        Ok(())
    }
}

/// Returns the key of the destination with this name.
pub(crate) fn key(name: &str) -> DestinationKey {
    DestinationKey(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue_note::tests::InMemory;

    fn open(kept: &InMemory) -> Result<StandingRules, StandingRulesError> {
        StandingRules::open(Box::new(kept.clone()))
    }

    fn conditions(domain: Option<&str>, sender: Option<&str>) -> HoldConditions {
        HoldConditions {
            domain: domain.map(str::to_owned),
            sender: sender.map(str::to_owned),
        }
    }

    #[test]
    fn rules_survive_a_restart() {
        let kept = InMemory::default();
        let now = UNIX_EPOCH + Duration::from_micros(1_795_230_600_000_001);
        let mut rules = open(&kept).expect("none");
        assert_eq!(rules.for_send(), relay_send::StandingRules::default());
        for (name, is_new) in [("b.test", true), ("a.test", true), ("b.test", false)] {
            assert_eq!(rules.suspend(name).expect("a disk"), is_new);
        }
        for (rule, is_new) in [
            (conditions(Some("a.test"), None), true),
            (conditions(Some("A.test"), None), false),
            (conditions(Some("a.test"), Some("")), true),
            (conditions(None, None), true),
        ] {
            assert_eq!(rules.hold(&rule, now).expect("a disk"), is_new, "{rule:?}");
        }
        let again = open(&kept).expect("kept");
        assert_eq!(again.stored, rules.stored);
        let given = again.for_send();
        assert_eq!(given.suspended, [key("a.test"), key("b.test")]);
        assert!(given.hold_incoming.iter().all(|rule| rule.since == now));
        assert_eq!(
            again.described().hold_incoming[1].sender.as_deref(),
            Some("")
        );
        assert_eq!(again.described().hold_incoming[1].since, 1_795_230_600);
    }

    #[test]
    fn only_the_named_rule_is_removed() {
        let kept = InMemory::default();
        let mut rules = open(&kept).expect("none");
        let domain = conditions(Some("a.test"), None);
        let both = conditions(Some("a.test"), Some("s@b.test"));
        for rule in [&domain, &both, &conditions(None, None)] {
            rules.hold(rule, UNIX_EPOCH).expect("a disk");
        }
        rules.suspend("a.test").expect("a disk");
        assert!(!rules.resume("b.test").expect("nothing to write"));
        assert!(rules.resume("a.test").expect("a disk"));
        let sender = conditions(None, Some("s@b.test"));
        assert_eq!(rules.release(Some(&sender)).expect("nothing to write"), 0);
        assert_eq!(rules.release(Some(&domain)).expect("a disk"), 1);
        assert_eq!(rules.hold_rules().len(), 2);
        assert_eq!(rules.release(None).expect("a disk"), 2);
        let again = open(&kept).expect("kept");
        assert_eq!(again.stored, Stored::default());
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let kept = InMemory::default();
        let mut rules = open(&kept).expect("none");
        for name in ["", &"x".repeat(LONGEST + 1)] {
            rules.suspend(name).expect_err("no name");
            let rule = conditions(Some(name), None);
            rules.hold(&rule, UNIX_EPOCH).expect_err("no domain");
        }
        rules.stored.suspended = (0..MOST).map(|n| format!("{n:04}")).collect();
        assert!(matches!(rules.suspend("x"), Err(StandingRulesError::Full)));
        assert!(!rules.suspend("0000").expect("it is there"));
        rules.kept = Box::new(InMemory {
            fails: true,
            ..kept
        });
        assert!(matches!(
            rules.resume("0000"),
            Err(StandingRulesError::Note(_))
        ));
        assert_eq!(rules.stored.suspended.len(), MOST, "as the disk has it");
    }

    #[test]
    fn rules_of_another_format_stop_the_start_and_stay_unchanged() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"suspended":[],"hold_incoming":[],"x":1}"#,
        ] {
            let kept = InMemory::of(text);
            let reason = open(&kept).expect_err(text).to_string();
            assert!(reason.contains("the test: "), "{reason}");
            assert_eq!(kept.text().as_deref(), Some(text.as_bytes()));
        }
    }
}
