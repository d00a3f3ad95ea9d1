//! What is in the queue, and what the operator does to it.

mod describe;
mod export;
mod list;
mod select;
mod steer;
mod summary;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_queue::{QueueId, QueueStore};

use self::describe::Sending;
pub(super) use self::export::export;
pub(super) use self::list::list;
pub(super) use self::steer::{count, steer};
pub(super) use self::summary::summary;
use super::{problem, stopping, store_problem};
use crate::shared::Shared;

pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let unknown = || {
        problem(
            StatusCode::NOT_FOUND,
            format!("no message {id:?} in the queue"),
        )
    };
    let Ok(queue_id) = id.parse::<QueueId>() else {
        return unknown();
    };
    let Some(sending) = Sending::of(&shared).await else {
        return stopping();
    };
    match shared.store.get(queue_id).await {
        Ok(Some(message)) => Json(describe::detail(&shared, &sending, &message)).into_response(),
        Ok(None) => unknown(),
        Err(reason) => store_problem(&reason),
    }
}
