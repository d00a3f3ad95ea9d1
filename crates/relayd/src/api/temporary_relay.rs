//! Lists, adds and removes temporary permissions to relay.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use relay_control::TemporaryRelay;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use crate::clock;
use crate::events;
use crate::shared::Shared;
use crate::temporary_relay::TemporaryRelayError;

/// How long a permission lasts.
#[derive(Debug, Deserialize)]
pub(super) struct Time {
    seconds: u64,
}

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Vec<TemporaryRelay>> {
    Json(shared.temporary_relay.list(clock::now()))
}

pub(super) async fn allow(
    State(shared): State<Arc<Shared>>,
    address: Result<Path<IpAddr>, PathRejection>,
    time: Result<Query<Time>, QueryRejection>,
) -> Result<Json<TemporaryRelay>, ApiError> {
    let (Ok(Path(client)), Ok(Query(Time { seconds }))) = (address, time) else {
        return Err(ApiError::AddressOrTime);
    };
    let time = Duration::from_secs(seconds);
    let permission =
        on_disk(move || shared.temporary_relay.allow(client, time, clock::now())).await?;
    events::relay_allowed(permission.address, time);
    Ok(Json(permission))
}

pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    address: Result<Path<IpAddr>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Ok(Path(client)) = address else {
        return Err(ApiError::Address);
    };
    if !on_disk(move || shared.temporary_relay.remove(client, clock::now())).await? {
        return Err(ApiError::NoPermission(client));
    }
    events::relay_removed(client);
    Ok(Json(json!({})))
}

/// Runs `work` on a thread that may block.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TemporaryRelayError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| ApiError::Stopping)??)
}
