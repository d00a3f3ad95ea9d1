//! What this crate says in the log by itself: everything else is in the outcomes.

use relay_smtp::Outcome;

/// The operator's smarthost cannot be used: mail waits until somebody mends it.
pub(crate) fn smarthost_trouble(route: &str, outcome: &Outcome) {
    tracing::error!(
        target: "relayd",
        event = "smarthost",
        route,
        status = %outcome.status,
        stage = %outcome.stage,
        "smarthost {route} cannot be used, its mail waits: {:?}",
        outcome.text()
    );
}
