//! Rules that stay in force until the operator removes them.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Form, Json};
use relay_control::{Filter, RuleChange, Scope};
use relay_message::Deliver;
use relay_smtp::address::parse_literal;
use relay_smtp::{ForwardPath, ReversePath};
use tokio::sync::OwnedMutexGuard;

use super::{problem, stopping};
use crate::clock;
use crate::events;
use crate::orders::{Names, Orders, OrdersError, key};
use crate::shared::Shared;

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.orders.lock().await.described()).into_response()
}

/// The change that the operator orders.
enum Order {
    Suspend(String),
    Resume(String),
    Hold(Names),
    /// Removes one rule for incoming mail, or all of them with `None`.
    Release(Option<Names>),
}

pub(super) async fn order(
    State(shared): State<Arc<Shared>>,
    Path(what): Path<String>,
    pairs: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let pairs = pairs.map_err(|reason| reason.to_string());
    let order = match pairs.and_then(|Form(pairs)| parse(&what, pairs)) {
        Ok(order) => order,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, reason),
    };
    let order = match named(&shared, order).await {
        Ok(order) => order,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, reason),
    };
    // The lock is kept until the schedule knows the change, so that changes arrive there in the
    // order in which they were written.
    let orders = Arc::clone(&shared.orders).lock_owned().await;
    let written = tokio::task::spawn_blocking(move || write(orders, order)).await;
    match written {
        Err(_) => stopping(),
        Ok(Ok((orders, order, changed))) => {
            if changed > 0 {
                tell(&shared, &orders, &order).await;
            }
            let orders = orders.described();
            Json(RuleChange {
                changed,
                rules: orders,
            })
            .into_response()
        }
        Ok(Err(reason)) => {
            let code = match reason {
                OrdersError::Full | OrdersError::Name => StatusCode::BAD_REQUEST,
                OrdersError::Io { .. } | OrdersError::Format { .. } => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            };
            problem(code, reason.to_string())
        }
    }
}

fn parse(what: &str, pairs: Vec<(String, String)>) -> Result<Order, String> {
    match what {
        "suspend" => Ok(Order::Suspend(destination(pairs)?)),
        "resume" => Ok(Order::Resume(destination(pairs)?)),
        "hold" => Ok(Order::Hold(names(pairs)?.unwrap_or_default())),
        "release" => Ok(Order::Release(names(pairs)?)),
        other => Err(format!("{other:?} is no order")),
    }
}

fn destination(pairs: Vec<(String, String)>) -> Result<String, String> {
    match <[(String, String); 1]>::try_from(pairs) {
        Ok([(name, value)]) if name == "destination" => Ok(value),
        _ => Err("which destination?".to_owned()),
    }
}

/// Reads the conditions of a rule. Returns `None` for all rules.
fn names(pairs: Vec<(String, String)>) -> Result<Option<Names>, String> {
    let filter = match Scope::from_pairs(pairs).map_err(|reason| reason.to_string())? {
        Scope::All => return Ok(None),
        Scope::Some(filter) => filter,
    };
    if filter.is_for_incoming() {
        let Filter { domain, sender, .. } = filter;
        Ok(Some(Names { domain, sender }))
    } else {
        Err("mail that comes in is held by domain and by sender alone".to_owned())
    }
}

/// Replaces the destination of an order by the name that the schedule uses for it.
async fn named(shared: &Shared, order: Order) -> Result<Order, String> {
    match order {
        Order::Suspend(given) => {
            let known = known_lines(shared).await;
            match spelled(&known, &given) {
                Some(name) => Ok(Order::Suspend(name)),
                None => line_of(shared, &given).map(Order::Suspend),
            }
        }
        Order::Resume(given) => {
            let suspended = shared.orders.lock().await.described().suspended;
            let name = spelled(&suspended, &given);
            Ok(Order::Resume(name.unwrap_or(given)))
        }
        order @ (Order::Hold(_) | Order::Release(_)) => Ok(order),
    }
}

/// Returns the names of the configured smarthosts and of all destinations that mail waits for.
async fn known_lines(shared: &Shared) -> Vec<String> {
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
fn line_of(shared: &Shared, given: &str) -> Result<String, String> {
    let unbracketed = given.strip_prefix('[').and_then(|g| g.strip_suffix(']'));
    let domain = match unbracketed.and_then(|address| address.parse::<Ipv6Addr>().ok()) {
        // The schedule uses this form of an IPv6 address. No mailbox has it.
        Some(address) => format!("[IPv6:{address}]"),
        None => given.to_lowercase(),
    };
    let Ok(anybody) = format!("postmaster@{domain}").parse::<ForwardPath>() else {
        return Err(format!(
            "no mail would wait for {given:?}; relayctl qstat and relayctl route have the names"
        ));
    };
    let line = shared.deliver.destination(&ReversePath::Null, &anybody).0;
    if *line == *domain || parse_literal(&domain).is_some_and(|ip| *line == *format!("[{ip}]")) {
        Ok(line.to_string())
    } else {
        Err(format!("mail for {given} waits for {line}: suspend that"))
    }
}

/// The lock on the orders, the order, and how many rules it has added or removed. The schedule must
/// be told while the lock is held.
type Written = (OwnedMutexGuard<Orders>, Order, u64);

fn write(mut orders: OwnedMutexGuard<Orders>, order: Order) -> Result<Written, OrdersError> {
    let changed = match &order {
        Order::Suspend(name) => orders.suspend(name)?.into(),
        Order::Resume(name) => orders.resume(name)?.into(),
        Order::Hold(names) => orders.hold(names, clock::now())?.into(),
        Order::Release(names) => orders.release(names.as_ref())? as u64,
    };
    Ok((orders, order, changed))
}

async fn tell(shared: &Shared, orders: &Orders, order: &Order) {
    match order {
        Order::Suspend(name) => {
            shared.sender.suspend(key(name)).await;
            events::suspended(name);
        }
        Order::Resume(name) => {
            shared.sender.resume(key(name)).await;
            events::resumed(name);
        }
        Order::Hold(_) | Order::Release(_) => {
            let rules = orders.rules();
            events::hold_rules(rules.len());
            shared.sender.hold_incoming(rules);
        }
    }
}
