//! Answers that are sent in pieces, as fast as the client reads them.

use axum::BoxError;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};

use super::error::ApiError;

/// Returns an answer. `send` runs in a separate task and sends its body. If `send` aborts the body, the client
/// sees that it is incomplete.
pub(super) fn stream<E, F>(
    content_type: &'static str,
    send: impl FnOnce(Sender<Bytes, E>) -> F,
) -> Response
where
    E: Into<BoxError> + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (pieces, body) = Channel::new(1);
    tokio::spawn(send(pieces));
    ([(CONTENT_TYPE, content_type)], Body::new(body)).into_response()
}

/// Returns the answer of [`stream`] once `begin` is done, and gives its result to `send`. If `begin` fails, the
/// answer is the error and not an aborted body.
pub(super) async fn stream_after<T, R, E, F>(
    content_type: &'static str,
    begin: impl Future<Output = Result<T, R>>,
    send: impl FnOnce(T, Sender<Bytes, E>) -> F,
) -> Result<Response, ApiError>
where
    ApiError: From<R>,
    E: Into<BoxError> + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let first = begin.await?;
    Ok(stream(content_type, |pieces| send(first, pieces)))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::to_bytes;
    use axum::http::StatusCode;
    use relay_message::StoreError;

    use super::*;

    #[tokio::test]
    async fn a_queue_that_cannot_be_read_is_an_error_before_the_body_begins() {
        let answer = async |read: Result<(), StoreError>| {
            let sent = stream_after(
                "application/json",
                async { read },
                |(), mut pieces: Sender<Bytes, Infallible>| async move {
                    pieces.send_data("[".into()).await.expect("a reader");
                },
            );
            let (head, body) = sent.await.into_response().into_parts();
            let body = to_bytes(body, 1000).await.expect("a body");
            (head.status, String::from_utf8_lossy(&body).into_owned())
        };
        assert_eq!(answer(Ok(())).await, (StatusCode::OK, "[".to_owned()));
        let reason = "no space left".to_owned();
        let (status, text) = answer(Err(StoreError::Closed { reason })).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            text.contains("the queue is closed: no space left"),
            "{text}"
        );
    }
}
