//! Finds the route that mail would take.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use relay_control::Plan;
use relay_routing::RouteQuery;
use serde::Deserialize;

use super::error::ApiError;
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
) -> Result<Json<Plan>, ApiError> {
    let Query(Addresses { from, to }) = addresses.map_err(|_| ApiError::NoAddresses)?;
    let query = RouteQuery::parse(&from, &to)?;
    Ok(Json(query.plan_of(&shared.deliver).await))
}
