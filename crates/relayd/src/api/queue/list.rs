//! Streams the list of messages.
//!
//! The list is sent page by page, so that a million messages neither fill the memory nor delay the
//! relay. A page is read when the client has received the previous one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use relay_control::Filter;
use relay_message::{Message, StoreError};
use tokio::sync::oneshot;

use super::describe::{Sending, entry};
use super::select::Selection;
use crate::api::{problem, stopping, store_problem};
use crate::shared::Shared;

pub(in crate::api) async fn list(
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
    let (mut pieces, body) = Channel::<Bytes, StoreError>::new(1);
    let (begins, begun) = oneshot::channel();
    tokio::spawn(async move {
        let mut selection = Selection::new(filter, &shared, &sending);
        let first = match selection.page().await {
            Ok(first) => first,
            Err(reason) => return drop(begins.send(Err(reason))),
        };
        // A client that has disconnected needs no answer.
        let _ = begins.send(Ok(()));
        if let Err(reason) = send_list(&shared, &sending, first, selection, &mut pieces).await {
            // The client sees from the aborted answer that it is incomplete.
            pieces.abort(reason);
        }
    });
    let kind = [(CONTENT_TYPE, "application/json")];
    answer(begun, (kind, Body::new(body))).await
}

/// Returns the stream once its first page has been read. If the queue cannot be read at all, it
/// returns an error response instead.
pub(super) async fn answer(
    begun: oneshot::Receiver<Result<(), StoreError>>,
    list: impl IntoResponse,
) -> Response {
    match begun.await {
        Ok(Ok(())) => list.into_response(),
        Ok(Err(reason)) => store_problem(&reason),
        Err(_) => stopping(),
    }
}

/// Parses the filter of a query.
pub(super) fn filter_of(
    pairs: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Filter, String> {
    let Query(pairs) = pairs.map_err(|reason| reason.to_string())?;
    Filter::from_pairs(pairs).map_err(|reason| reason.to_string())
}

/// Sends a JSON array with one entry on each line.
async fn send_list(
    shared: &Shared,
    sending: &Sending,
    first: Option<Vec<Message>>,
    mut selection: Selection<'_>,
    pieces: &mut Sender<Bytes, StoreError>,
) -> Result<(), StoreError> {
    let mut piece = b"[".to_vec();
    let mut is_first = true;
    let mut next = first;
    while let Some(page) = next {
        for message in &page {
            piece.extend_from_slice(if is_first { b"\n" } else { b",\n" });
            is_first = false;
            let entry = entry(shared, sending, message);
            serde_json::to_writer(&mut piece, &entry)
                .expect("an entry has no key but strings, and memory takes it");
        }
        next = selection.page().await?;
        if piece.is_empty() && next.is_some() {
            // This white space shows the client that the search continues.
            piece.push(b'\n');
        }
        let sent = pieces.send_data(std::mem::take(&mut piece).into()).await;
        // A client that has disconnected needs no more.
        if sent.is_err() {
            return Ok(());
        }
    }
    piece.extend_from_slice(b"\n]\n");
    // If the client has disconnected, the end of the array need not arrive.
    let _ = pieces.send_data(piece.into()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_queue_that_cannot_be_read_is_told_before_the_list_begins() {
        let answered = async |read| {
            let (begins, begun) = oneshot::channel();
            begins.send(read).expect("it is waited for");
            let answer = answer(begun, "[").await;
            let (head, body) = answer.into_parts();
            let body = to_bytes(body, 1000).await.expect("a body");
            (head.status, String::from_utf8_lossy(&body).into_owned())
        };
        assert_eq!(answered(Ok(())).await, (StatusCode::OK, "[".to_owned()));
        let reason = "no space left".to_owned();
        let (status, said) = answered(Err(StoreError::Closed { reason })).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            said.contains("the queue is closed: no space left"),
            "{said}"
        );
    }
}
