//! Why a request fails, and the answer in that case.

use std::net::IpAddr;
use std::path::PathBuf;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_control::{QueryError, VerbError};
use relay_message::StoreError;
use relay_routing::RouteQueryError;

use super::problem;
use crate::standing_rules::StandingRulesError;
use crate::temporary_relay::TemporaryRelayError;

/// Why a request fails. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The query is not a filter.
    #[error(transparent)]
    Filter(#[from] QueryError),
    /// The query has other parameters than the request.
    #[error(transparent)]
    Query(#[from] QueryRejection),
    /// The body is not the JSON of the request.
    #[error(transparent)]
    Body(#[from] JsonRejection),
    /// The verb is unknown.
    #[error(transparent)]
    Verb(#[from] VerbError),
    /// The request for events names neither a message nor a domain, or both.
    #[error("which events? name the id of a message, or a domain")]
    WhichEvents,
    /// The request for a route lacks the sender or the recipient.
    #[error("from and to are needed")]
    NoAddresses,
    /// The sender or the recipient of the request for a route is invalid.
    #[error(transparent)]
    Route(#[from] RouteQueryError),
    /// The address in the path is invalid.
    #[error("not an address")]
    Address,
    /// The address in the path or the time in the query is invalid.
    #[error("not an address and a time")]
    AddressOrTime,
    /// The rule for incoming mail has other conditions than a domain and a sender.
    #[error("incoming mail is held by domain and by sender only")]
    NotForIncoming,
    /// The name to suspend is not a domain, and no destination has it.
    #[error("{0:?} is not a destination; relayctl qstat and relayctl route show the names")]
    NoDestination(String),
    /// Mail for the name to suspend waits for another destination.
    #[error("mail for {given} goes through {destination}: suspend that instead")]
    OtherDestination {
        /// The name in the request.
        given: String,
        /// The destination that mail for this name waits for.
        destination: String,
    },
    /// No message in the queue has this id.
    #[error("no message {0:?} in the queue")]
    NoMessage(String),
    /// The message is damaged.
    #[error("{reason}; it was set aside in {}", corrupt.display())]
    Damaged {
        /// What is damaged.
        reason: StoreError,
        /// The directory of damaged messages.
        corrupt: PathBuf,
    },
    /// The address has no temporary permission.
    #[error("{0} has no temporary permission")]
    NoPermission(IpAddr),
    /// The permission cannot be granted or removed.
    #[error(transparent)]
    TemporaryRelay(#[from] TemporaryRelayError),
    /// The rule cannot be added or removed.
    #[error(transparent)]
    StandingRules(#[from] StandingRulesError),
    /// The queue cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The daemon is shutting down.
    #[error("relayd is shutting down")]
    Stopping,
    /// The daemon is shutting down, and a verb was applied to a part of the messages. These changes
    /// are kept.
    #[error("relayd is shutting down; {changed} of {matched} messages had been changed")]
    StoppingAfter {
        /// How many messages were selected so far.
        matched: u64,
        /// How many of them were changed.
        changed: u64,
    },
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Filter(_)
            | Self::Query(_)
            | Self::Body(_)
            | Self::Verb(_)
            | Self::WhichEvents
            | Self::NoAddresses
            | Self::Route(_)
            | Self::Address
            | Self::AddressOrTime
            | Self::NotForIncoming
            | Self::NoDestination(_)
            | Self::OtherDestination { .. }
            | Self::TemporaryRelay(TemporaryRelayError::Full | TemporaryRelayError::Time)
            | Self::StandingRules(StandingRulesError::Full | StandingRulesError::Name) => {
                StatusCode::BAD_REQUEST
            }
            Self::NoMessage(_) | Self::Damaged { .. } | Self::NoPermission(_) => {
                StatusCode::NOT_FOUND
            }
            Self::TemporaryRelay(
                TemporaryRelayError::Note(_) | TemporaryRelayError::Line { .. },
            )
            | Self::StandingRules(
                StandingRulesError::Note(_) | StandingRulesError::Format { .. },
            )
            | Self::Store(_)
            | Self::Stopping
            | Self::StoppingAfter { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        problem(self.status(), self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_queue_that_cannot_be_read_is_reported_with_its_reason() {
        let reason = "no space left".to_owned();
        let answer = ApiError::from(StoreError::Closed { reason }).into_response();
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, 1000).await.expect("a body");
        assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
        let text = String::from_utf8_lossy(&body);
        let expected = r#"{"error":"the queue is closed: no space left"}"#;
        assert_eq!(text, expected);
    }
}
