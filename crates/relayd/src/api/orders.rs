//! What stands until the operator takes it back.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Form, Json};
use relay_control::{Filter, Ordered, Scope};
use relay_send::Deliver;
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

/// What is to be done.
enum Order {
    Suspend(String),
    Resume(String),
    Hold(Names),
    /// `None` for all rules.
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
    if let Order::Suspend(name) = &order
        && let Some(other) = other_line(&shared, name)
    {
        let reason = format!("mail for {name} waits for {other}: suspend that");
        return problem(StatusCode::BAD_REQUEST, reason);
    }
    // Held until the schedule knows: what it is told comes in the order in which it was written.
    let orders = Arc::clone(&shared.orders).lock_owned().await;
    let written = tokio::task::spawn_blocking(move || write(orders, order)).await;
    match written {
        Err(_) => stopping(),
        Ok(Ok((orders, order, changed))) => {
            if changed > 0 {
                tell(&shared, &orders, &order).await;
            }
            let orders = orders.described();
            Json(Ordered { changed, orders }).into_response()
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

/// Names of destinations are in small letters, as DNS has no others.
fn destination(pairs: Vec<(String, String)>) -> Result<String, String> {
    match <[(String, String); 1]>::try_from(pairs) {
        Ok([(name, value)]) if name == "destination" => Ok(value.to_ascii_lowercase()),
        _ => Err("which destination?".to_owned()),
    }
}

/// `None` for everything.
fn names(pairs: Vec<(String, String)>) -> Result<Option<Names>, String> {
    let filter = match Scope::from_pairs(pairs).map_err(|reason| reason.to_string())? {
        Scope::All => return Ok(None),
        Scope::Some(filter) => filter,
    };
    let Filter { domain, sender, .. } = filter.clone();
    let rule = Filter {
        domain: domain.clone(),
        sender: sender.clone(),
        ..Filter::default()
    };
    if rule == filter {
        Ok(Some(Names { domain, sender }))
    } else {
        Err("mail that comes in is held by domain and by sender alone".to_owned())
    }
}

/// What mail for this domain waits for, if that is something else: to suspend it by the name of the
/// domain would not stop it.
fn other_line(shared: &Shared, name: &str) -> Option<String> {
    let anybody: ForwardPath = format!("postmaster@{name}").parse().ok()?;
    let line = shared.deliver.destination(&ReversePath::Null, &anybody).0;
    (*line != *name).then(|| line.to_string())
}

/// How many orders it has made or taken back; with the lock, which the schedule must be told under.
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
