//! Counts waiting recipients by destination and age.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_control::Summary;
use relay_control::summary::Waiting;
use relay_message::{Deliver, DestinationKey, Message, StoreError};

use super::describe::Sending;
use super::list::filter_of;
use super::select::Selection;
use crate::api::{problem, stopping, store_problem};
use crate::clock;
use crate::shared::Shared;

/// The counts so far. At most one page of messages is in memory.
type Counts = HashMap<DestinationKey, Waiting>;

pub(in crate::api) async fn summary(
    State(shared): State<Arc<Shared>>,
    pairs: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    let filter = match filter_of(pairs) {
        Ok(filter) => filter,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, reason),
    };
    let Some(sending) = Sending::of(&shared).await else {
        return stopping();
    };
    let selection = Selection::new(filter, &shared, &sending);
    match counted(&shared, selection, clock::now()).await {
        Ok(counts) => Json(Summary::of(counts.into_values().collect())).into_response(),
        Err(reason) => store_problem(&reason),
    }
}

async fn counted(
    shared: &Shared,
    mut selection: Selection<'_>,
    now: SystemTime,
) -> Result<Counts, StoreError> {
    let mut counts = Counts::new();
    while let Some(page) = selection.page().await? {
        for message in &page {
            count(shared, message, now, &mut counts);
        }
    }
    Ok(counts)
}

fn count(shared: &Shared, message: &Message, now: SystemTime, counts: &mut Counts) {
    let age = now.duration_since(message.arrived).unwrap_or_default();
    let rows = message.recipients.iter();
    for row in rows.filter(|row| !row.state.is_settled()) {
        let destination = shared.deliver.destination_of(message, row);
        let name = Arc::clone(&destination.0);
        let waiting = counts.entry(destination);
        waiting.or_insert_with(|| Waiting::new(&name)).count(age);
    }
}
