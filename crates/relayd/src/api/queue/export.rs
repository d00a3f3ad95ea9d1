//! Exports the queue as a stream of octets while the relay runs.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use relay_message::{Message, StoreError};
use tokio::sync::oneshot;

use super::describe::Sending;
use super::list::{answer, filter_of};
use super::select::Selection;
use crate::api::{problem, stopping};
use crate::export::{Sink, Stop, Stream};
use crate::shared::Shared;

pub(in crate::api) async fn export(
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
        match send_queue(&shared, first, selection, &mut pieces).await {
            Ok(()) | Err(Stop::Gone | Stop::Output(_)) => {}
            // The client sees from the aborted stream that it is incomplete.
            Err(Stop::Store(reason)) => pieces.abort(reason),
        }
    });
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    answer(begun, (kind, Body::new(body))).await
}

impl Sink for Sender<Bytes, StoreError> {
    async fn put(&mut self, octets: Bytes) -> Result<(), Stop> {
        self.send_data(octets).await.map_err(|_| Stop::Gone)
    }
}

async fn send_queue(
    shared: &Shared,
    first: Option<Vec<Message>>,
    mut selection: Selection<'_>,
    out: &mut Sender<Bytes, StoreError>,
) -> Result<(), Stop> {
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
