//! Counts what happened to every recipient, and compares the counts with the queue.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use relay_control::{Accounting, Audit};
use relay_message::QueueStore;

use super::store_problem;
use crate::shared::Shared;

pub(super) async fn audit(State(shared): State<Arc<Shared>>) -> Response {
    match shared.store.audit().await {
        Ok(audit) => Json(Audit {
            accounting: accounting(audit.books),
            queued: audit.queued,
            balanced: audit.is_balanced(),
        })
        .into_response(),
        Err(reason) => store_problem(&reason),
    }
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
