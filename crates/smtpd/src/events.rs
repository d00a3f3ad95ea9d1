//! The events that the server writes to the log: one function for each event.
//!
//! Values that come from a client are passed on unchanged. The log writer escapes them, so that
//! they cannot look like another line.

use std::fmt::Display;
use std::io;

use relay_message::{Message, QueueId, StoreError};
use relay_smtp::sasl::{Mechanism, UserName};
use relay_smtp::server::{Hello, Refusal};
use relay_smtp::{Reply, ReversePath};
use tracing::{error, info, warn};

use crate::address::ListenerAddress;
use crate::client::ClientId;
use crate::signing_pool::SigningPoolError;
use crate::tls::TlsFacts;

/// A message is in the queue.
pub(crate) fn new_message(message: &Message, client: ClientId, user: Option<&UserName>) {
    let id = message.id;
    info!(target: "relayd", event = "new msg", %id, "new msg {id}");
    let (bytes, sender) = (message.size, &message.sender);
    let from = sender.as_str();
    let user = user.map(UserName::as_str);
    let by = user.map_or_else(String::new, |user| format!(" user {user}"));
    info!(
        target: "relayd",
        event = "info msg",
        %id,
        bytes,
        from,
        %client,
        user,
        recipients = message.recipients.len(),
        "info msg {id}: bytes {bytes} from <{from}> client [{client}]{by}",
    );
}

/// A command or message was refused.
pub(crate) fn refused(client: ClientId, hello: Option<&Hello>, refusal: &Refusal) {
    let name = hello.map_or("", |hello| hello.name.as_str());
    let Refusal {
        command,
        sender,
        recipient,
        argument,
        reply,
    } = refusal;
    let from = sender.as_ref().map_or("", |sender| sender.as_str());
    let to = recipient.as_ref().map_or("", |to| to.as_str());
    let argument = argument.as_deref();
    let given = argument.map_or_else(String::new, |argument| format!(" {argument}"));
    info!(
        target: "relayd",
        event = "refused",
        %client,
        helo = name,
        from,
        to,
        command,
        argument,
        %reply,
        "refused {command}{given} from [{client}] ({name}) <{from}> to <{to}>: {reply}",
    );
}

/// A sender was replaced by another one.
pub(crate) fn rewritten(client: ClientId, from: &ReversePath, to: &ReversePath) {
    let (from, to) = (from.as_str(), to.as_str());
    info!(
        target: "relayd",
        event = "rewrite",
        %client,
        from,
        to,
        "rewrite: sender <{from}> from [{client}] is replaced by <{to}>",
    );
}

/// A connection was refused before the session began.
pub(crate) fn refused_connection(client: ClientId, reply: &Reply) {
    info!(
        target: "relayd",
        event = "refused",
        %client,
        command = "connection",
        %reply,
        "refused connection from [{client}]: {reply}",
    );
}

/// The queue could not take a message. The client was asked to try again.
pub(crate) fn store_failed(id: Option<QueueId>, reason: &StoreError) {
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    error!(
        target: "relayd",
        event = "alert",
        id,
        %reason,
        "alert: msg {id} was not accepted into the queue: {reason}",
    );
}

/// A message of a client that may relay was signed with these keys.
pub(crate) fn signed(id: QueueId, keys: &str) {
    info!(target: "relayd", event = "dkim", %id, result = "signed", keys, "dkim: msg {id} is signed: {keys}");
}

/// A message of a client that may relay was not signed, although there are keys.
pub(crate) fn unsigned(id: QueueId, reason: &dyn Display) {
    info!(target: "relayd", event = "dkim", %id, result = "none", %reason,
        "dkim: msg {id} is not signed: {reason}");
}

/// A message that must be signed could not be signed. The client was asked to try again.
pub(crate) fn signing_failed(id: Option<QueueId>, reason: &SigningPoolError) {
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    error!(
        target: "relayd",
        event = "alert",
        id,
        %reason,
        "alert: msg {id} was not accepted into the queue because it could not be signed: {reason}",
    );
}

/// Connections cannot be accepted at the moment.
pub(crate) fn accept_failed(listener: &ListenerAddress, reason: &io::Error) {
    warn!(
        target: "relayd",
        event = "warning",
        %listener,
        %reason,
        "warning: cannot accept connections on {listener}: {reason}",
    );
}

/// A connection is now under TLS.
pub(crate) fn tls_started(client: ClientId, facts: &TlsFacts) {
    let TlsFacts {
        version,
        cipher,
        server_name,
    } = facts;
    let server_name = server_name.as_deref().unwrap_or("-");
    info!(
        target: "relayd",
        event = "tls",
        %client,
        result = "ok",
        version,
        cipher,
        server_name,
        "tls from [{client}]: {version} {cipher} for {server_name}",
    );
}

/// A TLS handshake failed.
pub(crate) fn tls_failed(client: ClientId, reason: &io::Error) {
    info!(
        target: "relayd",
        event = "tls",
        %client,
        result = "failed",
        %reason,
        "tls from [{client}] failed: {reason}",
    );
}

/// A listener needs a certificate, but none is configured.
pub(crate) fn no_certificate(client: ClientId) {
    warn!(
        target: "relayd",
        event = "warning",
        %client,
        "warning: [{client}] cannot be served under TLS: there is no certificate; set tls.certificate and tls.key",
    );
}

/// The result of an AUTH command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginResult {
    /// The client is logged in as this user.
    Ok,
    /// The password is wrong, or the user does not exist.
    Wrong,
    /// The client is locked out because of earlier failures.
    LockedOut,
    /// The password could not be checked in time.
    Busy,
}

impl LoginResult {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Wrong => "failed",
            Self::LockedOut => "locked",
            Self::Busy => "busy",
        }
    }
}

/// A client logged in, or tried to.
pub(crate) fn login(client: ClientId, mechanism: Mechanism, user: &UserName, result: LoginResult) {
    let (mechanism, result) = (mechanism.name(), result.name());
    let user = user.as_str();
    info!(
        target: "relayd",
        event = "auth",
        %client,
        user,
        mechanism,
        result,
        "auth {result}: {user} from [{client}] by {mechanism}",
    );
}

/// A proxy did not send a valid PROXY header.
pub(crate) fn bad_proxy(peer: ClientId, reason: &io::Error) {
    warn!(
        target: "relayd",
        event = "warning",
        client = %peer,
        %reason,
        "warning: proxy [{peer}] did not begin with the PROXY protocol: {reason}",
    );
}
