//! The control API: HTTP and JSON over the Unix socket, for `relayctl`. [`relay_control`] defines
//! the requests and answers.

mod audit;
mod error;
mod events;
mod extract;
mod queue;
mod route;
mod socket;
mod standing_rules;
mod status;
mod stream;
mod temporary_relay;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use relay_control::{Problem, Reload, path};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

pub use self::socket::ControlError;
pub(crate) use self::socket::bind;
use crate::shared::Shared;

/// Serves requests until the shutdown.
pub(crate) async fn serve(
    listener: UnixListener,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
) {
    let router = Router::new()
        .route(path::STATUS, get(status::status))
        .route(path::AUDIT, get(audit::audit))
        .route(path::QUEUE, get(queue::list))
        .route(
            &format!("{}/{{id}}", path::QUEUE),
            get(queue::show).post(queue::apply),
        )
        .route(
            &format!("{}/{{id}}/{}", path::QUEUE, path::CONTENT),
            get(queue::content),
        )
        .route(path::COUNT, post(queue::count))
        .route(path::SUMMARY, get(queue::summary))
        .route(path::EXPORT, get(queue::export))
        .route(
            path::STANDING_RULES,
            get(standing_rules::list).post(standing_rules::change),
        )
        .route(path::EVENTS, get(events::events))
        .route(path::ACL, get(temporary_relay::list))
        .route(
            &format!("{}/{{address}}", path::ACL),
            put(temporary_relay::allow).delete(temporary_relay::remove),
        )
        .route(path::ROUTE, get(route::route))
        .route(path::RELOAD, post(reload))
        .fallback(unknown)
        .with_state(shared);
    let serving = axum::serve(listener, router);
    // A failed connection does not end the server. The listener itself ends only at the shutdown.
    let _ = serving
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await;
}

async fn reload(State(shared): State<Arc<Shared>>) -> Json<Reload> {
    let reloaded = tokio::task::spawn_blocking(move || shared.reload()).await;
    let problems = reloaded.unwrap_or_else(|_| vec!["relayd is shutting down".to_owned()]);
    Json(Reload { problems })
}

async fn unknown() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    let reason = format!("relayd {version} does not know this request");
    problem(StatusCode::NOT_FOUND, reason)
}

/// Returns an error response with this status code.
fn problem(code: StatusCode, error: impl Into<String>) -> Response {
    let error = error.into();
    (code, Json(Problem { error })).into_response()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
