//! Counts waiting recipients by destination and age.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use relay_control::Summary;
use relay_control::summary::Waiting;
use relay_message::{Deliver, DestinationKey, Message, StoreError};

use super::describe::Sending;
use super::select::Selection;
use crate::api::error::ApiError;
use crate::api::extract::FilterQuery;
use crate::clock;
use crate::shared::Shared;

/// The counts so far. At most one page of messages is in memory.
type Counts = HashMap<DestinationKey, Waiting>;

pub(in crate::api) async fn summary(
    State(shared): State<Arc<Shared>>,
    FilterQuery(filter): FilterQuery,
    sending: Sending,
) -> Result<Json<Summary>, ApiError> {
    let selection = Selection::new(filter, shared, sending);
    let counts = counted(selection, clock::now()).await?;
    Ok(Json(Summary::of(counts.into_values().collect())))
}

async fn counted(mut selection: Selection, now: SystemTime) -> Result<Counts, StoreError> {
    let mut counts = Counts::new();
    while let Some(page) = selection.page().await? {
        for message in &page {
            count(&selection.shared, message, now, &mut counts);
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
