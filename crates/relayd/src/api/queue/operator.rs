//! Applies the operator's verbs to messages of the queue.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use relay_control::{Count, Scope, Verb, VerbResult};
use relay_message::{Origin, StoreError};

use super::describe::Sending;
use super::select::Selection;
use crate::api::error::ApiError;
use crate::api::extract::JsonBody;
use crate::shared::Shared;

/// A verb stops after this many problems. The first ones are enough to find the cause.
const PROBLEMS: usize = 100;

pub(in crate::api) async fn count(
    State(shared): State<Arc<Shared>>,
    sending: Sending,
    JsonBody(scope): JsonBody<Scope>,
) -> Result<Json<Count>, ApiError> {
    let mut selection = Selection::new(scope.into_filter(), shared, sending);
    let mut count = Count::default();
    while let Some(page) = selection.page().await? {
        for message in &page {
            count.matched += 1;
            count.others += selection.others(message);
            count.reports += u64::from(message.origin != Origin::Client);
        }
    }
    Ok(Json(count))
}

pub(in crate::api) async fn apply(
    State(shared): State<Arc<Shared>>,
    Path(verb): Path<String>,
    sending: Sending,
    JsonBody(scope): JsonBody<Scope>,
) -> Result<Json<VerbResult>, ApiError> {
    let verb = verb.parse()?;
    let selection = Selection::new(scope.into_filter(), shared, sending);
    let mut result = VerbResult::default();
    match apply_to_all(verb, selection, &mut result).await {
        Ok(()) => {}
        Err(Stop::Ending) => {
            let VerbResult {
                matched, changed, ..
            } = result;
            return Err(ApiError::StoppingAfter { matched, changed });
        }
        // The answer must report the messages that were changed before the error.
        Err(Stop::Failed(reason)) => result.problems.push(reason.to_string()),
    }
    Ok(Json(result))
}

/// Why a verb stops before it has processed all messages.
enum Stop {
    /// The relay is shutting down.
    Ending,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(reason: StoreError) -> Self {
        Self::Failed(reason)
    }
}

/// Applies the verb page by page, so that a million messages are never in memory at once.
async fn apply_to_all(
    verb: Verb,
    mut selection: Selection,
    result: &mut VerbResult,
) -> Result<(), Stop> {
    while let Some(page) = selection.page().await? {
        result.matched += page.len() as u64;
        result.held += page.iter().filter(|message| message.held).count() as u64;
        let ids = page.iter().map(|message| message.id).collect();
        let applied = selection.shared.sender.apply(verb, ids).await;
        result.add(applied.ok_or(Stop::Ending)?);
        if result.problems.len() >= PROBLEMS {
            result.problems.truncate(PROBLEMS);
            let reason = "stopped: too many problems";
            result.problems.push(reason.to_owned());
            break;
        }
    }
    result.unknown = selection.into_unknown();
    Ok(())
}
