//! What strangers' mail is worth (opendkim, opendmarc, rblsmtpd): SPF, DKIM, DMARC and DNS block lists.
//!
//! [`MailAuth`] is what the operator has decided. It asks block lists about a client, and begins an
//! [`MessageCheck`] of a message once its header section is known: all lookups begin then and go on side
//! by side while the body passes, of which nothing but hashes is kept. It promises that
//!
//! * nothing takes longer than [`Settings::timeout`] from its start, but for the second that DMARC may
//!   need at the end;
//! * a lookup that fails refuses nothing: it is a `temperror`, or a list that does not list;
//! * a message makes a bounded number of lookups, whatever it says, and whatever the DNS says.
//!
//! It decides nothing by itself: [`CheckResult`] say what the message's own domain asks for, and that only
//! where the operator wants it done. mail-auth evaluates SPF and DMARC.
//!
//! | module | what |
//! |---|---|
//! | `dnsbl` | DNS block lists (RFC 5782) |
//! | `message_check` | the check of one message |
//! | `spf`, `signatures`, `dmarc` | the three questions (RFC 7208, RFC 6376, RFC 9989) |
//! | `cache` | what one message's lookups have brought |
//! | `authentication_results` | the Authentication-Results field that says so (RFC 8601) |
//! | `authserv` | the same field from others, where it pretends to be ours |
//! | `events` | what is logged from here |

mod authentication_results;
mod authserv;
mod cache;
mod dmarc;
mod dnsbl;
mod events;
mod message_check;
mod signatures;
mod spf;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use relay_remote::dns::Dns;
use relay_smtp::ReversePath;

pub use authserv::claims_to_be;
use dnsbl::BlockLists;
pub use dnsbl::Listing;
pub use message_check::{CheckResult, MessageCheck, Refusal};

/// What the operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our name: whose results these are.
    pub hostname: Arc<str>,
    /// What is done with messages; nothing is looked at where this is missing.
    pub policy: Option<Policy>,
    /// The zones of the DNS block lists to ask about clients.
    pub dnsbl: Vec<String>,
    /// For all lookups about a client, and for all about a message.
    pub timeout: Duration,
}

/// What comes of a message that fails DMARC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It is told in the header.
    Report,
    /// It is refused if its domain asks for that.
    Enforce,
}

/// Who sends a message that has no right to be believed.
#[derive(Debug, Clone)]
pub struct MessageSource {
    /// For the log.
    pub id: String,
    /// The client; `None` if a proxy does not say.
    pub client: Option<IpAddr>,
    /// What it called itself in EHLO or HELO.
    pub hello: String,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// When the message came.
    pub arrived: SystemTime,
}

/// Looks into strangers and their mail.
#[derive(Debug)]
pub struct MailAuth {
    settings: Settings,
    lists: Arc<BlockLists>,
}

impl MailAuth {
    /// By these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            lists: Arc::new(BlockLists::new(&settings.dnsbl, settings.timeout)),
            settings,
        }
    }

    /// Whether there is anything to do at all.
    pub fn is_idle(&self) -> bool {
        self.settings.policy.is_none() && self.lists.is_empty()
    }

    /// Asks the block lists about a client, all at once: the first that lists it. `None` where there
    /// are no lists.
    pub fn listing(
        &self,
        dns: Arc<Dns>,
        client: IpAddr,
    ) -> Option<impl Future<Output = Option<Listing>> + Send + use<>> {
        let lists = Arc::clone(&self.lists);
        (!lists.is_empty()).then_some(async move { lists.ask(&dns, client).await })
    }

    /// Begins the check of a message by its header section. `None` where messages are not checked.
    /// To be called within a runtime.
    pub fn check(
        &self,
        dns: Arc<Dns>,
        source: MessageSource,
        header: &[u8],
    ) -> Option<MessageCheck> {
        let policy = self.settings.policy?;
        let Settings {
            hostname, timeout, ..
        } = &self.settings;
        let hostname = Arc::clone(hostname);
        Some(MessageCheck::begin(
            dns, hostname, policy, *timeout, source, header,
        ))
    }

    /// Whether a field of a source's message says in our name what it cannot know; its value is
    /// looked at without the field's name and colon.
    pub fn is_forged(&self, name: &[u8], value: &[u8]) -> bool {
        self.settings.policy.is_some()
            && name.eq_ignore_ascii_case(b"Authentication-Results")
            && claims_to_be(&self.settings.hostname, value)
    }
}
