//! What the server tells the log: one function for each event.
//!
//! What a client wrote is data, and given as it is: whatever writes the log escapes it, so that it
//! cannot look like another line.

use std::fmt::Display;
use std::io;

use relay_message::{Message, QueueId, StoreError};
use relay_smtp::sasl::{Mechanism, UserName};
use relay_smtp::server::{Hello, Refusal};
use relay_smtp::{Reply, ReversePath};
use tracing::{error, info, warn};

use crate::address::Address;
use crate::client::ClientId;
use crate::signing_pool::SigningError;
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

/// A sender that another one stands in for.
pub(crate) fn rewritten(client: ClientId, from: &ReversePath, to: &ReversePath) {
    let (from, to) = (from.as_str(), to.as_str());
    info!(
        target: "relayd",
        event = "rewrite",
        %client,
        from,
        to,
        "rewrite: mail of <{from}> from [{client}] goes out as <{to}>",
    );
}

/// A connection was refused at once.
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

/// The queue did not take a message; the client was told to come back.
pub(crate) fn store_failed(id: Option<QueueId>, reason: &StoreError) {
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    error!(
        target: "relayd",
        event = "alert",
        id,
        %reason,
        "alert: msg {id} was not taken into the queue: {reason}",
    );
}

/// A message of ours is signed, with these keys.
pub(crate) fn signed(id: QueueId, keys: &str) {
    info!(target: "relayd", event = "dkim", %id, result = "signed", keys, "dkim: msg {id} is signed: {keys}");
}

/// A message of one of our own clients is not signed, though there are keys.
pub(crate) fn unsigned(id: QueueId, reason: &dyn Display) {
    info!(target: "relayd", event = "dkim", %id, result = "none", %reason,
        "dkim: msg {id} is not signed: {reason}");
}

/// A message that is to be signed could not be; the client was told to come back.
pub(crate) fn signing_failed(id: Option<QueueId>, reason: &SigningError) {
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    error!(
        target: "relayd",
        event = "alert",
        id,
        %reason,
        "alert: msg {id} was not taken into the queue, for it could not be signed: {reason}",
    );
}

/// No connection can be accepted for the moment.
pub(crate) fn accept_failed(listener: &Address, reason: &io::Error) {
    warn!(
        target: "relayd",
        event = "warning",
        %listener,
        %reason,
        "warning: trouble accepting connections on {listener}: {reason}",
    );
}

/// A client is under TLS now.
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

/// A handshake came to nothing.
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

/// A listener needs a certificate and there is none.
pub(crate) fn no_certificate(client: ClientId) {
    warn!(
        target: "relayd",
        event = "warning",
        %client,
        "warning: [{client}] cannot be served under TLS: there is no certificate; set tls.certificate and tls.key",
    );
}

/// What came of an AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginResult {
    /// The client is this user now.
    Ok,
    /// Wrong password, or no such user.
    LoginFailure,
    /// The client failed too often before.
    ShutOut,
    /// There was no time to check it.
    Busy,
}

impl LoginResult {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::LoginFailure => "failed",
            Self::ShutOut => "locked",
            Self::Busy => "busy",
        }
    }
}

/// Somebody logged in, or tried to.
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

/// A proxy did not say whom it speaks for.
pub(crate) fn bad_proxy(peer: ClientId, reason: &io::Error) {
    warn!(
        target: "relayd",
        event = "warning",
        client = %peer,
        %reason,
        "warning: proxy [{peer}] did not begin with the PROXY protocol: {reason}",
    );
}
