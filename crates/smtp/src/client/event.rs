//! The events that a session returns to its driver.

use crate::client::envelope::Answer;
use crate::outcome::Stage;
use crate::reply::Reply;
use crate::reply_parser::ReplyError;
use crate::sasl::ChallengeError;

/// The result of the peer's replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is ready: all steps of the plan are done and a transaction may begin.
    Ready,
    /// The peer waits for the message: send it through a [`crate::client::ContentEncoder`], then
    /// call [`ClientSession::content_sent`].
    Content,
    /// The peer waits for a TLS handshake. Discard every octet that has been read and not handled,
    /// because it came unprotected (RFC 3207 §4.2), make the handshake, then call
    /// [`ClientSession::tls_started`].
    StartTls,
    /// The transaction is over, with an answer for each recipient.
    Finished(Vec<Answer>),
    /// The session is over. [`ClientSession::abandon`] returns the answers up to here.
    Broken(Trouble),
}

/// Why a session ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The peer refuses the session: 4xx or 5xx to the greeting or to HELO, or 421 to any command.
    Refused(Stage, Reply),
    /// A reply that is not valid for the command, such as 250 to DATA.
    Unexpected(Stage, Reply),
    /// The octets are not a reply.
    Garbled(Stage, ReplyError),
    /// TLS is required, but the peer does not offer it.
    NoTls,
    /// STARTTLS was answered with 4xx or 5xx.
    TlsRefused(Reply),
    /// The peer offers no mechanism that fits the credentials.
    NoMechanism {
        /// The mechanisms that it offers, as it wrote them.
        offered: String,
    },
    /// The credentials must not be sent in clear, and the connection is in clear.
    AuthInClear,
    /// AUTH was answered with 4xx or 5xx.
    AuthRefused(Reply),
    /// A challenge that is not valid for the mechanism.
    Challenge(ChallengeError),
}
