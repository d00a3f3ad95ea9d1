//! The log events of this crate. Outcomes are logged elsewhere.

use relay_smtp::outcome::TlsParameters;
use relay_smtp::sasl::{Mechanism, UserName};
use relay_smtp::{Outcome, Peer};
use tracing::{error, info, warn};

/// A smarthost cannot be used. Its mail waits until the operator fixes the problem.
pub(crate) fn smarthost_trouble(route: &str, outcome: &Outcome) {
    error!(target: "relayd", event = "smarthost", route, status = %outcome.status,
        stage = %outcome.stage,
        "smarthost {route} cannot be used, its mail is deferred: {}", outcome.text());
}

/// A TLS handshake succeeded.
pub(crate) fn tls(peer: &Peer, tls: &TlsParameters) {
    let TlsParameters {
        version,
        cipher,
        verified,
    } = tls;
    info!(target: "relayd", event = "tls", side = "client", relay = %peer, version = version.as_str(), cipher = cipher.as_str(), verified,
        "tls with {peer}: {tls}");
}

/// TLS was required or offered, and the handshake failed.
pub(crate) fn tls_failed(peer: &Peer, reason: &str, goes_on_in_clear: bool) {
    let then = if goes_on_in_clear {
        "continuing in clear text"
    } else {
        "nothing was sent"
    };
    warn!(target: "relayd", event = "tls", side = "client", relay = %peer, reason,
        clear = goes_on_in_clear, "tls with {peer} failed, {then}: {reason}");
}

/// A smarthost accepted the login.
pub(crate) fn auth(peer: &Peer, user: &UserName, mechanism: Option<Mechanism>) {
    let mechanism = name(mechanism);
    info!(target: "relayd", event = "auth", side = "client", relay = %peer, %user, mechanism,
        result = "ok", "auth as {user} with {peer} by {mechanism}: ok");
}

/// A smarthost rejected the login.
pub(crate) fn auth_failed(
    peer: &Peer,
    user: &UserName,
    mechanism: Option<Mechanism>,
    reason: &str,
) {
    let mechanism = name(mechanism);
    warn!(target: "relayd", event = "auth", side = "client", relay = %peer, %user, mechanism,
        result = "failed", reason, "auth as {user} with {peer} by {mechanism} failed: {reason}");
}

fn name(mechanism: Option<Mechanism>) -> &'static str {
    mechanism.map_or("none", Mechanism::name)
}
