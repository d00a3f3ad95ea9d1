//! What the server tells the log: one function for each event.
//!
//! What a client wrote is shown as data: escaped, so that it cannot look like another line.

use std::io;
use std::net::{IpAddr, SocketAddr};

use relay_queue::{Message, QueueId, StoreError};
use relay_smtp::Reply;
use relay_smtp::server::{Hello, Refusal};
use tracing::{error, info, warn};

/// A message is in the queue.
pub(crate) fn new_message(message: &Message, client: IpAddr) {
    let id = message.id;
    info!(target: "relayd", event = "new msg", %id, "new msg {id}");
    let (bytes, sender) = (message.size, &message.sender);
    let from = sender.as_str().escape_debug();
    info!(
        target: "relayd",
        event = "info msg",
        %id,
        bytes,
        %from,
        %client,
        recipients = message.recipients.len(),
        "info msg {id}: bytes {bytes} from <{from}> client [{client}]",
    );
}

/// A command or message was refused.
pub(crate) fn refused(client: IpAddr, hello: Option<&Hello>, refusal: &Refusal) {
    let name = hello.map_or("", |hello| hello.name.as_str()).escape_debug();
    let from = refusal
        .sender
        .as_ref()
        .map_or("", |sender| sender.as_str())
        .escape_debug();
    let to = refusal
        .recipient
        .as_ref()
        .map_or("", |to| to.as_str())
        .escape_debug();
    let Refusal { command, reply, .. } = refusal;
    info!(
        target: "relayd",
        event = "refused",
        %client,
        helo = %name,
        %from,
        %to,
        command,
        %reply,
        "refused {command} from [{client}] ({name}) <{from}> to <{to}>: {reply}",
    );
}

/// A connection was refused at once.
pub(crate) fn refused_connection(client: IpAddr, reply: &Reply) {
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

/// No connection can be accepted for the moment.
pub(crate) fn accept_failed(listener: Option<SocketAddr>, reason: &io::Error) {
    let listener = listener.map_or_else(|| "-".to_owned(), |address| address.to_string());
    warn!(
        target: "relayd",
        event = "warning",
        listener,
        %reason,
        "warning: trouble accepting connections on {listener}: {reason}",
    );
}
