//! What a session tells and asks its driver.

use crate::address::{ForwardPath, ReversePath};
use crate::command::ClientName;
use crate::dsn::DsnRequest;
use crate::recipient::Recipient;
use crate::reply::Reply;
use crate::sasl::{Mechanism, Secret, UserName};

/// What [`super::ServerSession::handle`] came upon.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// May this sender send? Answer with `accept_sender` or `refuse`.
    Mail(MailRequest),
    /// Is this recipient's mail taken here? Answer with `accept_recipient` or `refuse`.
    Rcpt(Recipient),
    /// Can a message be taken in? Answer with `accept_message` or `refuse`.
    Data,
    /// The header section is complete: what has been gathered may leave memory.
    Content,
    /// The message is complete, the rest of it has been gathered. Answer with
    /// `finish_message` once it is safe or known not to be.
    MessageEnd(Transaction),
    /// The session has refused a command or a message by itself. What has come of a message in
    /// work is of no use any more; its reply goes out at its end.
    Refused(Refusal),
    /// A handshake is due: send the output, throw away every octet that has been read and not
    /// handled, for it may be anybody's (RFC 3207 §4.2), shake hands, then call `tls_started`. If
    /// the handshake fails, close.
    StartTls,
    /// Are these good? Answer with `accept_user` or `refuse`.
    Authenticate(Credentials),
    /// A client wants to prove that it knows this user's password. Answer with `continue_scram` or
    /// `refuse`; for a user who does not exist with an invented verifier, the same each time, so
    /// that nobody learns who exists.
    ScramUser(UserName),
    /// The proof has come. Answer with `accept_user`, if it is good, or `refuse`.
    ScramDone {
        /// Who it is about.
        user: UserName,
        /// Whether it proves that the client knows the password.
        verified: bool,
    },
    /// So many replies have gathered that they are to be sent before the session goes on.
    Flush,
    /// Nothing more is read or answered: send the output and close.
    Close,
}

/// What MAIL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRequest {
    /// MAIL FROM.
    pub sender: ReversePath,
    /// SIZE: octets that the client means to send (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// `RET` and `ENVID` (RFC 3461).
    pub dsn: DsnRequest,
}

/// Who a client says it is, by PLAIN or LOGIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// How it said so.
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
    /// `SMTPUTF8` (RFC 6531), as far as the message needs it: once it is complete, only if there is
    /// UTF-8 in its sender or header section, for the rest may go to any peer (RFC 6531 §3.4). What
    /// a recipient's own address needs shows in that address.
    pub utf8: bool,
    /// `RET` and `ENVID` (RFC 3461).
    pub dsn: DsnRequest,
    /// Whether the message begins with its body, so that an empty line has to stand between what is
    /// put before it and its first line (RFC 5322 §2.1); known once the message is complete.
    pub lacks_header: bool,
}

/// A command or message that was refused, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The verb of the command, or what came in place of one.
    pub command: &'static str,
    /// The sender, as far as there is one.
    pub sender: Option<ReversePath>,
    /// The recipient that was refused.
    pub recipient: Option<ForwardPath>,
    /// What MAIL or RCPT was given where that is no address: whatever the client wrote, cut to the
    /// length of a command.
    pub argument: Option<Box<str>>,
    /// What the client was told, or will be.
    pub reply: Reply,
}

/// How the client introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name it gave.
    pub name: ClientName,
    /// By EHLO, not HELO.
    pub extended: bool,
}
