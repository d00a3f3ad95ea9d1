//! The books, and whether they balance.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use relay_control::{Audit, Books};
use relay_queue::QueueStore;

use super::store_problem;
use crate::shared::Shared;

pub(super) async fn audit(State(shared): State<Arc<Shared>>) -> Response {
    match shared.store.audit().await {
        Ok(audit) => Json(Audit {
            books: counted(audit.books),
            queued: audit.queued,
            balanced: audit.is_balanced(),
        })
        .into_response(),
        Err(reason) => store_problem(&reason),
    }
}

/// As the control API has them.
pub(super) fn counted(books: relay_queue::Books) -> Books {
    let relay_queue::Books {
        accepted,
        reports,
        delivered,
        bounced,
        discarded,
        set_aside,
    } = books;
    Books {
        accepted,
        reports,
        delivered,
        bounced,
        discarded,
        set_aside,
    }
}
