//! Finds the route that mail would take.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::problem;
use crate::plan::Question;
use crate::shared::Shared;

/// The sender and the recipient.
#[derive(Debug, Deserialize)]
pub(super) struct Addresses {
    from: String,
    to: String,
}

pub(super) async fn route(
    State(shared): State<Arc<Shared>>,
    addresses: Result<Query<Addresses>, QueryRejection>,
) -> Response {
    let Ok(Query(Addresses { from, to })) = addresses else {
        return problem(StatusCode::BAD_REQUEST, "from and to are needed");
    };
    match Question::parse(&from, &to) {
        Ok(question) => Json(question.ask_running(&shared.deliver).await).into_response(),
        Err(reason) => problem(StatusCode::BAD_REQUEST, reason),
    }
}
