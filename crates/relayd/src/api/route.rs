//! Finds the route that mail would take.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_routing::RouteQuery;
use serde::Deserialize;

use super::problem;
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
    match RouteQuery::parse(&from, &to) {
        Ok(query) => Json(query.plan_of(&shared.deliver).await).into_response(),
        Err(reason) => problem(StatusCode::BAD_REQUEST, reason.to_string()),
    }
}
