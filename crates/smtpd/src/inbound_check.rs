//! The checks of external clients and their mail, as a trait. Its implementation may use the DNS.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::SystemTime;

pub use relay_message::QueueId;
use relay_smtp::ReversePath;
use relay_smtp::command::ClientName;

/// A result that arrives later. Dropping the future cancels the check.
pub type CheckFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Checks external clients, that is, clients that may not relay, on listeners with the role `mx`. Other
/// clients are never checked. The implementation limits the time of each check. An error during a check
/// must not cause a refusal.
pub trait InboundCheck: fmt::Debug + Send + Sync {
    /// Returns the block list entry of the client, if there is one. `None` if no lists are configured.
    fn listing(&self, client: IpAddr) -> Option<CheckFuture<Option<Listing>>>;

    /// Starts the check of a message, given its header section. `None` if messages are not checked.
    fn check_message(&self, source: MessageSource, header: &[u8]) -> Option<Box<dyn MessageCheck>>;

    /// Whether this field of an external message is forged in our name.
    fn is_forged(&self, name: &[u8], value: &[u8]) -> bool;
}

/// The check of a message whose body is still coming in.
pub trait MessageCheck: fmt::Debug + Send {
    /// Takes the next octets of the body.
    fn pass(&mut self, body: &[u8]);

    /// Finishes after the whole message has passed, and returns the result.
    fn finish(self: Box<Self>) -> CheckFuture<CheckResult>;
}

/// An entry of a block list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The zone of the list.
    pub list: String,
    /// The text of the list, in printable ASCII and short; it may be empty.
    pub text: String,
}

/// Where a message comes from.
#[derive(Debug, Clone)]
pub struct MessageSource {
    /// The id that the message will have.
    pub id: QueueId,
    /// The address of the client; `None` if a proxy does not name it.
    pub client: Option<IpAddr>,
    /// The name in EHLO or HELO.
    pub hello: Option<ClientName>,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// When the message began to arrive.
    pub begun: SystemTime,
}

/// The result of the check of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The Authentication-Results field, including its final CR LF.
    pub field: String,
    /// The reason for refusing the message, if it must be refused.
    pub refusal: Option<Refusal>,
}

/// Why a message is refused because of its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The author's domain has the DMARC policy `reject`.
    DmarcReject {
        /// The domain, in ASCII.
        domain: String,
        /// The SPF result, a keyword of RFC 8601 §2.7.2.
        spf: &'static str,
        /// The DKIM result, a keyword of RFC 8601 §2.7.1.
        dkim: &'static str,
    },
    /// The From field has more domains than are checked.
    TooManyAuthors,
    /// A part of the From field cannot be read, and a reader may be shown an author in it.
    UnreadableAuthor,
}
