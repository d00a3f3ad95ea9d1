//! The list of messages, as a stream.
//!
//! It goes out page by page, so that a million messages neither fill memory nor hold anything up: a
//! page is read when the client has taken the one before.

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
use relay_queue::StoreError;

use super::describe::{Sending, entry};
use super::select::Selection;
use crate::api::{problem, stopping};
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
    tokio::spawn(async move {
        let selection = Selection::new(filter, &shared, &sending);
        if let Err(reason) = send_list(&shared, &sending, selection, &mut pieces).await {
            // An answer that breaks off tells the client that it is not whole.
            pieces.abort(reason);
        }
    });
    ([(CONTENT_TYPE, "application/json")], Body::new(body)).into_response()
}

/// What a query asks for.
pub(super) fn filter_of(
    pairs: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Filter, String> {
    let Query(pairs) = pairs.map_err(|reason| reason.to_string())?;
    Filter::from_pairs(pairs).map_err(|reason| reason.to_string())
}

/// An array with an entry on each line.
async fn send_list(
    shared: &Shared,
    sending: &Sending,
    mut selection: Selection<'_>,
    pieces: &mut Sender<Bytes, StoreError>,
) -> Result<(), StoreError> {
    let mut piece = b"[".to_vec();
    let mut is_first = true;
    while let Some(page) = selection.page().await? {
        for message in &page {
            piece.extend_from_slice(if is_first { b"\n" } else { b",\n" });
            is_first = false;
            let entry = entry(shared, sending, message);
            serde_json::to_writer(&mut piece, &entry)
                .expect("an entry has no key but strings, and memory takes it");
        }
        let sent = pieces.send_data(std::mem::take(&mut piece).into()).await;
        // A client that has gone away needs no more.
        if sent.is_err() {
            return Ok(());
        }
    }
    piece.extend_from_slice(b"\n]\n");
    // Where there is nobody to take the end, nobody misses it.
    let _ = pieces.send_data(piece.into()).await;
    Ok(())
}
