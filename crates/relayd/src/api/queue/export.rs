//! Exports the queue as a stream of octets while the relay runs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::Sender;
use relay_message::{Message, StoreError};

use super::describe::Sending;
use super::select::Selection;
use crate::api::error::ApiError;
use crate::api::extract::FilterQuery;
use crate::api::stream::stream_after;
use crate::export::{Sink, Stop, Stream};
use crate::shared::Shared;

pub(in crate::api) async fn export(
    State(shared): State<Arc<Shared>>,
    FilterQuery(filter): FilterQuery,
    sending: Sending,
) -> Result<Response, ApiError> {
    let begin = Selection::new(filter, shared, sending).begin();
    stream_after(
        "application/octet-stream",
        begin,
        |(first, selection), mut pieces| async move {
            match send_queue(first, selection, &mut pieces).await {
                Ok(()) | Err(Stop::Gone | Stop::Output(_)) => {}
                Err(Stop::Store(reason)) => pieces.abort(reason),
            }
        },
    )
    .await
}

impl Sink for Sender<Bytes, StoreError> {
    async fn put(&mut self, octets: Bytes) -> Result<(), Stop> {
        self.send_data(octets).await.map_err(|_| Stop::Gone)
    }
}

async fn send_queue(
    first: Option<Vec<Message>>,
    mut selection: Selection,
    out: &mut Sender<Bytes, StoreError>,
) -> Result<(), Stop> {
    let shared = Arc::clone(&selection.shared);
    let mut stream = Stream::begin(&shared.store, out).await?;
    let mut next = first;
    while let Some(page) = next {
        for message in &page {
            stream.message(message.id).await?;
        }
        next = selection.page().await?;
    }
    stream.end().await.map(drop)
}
