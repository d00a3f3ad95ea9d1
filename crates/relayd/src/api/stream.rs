//! Answers that are sent in pieces, as fast as the client reads them.

use axum::BoxError;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};

/// Returns an answer whose body is what `send` sends, in a task of its own. If `send` aborts it, the
/// client sees that it is incomplete.
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
