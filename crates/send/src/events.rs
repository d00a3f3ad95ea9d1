//! The log events of this crate, after those of qmail-send, one function each. Text from outside is
//! a field, or its control characters were replaced where it was parsed.

use std::fmt;
use std::time::Duration;

use relay_control::Verb;
use relay_message::{DestinationKey, Message, QueueId, StoreError};
use relay_smtp::{Outcome, Verdict};
use tracing::{error, info, warn};

use crate::action::Action;

/// An attempt begins.
pub(crate) fn starting_delivery(
    delivery: u64,
    id: QueueId,
    destination: &DestinationKey,
    to: usize,
) {
    info!(target: "relayd", event = "starting delivery", delivery, %id,
        destination = &*destination.0, recipients = to,
        "starting delivery {delivery}: msg {id} to remote {}", destination.0);
}

/// How long a recipient's mail took since its arrival, in the four parts that Postfix logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Until it was due: earlier attempts and the pauses between them.
    pub(crate) deferred: Duration,
    /// In the wait queue of its destination: for a slot, or for the destination to recover.
    pub(crate) in_line: Duration,
    /// Until a session was ready.
    pub(crate) connecting: Duration,
    /// The transaction.
    pub(crate) transmitting: Duration,
}

impl Delays {
    fn total(&self) -> Duration {
        self.deferred + self.in_line + self.connecting + self.transmitting
    }
}

/// The parts, in seconds.
impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.deferred, self.in_line, self.connecting];
        for part in parts {
            write!(f, "{:.2}/", part.as_secs_f64())?;
        }
        write!(f, "{:.2}", self.transmitting.as_secs_f64())
    }
}

/// One recipient's outcome.
pub(crate) fn delivery(
    delivery: u64,
    message: &Message,
    to: &str,
    outcome: &Outcome,
    delays: Delays,
) {
    let word = match outcome.verdict {
        Verdict::Delivered => "success",
        Verdict::Deferred => "deferral",
        Verdict::Failed => "failure",
    };
    let relay = outcome
        .peer
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let total = delays.total().as_secs_f64();
    info!(target: "relayd", event = "delivery", delivery, id = %message.id, to,
        tls = outcome.peer.as_ref().and_then(|peer| peer.tls.as_ref()).map(tracing::field::display),
        from = message.sender.as_str(), relay, status = word, dsn = %outcome.status,
        delay = format_args!("{total:.2}"), %delays,
        "delivery {delivery}: {word}: {}", outcome.text());
}

/// How many attempts are under way.
pub(crate) fn status(in_flight: u32, overall: u32) {
    info!(target: "relayd", event = "status", in_flight, concurrency = overall,
        "status: remote {in_flight}/{overall}");
}

/// A report about `id` has entered the queue.
pub(crate) fn bounce_msg(id: QueueId, report: QueueId, to: &str) {
    info!(target: "relayd", event = "bounce msg", %id, report = %report, to,
        "bounce msg {id} qp {report}");
}

/// A report could not be signed, and is sent without a signature.
pub(crate) fn unsigned(report: QueueId, reason: &str) {
    error!(target: "relayd", event = "alert", id = %report, reason,
        "alert: report {report} could not be signed: {reason}");
}

/// A message has failed, and no report is sent.
pub(crate) fn discard(message: &Message, why: NoReportReason) {
    let reason = match why {
        NoReportReason::NoSender => "it has the null sender",
        NoReportReason::NotWanted => "its sender asked for no report",
        NoReportReason::TooMany => "its addressee has had too many reports within an hour",
    };
    warn!(target: "relayd", event = "discard", id = %message.id, reason,
        "msg {} has failed and is discarded without a report: {reason}", message.id);
}

/// Why a failure is not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReportReason {
    NoSender,
    NotWanted,
    TooMany,
}

/// A verb of the operator, or a rule, has changed a message.
pub(crate) fn operator(action: Action, id: QueueId) {
    let verb = match action {
        Action::Operator(verb) => verb,
        Action::HoldNew => Verb::Hold,
        Action::Reread => return,
    };
    let verb = verb.name();
    info!(target: "relayd", event = "operator", %id, verb, "operator: {verb} msg {id}");
}

/// A message has left the queue.
pub(crate) fn end_msg(id: QueueId) {
    info!(target: "relayd", event = "end msg", %id, "end msg {id}");
}

/// The store failed. The operation is repeated.
pub(crate) fn store_error(doing: &str, id: QueueId, e: &StoreError) {
    error!(target: "relayd", event = "queue error", %id, error = %e,
        "queue error while {doing} msg {id}: {e}; trying again");
}

/// Another relay, or the operator, has the message now.
pub(crate) fn claim_lost(id: QueueId) {
    info!(target: "relayd", event = "claim lost", %id,
        "msg {id} was taken over or deleted during work on it");
}

/// The queue could not be read. It is read again.
pub(crate) fn scan_error(e: &StoreError) {
    error!(target: "relayd", event = "queue error", error = %e,
        "queue error while reading the queue: {e}; trying again");
}
