//! Applies the operator's verbs to messages of the queue.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Form, Json};
use relay_control::{Count, Filter, Scope, Verb, VerbResult};
use relay_message::{Origin, QueueId, StoreError};

use super::describe::Sending;
use super::select::Selection;
use crate::api::{problem, stopping, store_problem};
use crate::shared::Shared;

/// A verb stops after this many problems. The first ones are enough to find the cause.
const PROBLEMS: usize = 100;

/// The form in the body of the request.
type Pairs = Result<Form<Vec<(String, String)>>, FormRejection>;

pub(in crate::api) async fn count(State(shared): State<Arc<Shared>>, pairs: Pairs) -> Response {
    let filter = match filter(pairs) {
        Ok(filter) => filter,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, reason),
    };
    let Some(sending) = Sending::of(&shared).await else {
        return stopping();
    };
    let mut selection = Selection::new(filter, &shared, &sending);
    let mut count = Count::default();
    loop {
        match selection.page().await {
            Ok(Some(page)) => page.iter().for_each(|message| {
                count.matched += 1;
                count.others += selection.others(message);
                count.reports += u64::from(message.origin != Origin::Client);
            }),
            Ok(None) => return Json(count).into_response(),
            Err(reason) => return store_problem(&reason),
        }
    }
}

pub(in crate::api) async fn apply(
    State(shared): State<Arc<Shared>>,
    Path(verb): Path<String>,
    pairs: Pairs,
) -> Response {
    let verb = verb.parse::<Verb>().map_err(|reason| reason.to_string());
    let (verb, filter) = match verb.and_then(|verb| Ok((verb, filter(pairs)?))) {
        Ok(order) => order,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, reason),
    };
    let Some(sending) = Sending::of(&shared).await else {
        return stopping();
    };
    let mut result = VerbResult::default();
    let selection = Selection::new(filter, &shared, &sending);
    match apply_to_all(&shared, verb, selection, &mut result).await {
        Ok(()) => {}
        Err(Stop::Ending) => return broken_off(&result),
        // The answer must report the messages that were changed before the error.
        Err(Stop::Failed(reason)) => result.problems.push(reason.to_string()),
    }
    Json(result).into_response()
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

/// Answers that the relay is shutting down. Changes that were made before are kept.
fn broken_off(result: &VerbResult) -> Response {
    let VerbResult {
        matched, changed, ..
    } = result;
    let reason =
        format!("relayd is going down; done for {changed} of the {matched} messages it came to");
    problem(StatusCode::SERVICE_UNAVAILABLE, reason)
}

/// Parses the filter of a verb. All messages must be requested explicitly.
fn filter(pairs: Pairs) -> Result<Filter, String> {
    let Form(pairs) = pairs.map_err(|reason| reason.to_string())?;
    let scope = Scope::from_pairs(pairs).map_err(|reason| reason.to_string())?;
    Ok(scope.into_filter())
}

/// Applies the verb page by page, so that a million messages are never in memory at once.
async fn apply_to_all(
    shared: &Shared,
    verb: Verb,
    mut selection: Selection<'_>,
    result: &mut VerbResult,
) -> Result<(), Stop> {
    while let Some(page) = selection.page().await? {
        result.matched += page.len() as u64;
        result.held += page.iter().filter(|message| message.held).count() as u64;
        let ids = page.iter().map(|message| message.id).collect();
        let done = act(shared, verb, ids).await.ok_or(Stop::Ending)?;
        result.changed += done.changed as u64;
        result.pending += done.pending as u64;
        result.untold += done.untold as u64;
        let problem = |(id, reason): &(QueueId, String)| format!("{id}: {reason}");
        result.problems.extend(done.problems.iter().map(problem));
        if result.problems.len() >= PROBLEMS {
            result.problems.truncate(PROBLEMS);
            result
                .problems
                .push("broken off: too much went wrong".to_owned());
            break;
        }
    }
    result.unknown = selection.into_unknown();
    Ok(())
}

/// Applies the verb to these messages. Returns `None` when the relay is shutting down.
async fn act(shared: &Shared, verb: Verb, ids: Vec<QueueId>) -> Option<relay_send::Applied> {
    let sender = &shared.sender;
    match verb {
        Verb::Retry => sender.retry(ids).await,
        Verb::Hold => sender.hold(ids).await,
        Verb::Release => sender.release(ids).await,
        Verb::Delete => sender.delete(ids).await,
        Verb::Bounce => sender.bounce(ids).await,
    }
}
