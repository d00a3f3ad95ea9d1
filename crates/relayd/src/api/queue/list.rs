//! Streams the list of messages.
//!
//! The list is sent page by page, so that a million messages neither fill the memory nor delay the
//! relay. A page is read when the client has received the previous one.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::Sender;
use relay_message::{Message, StoreError};

use super::describe::{Sending, entry};
use super::select::Selection;
use crate::api::error::ApiError;
use crate::api::extract::FilterQuery;
use crate::api::stream::stream_after;
use crate::shared::Shared;

pub(in crate::api) async fn list(
    State(shared): State<Arc<Shared>>,
    FilterQuery(filter): FilterQuery,
    sending: Sending,
) -> Result<Response, ApiError> {
    let begin = Selection::new(filter, shared, sending).begin();
    stream_after(
        "application/json",
        begin,
        |(first, selection), mut pieces| async move {
            if let Err(reason) = send_list(first, selection, &mut pieces).await {
                pieces.abort(reason);
            }
        },
    )
    .await
}

/// Sends a JSON array with one entry on each line.
async fn send_list(
    first: Option<Vec<Message>>,
    mut selection: Selection,
    pieces: &mut Sender<Bytes, StoreError>,
) -> Result<(), StoreError> {
    let mut piece = b"[".to_vec();
    let mut is_first = true;
    let mut next = first;
    while let Some(page) = next {
        for message in &page {
            piece.extend_from_slice(if is_first { b"\n" } else { b",\n" });
            is_first = false;
            let entry = entry(&selection.shared, &selection.sending, message);
            serde_json::to_writer(&mut piece, &entry)
                .expect("every key is a string, and a Vec accepts all writes");
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
