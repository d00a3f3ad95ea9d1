//! Checks mail from external clients (opendkim, opendmarc, rblsmtpd): SPF, DKIM, DMARC and DNS block
//! lists.
//!
//! [`MailAuth`] implements [`InboundCheck`], the trait through which the SMTP server asks. It queries
//! block lists about a client, and starts the check of a message once its header section is complete: all
//! lookups start then and run in parallel while the body passes. Only hashes of the body are kept. The
//! crate promises that
//!
//! * no check takes longer than [`Settings::timeout`], except that DMARC may take one more second at the
//!   end of the message;
//! * a failed lookup never causes a refusal: the result is `temperror`, or the client counts as not listed;
//! * the number of lookups for a message has a limit, whatever the message or the DNS contains.
//!
//! A message is refused only if the policy of its own domain asks for that and the operator has enabled
//! it. mail-auth evaluates SPF and DMARC.
//!
//! | module | what |
//! |---|---|
//! | `dnsbl` | DNS block lists (RFC 5782) |
//! | `message_check` | the check of one message |
//! | `spf`, `signatures`, `dmarc` | SPF, DKIM and DMARC (RFC 7208, RFC 6376, RFC 9989) |
//! | `cache` | TXT records that were looked up for one message |
//! | `authentication_results` | the Authentication-Results field (RFC 8601) |
//! | `authserv` | recognizes such fields forged in our name |
//! | `events` | log events |

mod authentication_results;
mod authserv;
mod cache;
mod dmarc;
mod dnsbl;
mod events;
mod message_check;
mod signatures;
mod spf;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_remote::dns::Dns;
use relay_smtpd::inbound_check::{CheckFuture, InboundCheck, Listing, MessageCheck, MessageSource};

pub use authserv::claims_to_be;
use dnsbl::BlockLists;
use message_check::RunningCheck;

/// The configuration of the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our host name, which is the authserv-id of the results (RFC 8601 §2.5).
    pub hostname: Arc<str>,
    /// What to do with messages that fail DMARC; without it messages are not checked at all.
    pub policy: Option<Policy>,
    /// The zones of the DNS block lists to query about clients.
    pub dnsbl: Vec<String>,
    /// The limit for all lookups about a client, and again for all lookups about a message.
    pub timeout: Duration,
}

/// What to do with a message that fails DMARC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The results are only written into the header section.
    Report,
    /// The message is refused if its domain's policy is `reject`.
    Enforce,
}

/// Checks external clients and their mail.
#[derive(Debug)]
pub struct MailAuth {
    settings: Settings,
    lists: Arc<BlockLists>,
    resolver: Resolver,
}

/// Returns the resolver of the current configuration, which may change while the relay runs.
struct Resolver(Box<dyn Fn() -> Arc<Dns> + Send + Sync>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl MailAuth {
    /// Checks with these settings. Each check asks `resolver` for the resolver to use.
    pub fn new(
        settings: Settings,
        resolver: impl Fn() -> Arc<Dns> + Send + Sync + 'static,
    ) -> Self {
        Self {
            lists: Arc::new(BlockLists::new(&settings.dnsbl, settings.timeout)),
            settings,
            resolver: Resolver(Box::new(resolver)),
        }
    }

    /// Whether nothing is configured, so that there is nothing to check.
    pub fn is_idle(&self) -> bool {
        self.settings.policy.is_none() && self.lists.is_empty()
    }
}

impl InboundCheck for MailAuth {
    /// Queries all block lists at once and returns the first that lists the client; `None` where no
    /// lists are configured.
    fn listing(&self, client: IpAddr) -> Option<CheckFuture<Option<Listing>>> {
        if self.lists.is_empty() {
            return None;
        }
        let (lists, dns) = (Arc::clone(&self.lists), (self.resolver.0)());
        Some(Box::pin(async move { lists.ask(&dns, client).await }))
    }

    /// Starts the lookups for a message, so it must be called within a runtime.
    fn check_message(&self, source: MessageSource, header: &[u8]) -> Option<Box<dyn MessageCheck>> {
        let policy = self.settings.policy?;
        let Settings {
            hostname, timeout, ..
        } = &self.settings;
        let hostname = Arc::clone(hostname);
        let dns = (self.resolver.0)();
        Some(Box::new(RunningCheck::begin(
            dns, hostname, policy, *timeout, source, header,
        )))
    }

    fn is_forged(&self, name: &[u8], value: &[u8]) -> bool {
        self.settings.policy.is_some()
            && name.eq_ignore_ascii_case(b"Authentication-Results")
            && claims_to_be(&self.settings.hostname, value)
    }
}
