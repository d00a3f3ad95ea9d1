//! Shows the queue and applies the operator's verbs to it.

mod content;
mod describe;
mod export;
mod list;
mod operator;
mod select;
mod summary;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_message::{QueueId, QueueStore};

pub(super) use self::content::content;
use self::describe::Sending;
pub(super) use self::export::export;
pub(super) use self::list::list;
pub(super) use self::operator::{apply, count};
pub(super) use self::summary::summary;
use super::{problem, stopping, store_problem};
use crate::shared::Shared;

pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let Ok(queue_id) = id.parse::<QueueId>() else {
        return unknown(&id);
    };
    let Some(sending) = Sending::of(&shared).await else {
        return stopping();
    };
    match shared.store.get(queue_id).await {
        Ok(Some(message)) => Json(describe::detail(&shared, &sending, &message)).into_response(),
        Ok(None) => unknown(&id),
        Err(reason) => store_problem(&reason),
    }
}

fn unknown(id: &str) -> Response {
    let reason = format!("no message {id:?} in the queue");
    problem(StatusCode::NOT_FOUND, reason)
}
