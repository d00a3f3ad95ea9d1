//! Counts what happened to every recipient, and compares the counts with the queue.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use relay_control::{Accounting, Audit};
use relay_message::QueueStore;

use super::error::ApiError;
use crate::shared::Shared;

pub(super) async fn audit(State(shared): State<Arc<Shared>>) -> Result<Json<Audit>, ApiError> {
    let audit = shared.store.audit().await?;
    Ok(Json(Audit {
        accounting: accounting(audit.books),
        queued: audit.queued,
        balanced: audit.is_balanced(),
    }))
}

/// Converts the counters of the store to those of the control API.
pub(super) fn accounting(books: relay_message::Books) -> Accounting {
    let relay_message::Books {
        accepted,
        reports,
        delivered,
        bounced,
        discarded,
        set_aside,
    } = books;
    Accounting {
        accepted,
        reports,
        delivered,
        bounced,
        discarded,
        set_aside,
    }
}
