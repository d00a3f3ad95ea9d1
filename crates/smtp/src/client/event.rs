//! What a session tells its driver.

use crate::client::envelope::Answer;
use crate::outcome::Stage;
use crate::reply::Reply;
use crate::reply_parser::ReplyError;
use crate::sasl::ChallengeError;

/// What the peer's words came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What the plan asks for is done: a transaction may begin.
    Ready,
    /// The peer waits for the message: send it through a [`crate::client::ContentEncoder`], then
    /// call [`ClientSession::content_sent`].
    Content,
    /// The peer waits for a handshake: throw away every octet that has been read and not handled,
    /// for it may be anybody's (RFC 3207 §4.2), shake hands, then call
    /// [`ClientSession::tls_started`].
    StartTls,
    /// The transaction is over, with an answer for each recipient.
    Finished(Vec<Answer>),
    /// The session is over; [`ClientSession::abandon`] has the answers that came before.
    Broken(Trouble),
}

/// Why a session ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The peer does not want to talk: 4xx or 5xx to the greeting or to HELO, or 421 to anything.
    Refused(Stage, Reply),
    /// A reply that the command cannot have, such as 250 to DATA.
    Unexpected(Stage, Reply),
    /// Octets that are no reply.
    Garbled(Stage, ReplyError),
    /// TLS is required, and the peer does not offer it.
    NoTls,
    /// STARTTLS was answered with 4xx or 5xx.
    TlsRefused(Reply),
    /// The peer offers no mechanism that goes with the credentials.
    NoMechanism {
        /// What it offers, as it wrote it.
        offered: String,
    },
    /// The credentials are not for a connection in clear, and that is what this is.
    AuthInClear,
    /// AUTH was answered with 4xx or 5xx.
    AuthRefused(Reply),
    /// A challenge that the mechanism cannot have.
    Challenge(ChallengeError),
}
