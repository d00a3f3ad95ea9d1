//! Questions about strangers, for whoever can ask the DNS.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::SystemTime;

pub use relay_message::QueueId;
use relay_smtp::ReversePath;
use relay_smtp::command::ClientName;

/// An answer that may take a while; its asker goes on meanwhile. Dropped, it is not wanted any more.
pub type CheckFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Looks into strangers: clients that may not relay, at listeners for other servers. Nobody else is ever
/// asked about. Each answer comes within a bound of the implementer's, and says no more than what was
/// found: trouble is no reason to refuse anything.
pub trait InboundCheck: fmt::Debug + Send + Sync {
    /// Whether the client stands on a block list; `None` where there are none to ask.
    fn listing(&self, client: IpAddr) -> Option<CheckFuture<Option<Listing>>>;

    /// Begins to examine a message, given its header section; `None` where messages are not looked at.
    fn check_message(&self, source: MessageSource, header: &[u8]) -> Option<Box<dyn MessageCheck>>;

    /// Whether this field of a stranger's message says something in our name.
    fn is_forged(&self, name: &[u8], value: &[u8]) -> bool;
}

/// A message whose body passes by.
pub trait MessageCheck: fmt::Debug + Send {
    /// The next octets of the body.
    fn pass(&mut self, body: &[u8]);

    /// All of the message has passed.
    fn finish(self: Box<Self>) -> CheckFuture<CheckResult>;
}

/// A client stands on a block list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The list.
    pub list: String,
    /// What the list says, in printable ASCII and short; it may be empty.
    pub text: String,
}

/// Who sends a message.
#[derive(Debug, Clone)]
pub struct MessageSource {
    /// The id that the message will have.
    pub id: QueueId,
    /// The client; `None` if a proxy does not say who it is.
    pub client: Option<IpAddr>,
    /// How it introduced itself.
    pub hello: Option<ClientName>,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// When the message began to come in.
    pub begun: SystemTime,
}

/// What was found out about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// A field of the header section that tells of it, with its line's end.
    pub field: String,
    /// Set if the message must not be taken.
    pub refusal: Option<Refusal>,
}

/// Why a message is refused for whom it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The domain asks for it.
    DmarcReject {
        /// The domain, in ASCII.
        domain: String,
        /// What SPF came to, in a word.
        spf: &'static str,
        /// What DKIM came to, in a word.
        dkim: &'static str,
    },
    /// It is from more domains than anybody could judge.
    TooManyAuthors,
}
