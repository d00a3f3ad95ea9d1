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
use relay_control::Detail;
use relay_message::{QueueId, QueueStore};

pub(super) use self::content::content;
use self::describe::Sending;
pub(super) use self::export::export;
pub(super) use self::list::list;
pub(super) use self::operator::{apply, count};
pub(super) use self::summary::summary;
use super::error::ApiError;
use crate::shared::Shared;

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    sending: Sending,
) -> Result<Json<Detail>, ApiError> {
    let Ok(queue_id) = id.parse::<QueueId>() else {
        return Err(ApiError::NoMessage(id));
    };
    match shared.store.get(queue_id).await? {
        Some(message) => Ok(Json(describe::detail(&shared, &sending, &message))),
        None => Err(ApiError::NoMessage(id)),
    }
}
