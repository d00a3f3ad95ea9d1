//! The events and questions of a session for its driver.

use crate::address::{ForwardPath, ReversePath};
use crate::command::ClientName;
use crate::dsn::DsnRequest;
use crate::recipient::Recipient;
use crate::reply::Reply;
use crate::sasl::{Mechanism, Secret, UserName};

/// The next event that [`super::ServerSession::handle`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Whether this sender may send mail. Answer with `accept_sender` or `refuse`.
    Mail(MailRequest),
    /// Whether mail for this recipient is accepted. Answer with `accept_recipient` or `refuse`.
    Rcpt(Recipient),
    /// Whether a message can be received. Answer with `accept_message` or `refuse`.
    Data,
    /// The header section is complete. The gathered octets may now be moved out of memory.
    Content,
    /// The message is complete, and its last octets have been gathered. Call `finish_message` once
    /// the message is stored or has failed.
    MessageEnd(Transaction),
    /// The session refused a command or a message by itself. Discard what has arrived of a message;
    /// the reply is sent at its end.
    Refused(Refusal),
    /// A TLS handshake is due. Send the output, discard every octet that has been read and not
    /// handled, because it came unprotected (RFC 3207 §4.2), make the handshake, then call
    /// `tls_started`. If the handshake fails, close the connection.
    StartTls,
    /// Whether these credentials are right. Answer with `accept_user` or `refuse`.
    Authenticate(Credentials),
    /// A client wants to prove that it knows this user's password. Answer with `continue_scram` or
    /// `refuse`. For a user that does not exist use an invented verifier, the same each time, so
    /// that clients cannot find out which users exist.
    ScramUser(UserName),
    /// The proof has arrived. If it is right, answer with `accept_user`, otherwise with `refuse`.
    ScramDone {
        /// The user.
        user: UserName,
        /// Whether it proves that the client knows the password.
        verified: bool,
    },
    /// So many replies have gathered that they must be sent before the session continues.
    Flush,
    /// No more input is read or answered. Send the output and close the connection.
    Close,
}

/// The arguments of MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRequest {
    /// MAIL FROM.
    pub sender: ReversePath,
    /// SIZE: the octets that the client intends to send (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// `RET` and `ENVID` (RFC 3461).
    pub dsn: DsnRequest,
}

/// The credentials of a client, sent by PLAIN or LOGIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The mechanism that was used.
    pub mechanism: Mechanism,
    /// The user.
    pub user: UserName,
    /// The password; it may be empty.
    pub secret: Secret,
}

/// A mail transaction: the envelope as far as it has been accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// MAIL FROM.
    pub sender: ReversePath,
    /// The recipients that were accepted, in order.
    pub recipients: Vec<Recipient>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// Whether the message needs SMTPUTF8 (RFC 6531). Until the message is complete, this is the
    /// parameter of MAIL. Then it is true only if there is UTF-8 in the sender or the header
    /// section, because other messages may go to any peer (RFC 6531 §3.4). UTF-8 in a recipient's
    /// address does not count here.
    pub utf8: bool,
    /// `RET` and `ENVID` (RFC 3461).
    pub dsn: DsnRequest,
    /// Whether the message begins with its body. An empty line must then separate it from the
    /// fields that are put in front of it (RFC 5322 §2.1). The value is known once the message is
    /// complete.
    pub lacks_header: bool,
}

/// A command or message that was refused, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The verb of the command, or a name for input that is not a command.
    pub command: &'static str,
    /// The sender, if there is one.
    pub sender: Option<ReversePath>,
    /// The recipient that was refused.
    pub recipient: Option<ForwardPath>,
    /// The argument of MAIL or RCPT if it is not an address: the client's text, cut to the length
    /// of a command.
    pub argument: Option<Box<str>>,
    /// The reply that the client got or will get.
    pub reply: Reply,
}

/// The name and command by which the client introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name that the client gave.
    pub name: ClientName,
    /// Whether the client used EHLO, not HELO.
    pub extended: bool,
}
