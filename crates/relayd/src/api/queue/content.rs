//! Sends the octets of one message as they would be delivered.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::Sender;
use relay_message::{Body, Content, QueueId, StoreError};

use crate::api::error::ApiError;
use crate::api::stream::stream;
use crate::shared::Shared;

/// How many octets of a body are read at a time.
const CHUNK: usize = 64 * 1024;

pub(in crate::api) async fn content(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let Ok(queue_id) = id.parse::<QueueId>() else {
        return Err(ApiError::NoMessage(id));
    };
    let content = match shared.store.content(queue_id).await {
        Ok(Some(content)) => content,
        Ok(None) => return Err(ApiError::NoMessage(id)),
        Err(reason @ StoreError::Damaged { .. }) => {
            let corrupt = shared.state_dir().join("corrupt");
            return Err(ApiError::Damaged { reason, corrupt });
        }
        Err(reason) => return Err(reason.into()),
    };
    Ok(stream("message/rfc822", |mut pieces| async move {
        if let Err(reason) = send(content, &mut pieces).await {
            pieces.abort(reason);
        }
    }))
}

/// Sends the head, then the body, as fast as the client reads. Stops if the client has
/// disconnected.
async fn send(content: Content, pieces: &mut Sender<Bytes, io::Error>) -> io::Result<()> {
    if pieces.send_data(content.head).await.is_err() {
        return Ok(());
    }
    let (file, length) = match content.body {
        Body::Inline(body) => {
            // As above, the client may have disconnected.
            let _ = pieces.send_data(body).await;
            return Ok(());
        }
        Body::File { file, length } => (file, length),
    };
    let mut left = length;
    while left > 0 {
        let chunk = read(Arc::clone(&file), length - left, left).await?;
        left -= chunk.len() as u64;
        if pieces.send_data(chunk).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads the next octets of a file that has `left` octets left. It runs on a thread that may block,
/// because the disk may be slow.
async fn read(file: Arc<File>, offset: u64, left: u64) -> io::Result<Bytes> {
    let length = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
    let read = tokio::task::spawn_blocking(move || {
        let mut chunk = vec![0; length];
        file.read_exact_at(&mut chunk, offset)?;
        Ok(Bytes::from(chunk))
    });
    read.await.map_err(io::Error::other)?
}
