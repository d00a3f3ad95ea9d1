//! The results of a probe.

use serde::Serialize;

use super::certificate::Handshake;

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Accepted,
    Refused,
    NotReached,
}

/// What is known about the last server that was tried.
#[derive(Debug, Default, Serialize)]
pub(super) struct Observed {
    pub(super) host: Option<String>,
    pub(super) address: Option<String>,
    pub(super) tls: Option<Handshake>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) relaying: Vec<Tried>,
}

/// The result of the dialogue with one server.
pub(super) struct StepResult {
    pub(super) outcome: Outcome,
    pub(super) detail: String,
    /// Whether a sender would stop here instead of trying the next host.
    pub(super) is_final: bool,
}

impl StepResult {
    pub(super) fn new(outcome: Outcome, is_final: bool, detail: impl Into<String>) -> Self {
        Self {
            outcome,
            detail: detail.into(),
            is_final,
        }
    }
}

/// The result of one variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tried {
    pub(super) mail: String,
    pub(super) rcpt: String,
    pub(super) answer: RelayAnswer,
    /// The server's reply, or why there was none.
    pub(super) reply: String,
}

/// Whether the server would relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RelayAnswer {
    Taken,
    /// Permanently.
    Refused,
    /// Temporarily, or without an answer: a later attempt might succeed.
    Undecided,
}
