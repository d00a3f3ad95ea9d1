//! The queue as a stream of octets, for another machine.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use relay_queue::StoreError;
use relay_queue::archive::{self, Pieces};

use super::describe::Sending;
use super::list::filter_of;
use super::select::Selection;
use crate::api::{problem, stopping};
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
    tokio::spawn(async move {
        let selection = Selection::new(filter, &shared, &sending);
        match send_queue(&shared, selection, &mut pieces).await {
            Ok(()) | Err(Stop::Gone) => {}
            // A stream that breaks off tells the client that it is not whole.
            Err(Stop::Failed(reason)) => pieces.abort(reason),
        }
    });
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    (kind, Body::new(body)).into_response()
}

/// Why nothing more is sent.
enum Stop {
    /// The client has gone away.
    Gone,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(reason: StoreError) -> Self {
        Self::Failed(reason)
    }
}

async fn send_queue(
    shared: &Shared,
    mut selection: Selection<'_>,
    out: &mut Sender<Bytes, StoreError>,
) -> Result<(), Stop> {
    let (mut messages, mut damaged) = (0, 0);
    send(out, archive::title()).await?;
    while let Some(page) = selection.page().await? {
        for message in &page {
            match shared.store.export(message.id).await {
                Ok(Some(pieces)) => {
                    send_message(pieces, out).await?;
                    messages += 1;
                }
                // It has left.
                Ok(None) => {}
                Err(StoreError::Damaged { .. }) => damaged += 1,
                Err(reason) => return Err(reason.into()),
            }
        }
    }
    send(out, archive::end(messages, damaged)).await
}

async fn send_message(mut pieces: Pieces, out: &mut Sender<Bytes, StoreError>) -> Result<(), Stop> {
    loop {
        let piece;
        (piece, pieces) = if pieces.reads_a_file() {
            // The disk may take a while.
            let read = tokio::task::spawn_blocking(move || (pieces.next(), pieces));
            read.await.map_err(|_| Stop::Gone)?
        } else {
            (pieces.next(), pieces)
        };
        match piece {
            None => return Ok(()),
            Some(Ok(octets)) => send(out, octets).await?,
            Some(Err(source)) => return Err(unreadable(source)),
        }
    }
}

fn unreadable(source: io::Error) -> Stop {
    Stop::Failed(StoreError::Io {
        doing: "reading a body".to_owned(),
        source,
    })
}

async fn send(out: &mut Sender<Bytes, StoreError>, octets: Bytes) -> Result<(), Stop> {
    out.send_data(octets).await.map_err(|_| Stop::Gone)
}
