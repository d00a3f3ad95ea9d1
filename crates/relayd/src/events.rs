//! The log events of the daemon itself: start, end, reload, and changes by the operator.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use relay_control::Certificate;
use relay_smtpd::ListenerAddress;
use tracing::{error, info, warn};

/// The daemon has started.
pub(crate) fn start(version: &str, hostname: &str) {
    info!(target: "relayd", event = "start", version, hostname,
        "relayd {version} starts as {hostname}");
}

/// The name of the relay is not a full domain name.
pub(crate) fn short_name(hostname: &str) {
    warn!(target: "relayd", event = "hostname", hostname,
        "the name {hostname:?} has no domain, and many servers refuse mail from such a host: \
         set hostname");
}

/// A listener is open.
pub(crate) fn listening(address: &ListenerAddress, role: &str) {
    info!(target: "relayd", event = "listening", %address, role, "listening on {address} as {role}");
}

/// The state directory and what is in it.
pub(crate) fn state(dir: &Path, messages: u64, damaged: u64) {
    info!(target: "relayd", event = "state", dir = %dir.display(), messages, damaged,
        "the queue is in {}; messages in it: {messages}, set aside as damaged: {damaged}", dir.display());
}

/// The state directory is on a file system that loses its content at a restart.
pub(crate) fn ephemeral(dir: &Path, kind: &str) {
    warn!(target: "relayd", event = "forgetful", dir = %dir.display(), filesystem = kind,
        "{} is on {kind}, which does not outlive the machine or container: \
         put state_dir on a disk or a volume", dir.display());
}

/// The control socket is open.
pub(crate) fn control(socket: &Path) {
    info!(target: "relayd", event = "control", socket = %socket.display(),
        "control socket: {}", socket.display());
}

/// A message in the maildrop cannot be accepted and is kept for the operator.
pub(crate) fn maildrop_refused(file: &Path, reason: &str) {
    warn!(target: "relayd", event = "maildrop", file = %file.display(), reason,
        "a message in the maildrop cannot be accepted and was moved to {}: {reason}",
        file.display());
}

/// The maildrop has files that are not mail and that the relay may not move.
pub(crate) fn maildrop_stuck(dir: &Path, number: usize) {
    warn!(target: "relayd", event = "maildrop", dir = %dir.display(), number,
        "{} has entries that are not mail and cannot be moved, {number} in all: remove them as root",
        dir.display());
}

/// The maildrop cannot be used or read.
pub(crate) fn maildrop_unusable(dir: &Path, reason: &io::Error) {
    warn!(target: "relayd", event = "maildrop", dir = %dir.display(), %reason,
        "the maildrop {} cannot be used: {reason}", dir.display());
}

/// The configuration was read again, with any problems that kept parts from being applied.
pub(crate) fn reload(file: &Path, problems: &[String]) {
    if problems.is_empty() {
        info!(target: "relayd", event = "reload", file = %file.display(),
            "{} was read again and applies", file.display());
    }
    for problem in problems {
        error!(target: "relayd", event = "reload", file = %file.display(), problem = problem.as_str(),
            "reload: {problem}");
    }
}

/// The users file has changed and was read again.
pub(crate) fn users(file: &Path, users: usize) {
    info!(target: "relayd", event = "users", file = %file.display(), users,
        "{} has changed: users who may log in: {users}", file.display());
}

/// The users file has changed and cannot be used.
pub(crate) fn bad_users(reason: &dyn Display) {
    let problem = reason.to_string();
    error!(target: "relayd", event = "users", problem,
        "users: {problem}; the users stay as they were");
}

/// One of our certificates expires soon or has expired.
pub(crate) fn expiring(certificate: &Certificate) {
    let Certificate {
        file, days_left, ..
    } = certificate;
    warn!(target: "relayd", event = "certificate", file, days_left,
        "the certificate in {file} expires in {days_left} days: renew it");
}

/// An address has a temporary permission to relay.
pub(crate) fn relay_allowed(client: IpAddr, time: Duration) {
    info!(target: "relayd", event = "acl", %client, seconds = time.as_secs(),
        "acl: [{client}] may relay for {}", humantime::format_duration(time));
}

/// A temporary permission was removed.
pub(crate) fn relay_removed(client: IpAddr) {
    info!(target: "relayd", event = "acl", %client, "acl: [{client}] may no longer relay");
}

/// Deliveries to a destination are suspended.
pub(crate) fn suspended(destination: &str) {
    info!(target: "relayd", event = "operator", verb = "suspend", destination,
        "operator: {destination} is suspended");
}

/// Deliveries to a destination are resumed.
pub(crate) fn resumed(destination: &str) {
    info!(target: "relayd", event = "operator", verb = "resume", destination,
        "operator: {destination} is resumed");
}

/// The hold rules for incoming mail have changed. `rules` is their new number.
pub(crate) fn hold_rules(rules: usize) {
    info!(target: "relayd", event = "operator", verb = "hold", rules,
        "operator: rules that hold incoming mail: {rules}");
}

/// A part of the relay has panicked. The other parts continue.
pub(crate) fn panicked(place: &str, reason: &str) {
    error!(target: "relayd", event = "alert", place, reason,
        "alert: a fault in relayd at {place}: {reason}");
}

/// A signal has started the shutdown.
pub(crate) fn stopping() {
    info!(target: "relayd", event = "stop",
        "stopping: no new sessions or deliveries; waiting for those under way");
}

/// The queue is closed.
pub(crate) fn stopped(messages: u64) {
    info!(target: "relayd", event = "stop", messages,
        "stopped; messages left in the queue: {messages}");
}
