//! Shows and changes the rules that stay in force until the operator removes them.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use relay_control::{Filter, RuleChange, RuleVerb, Scope};
use relay_message::Deliver;
use relay_smtp::address::parse_literal;
use relay_smtp::{ForwardPath, ReversePath};
use tokio::sync::OwnedMutexGuard;

use super::error::ApiError;
use super::extract::JsonBody;
use crate::clock;
use crate::events;
use crate::shared::Shared;
use crate::standing_rules::{HoldConditions, StandingRules, StandingRulesError, key};

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<relay_control::StandingRules> {
    Json(shared.standing_rules.lock().await.described())
}

pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    JsonBody(verb): JsonBody<RuleVerb>,
) -> Result<Json<RuleChange>, ApiError> {
    let change = Change::of(&shared, verb).await?;
    // The lock is kept until the schedule knows the change, so that changes arrive there in the
    // order in which they were written.
    let rules = Arc::clone(&shared.standing_rules).lock_owned().await;
    let written = tokio::task::spawn_blocking(move || write(rules, change)).await;
    let (rules, change, changed) = written.map_err(|_| ApiError::Stopping)??;
    if changed > 0 {
        apply(&shared, &rules, &change).await;
    }
    Ok(Json(RuleChange {
        changed,
        rules: rules.described(),
    }))
}

/// A valid change. A destination has the name that the schedule uses for it.
enum Change {
    Suspend(String),
    Resume(String),
    Hold(HoldConditions),
    /// Removes one rule for incoming mail, or all of them with `None`.
    Release(Option<HoldConditions>),
}

impl Change {
    async fn of(shared: &Shared, verb: RuleVerb) -> Result<Self, ApiError> {
        Ok(match verb {
            RuleVerb::Suspend(given) => {
                let known = known_destinations(shared).await;
                let name = spelled(&known, &given);
                Self::Suspend(match name {
                    Some(name) => name,
                    None => destination_of(shared, &given)?,
                })
            }
            RuleVerb::Resume(given) => {
                let suspended = shared.standing_rules.lock().await.described().suspended;
                let name = spelled(&suspended, &given);
                Self::Resume(name.unwrap_or(given))
            }
            RuleVerb::Hold(scope) => Self::Hold(conditions(scope)?.unwrap_or_default()),
            RuleVerb::Release(scope) => Self::Release(conditions(scope)?),
        })
    }
}

/// Returns the conditions of a rule, or `None` for all rules.
fn conditions(scope: Scope) -> Result<Option<HoldConditions>, ApiError> {
    match scope {
        Scope::All => Ok(None),
        Scope::Matching(filter) if filter.is_for_incoming() => {
            let Filter { domain, sender, .. } = filter;
            Ok(Some(HoldConditions { domain, sender }))
        }
        Scope::Matching(_) => Err(ApiError::NotForIncoming),
    }
}

/// Returns the names of the configured smarthosts and of all destinations that mail waits for.
async fn known_destinations(shared: &Shared) -> Vec<String> {
    let of_routes = |config: &relay_remote::Config| -> Vec<_> {
        let routes = config.routes.iter();
        routes.map(|route| route.name().to_string()).collect()
    };
    let mut known = of_routes(&shared.remote.borrow());
    if let Some(status) = shared.sender.status().await {
        let waited_for = status.destinations.into_iter();
        known.extend(waited_for.map(|destination| destination.name.0.to_string()));
    }
    known
}

/// Returns the known name that is equal to the given one, or the only one that differs in the case
/// of letters alone. Domains are in lower case, but the user name of a smarthost need not be.
fn spelled(known: &[String], given: &str) -> Option<String> {
    if known.iter().any(|name| name == given) {
        return Some(given.to_owned());
    }
    let alike: BTreeSet<_> = known
        .iter()
        .filter(|name| name.eq_ignore_ascii_case(given))
        .collect();
    let only = alike.first().filter(|_| alike.len() == 1);
    only.map(|name| (*name).clone())
}

/// Returns the destination of mail for a domain or an address. It must have the given name, because
/// suspending another name would not stop the mail.
fn destination_of(shared: &Shared, given: &str) -> Result<String, ApiError> {
    let unbracketed = given.strip_prefix('[').and_then(|g| g.strip_suffix(']'));
    let domain = match unbracketed.and_then(|address| address.parse::<Ipv6Addr>().ok()) {
        // The schedule uses this form of an IPv6 address. No mailbox has it.
        Some(address) => format!("[IPv6:{address}]"),
        None => given.to_lowercase(),
    };
    let Ok(postmaster) = format!("postmaster@{domain}").parse::<ForwardPath>() else {
        return Err(ApiError::NoDestination(given.to_owned()));
    };
    let found = shared
        .deliver
        .destination(&ReversePath::Null, &postmaster)
        .0;
    if *found == *domain || parse_literal(&domain).is_some_and(|ip| *found == *format!("[{ip}]")) {
        Ok(found.to_string())
    } else {
        Err(ApiError::OtherDestination {
            given: given.to_owned(),
            destination: found.to_string(),
        })
    }
}

/// The lock on the rules, the change, and how many rules it has added or removed. The schedule must
/// learn of the change while the lock is held.
type Written = (OwnedMutexGuard<StandingRules>, Change, u64);

fn write(
    mut rules: OwnedMutexGuard<StandingRules>,
    change: Change,
) -> Result<Written, StandingRulesError> {
    let changed = match &change {
        Change::Suspend(name) => rules.suspend(name)?.into(),
        Change::Resume(name) => rules.resume(name)?.into(),
        Change::Hold(conditions) => rules.hold(conditions, clock::now())?.into(),
        Change::Release(conditions) => rules.release(conditions.as_ref())? as u64,
    };
    Ok((rules, change, changed))
}

/// Applies a change to the schedule.
async fn apply(shared: &Shared, rules: &StandingRules, change: &Change) {
    match change {
        Change::Suspend(name) => {
            shared.sender.suspend(key(name)).await;
            events::suspended(name);
        }
        Change::Resume(name) => {
            shared.sender.resume(key(name)).await;
            events::resumed(name);
        }
        Change::Hold(_) | Change::Release(_) => {
            let rules = rules.hold_rules();
            events::hold_rules(rules.len());
            shared.sender.hold_incoming(rules);
        }
    }
}
