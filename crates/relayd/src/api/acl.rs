//! Lists, grants and removes temporary permissions to relay.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_control::TemporaryRelay;
use serde::Deserialize;

use super::{problem, stopping};
use crate::clock;
use crate::events;
use crate::grants::GrantError;
use crate::shared::Shared;

/// How long a permission lasts.
#[derive(Debug, Deserialize)]
pub(super) struct Time {
    seconds: u64,
}

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Vec<TemporaryRelay>> {
    Json(shared.grants.list(clock::now()))
}

pub(super) async fn allow(
    State(shared): State<Arc<Shared>>,
    address: Result<Path<IpAddr>, PathRejection>,
    time: Result<Query<Time>, QueryRejection>,
) -> Response {
    let (Ok(Path(client)), Ok(Query(Time { seconds }))) = (address, time) else {
        return problem(StatusCode::BAD_REQUEST, "not an address and a time");
    };
    let time = Duration::from_secs(seconds);
    let granted = on_disk(move || shared.grants.allow(client, time, clock::now())).await;
    answer(granted, |grant| {
        events::granted(grant.address, time);
        Json(grant).into_response()
    })
}

pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    address: Result<Path<IpAddr>, PathRejection>,
) -> Response {
    let Ok(Path(client)) = address else {
        return problem(StatusCode::BAD_REQUEST, "not an address");
    };
    let removed = on_disk(move || shared.grants.remove(client, clock::now())).await;
    answer(removed, |had| {
        if !had {
            let reason = format!("{client} has no temporary permission");
            return problem(StatusCode::NOT_FOUND, reason);
        }
        events::revoked(client);
        Json(serde_json::json!({})).into_response()
    })
}

/// Runs `work` on a thread that may block. Returns `None` while the daemon shuts down.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GrantError> + Send + 'static,
) -> Option<Result<T, GrantError>> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn answer<T>(
    done: Option<Result<T, GrantError>>,
    as_response: impl FnOnce(T) -> Response,
) -> Response {
    match done {
        None => stopping(),
        Some(Ok(done)) => as_response(done),
        Some(Err(reason)) => {
            let code = match reason {
                GrantError::Full | GrantError::Time => StatusCode::BAD_REQUEST,
                GrantError::Io { .. } | GrantError::Line { .. } => StatusCode::SERVICE_UNAVAILABLE,
            };
            problem(code, reason.to_string())
        }
    }
}
