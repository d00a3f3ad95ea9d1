//! The configuration of this crate, and the operator's rules at the start.

use std::sync::Arc;
use std::time::Duration;

use relay_message::DestinationKey;
use relay_smtp::Mailbox;

use crate::hold_rules::HoldRule;
use crate::limits::{Concurrency, ScheduleLimits};
use crate::retry::RetryPolicy;
use crate::sign::Sign;

/// The configuration of deliveries and reports.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of this relay.
    pub hostname: String,
    /// The address that receives reports of bounces that fail.
    pub postmaster: Mailbox,
    /// How long and how often to try.
    pub retry: RetryPolicy,
    /// How many attempts are under way at once.
    pub concurrency: Concurrency,
    /// Which reports senders receive.
    pub reports: ReportPolicy,
    /// What signs reports; `None` if they are not signed.
    pub signer: Option<Arc<dyn Sign>>,
    /// The rules at the start. A reload does not change the current ones: [`Handle`] does, with
    /// `suspend`, `resume` and `hold_incoming`.
    ///
    /// [`Handle`]: crate::Handle
    pub standing_rules: StandingRules,
}

/// The operator's rules at the start. They apply until the operator removes them; the caller keeps
/// them over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandingRules {
    /// Destinations to which nothing is sent.
    pub suspended: Vec<DestinationKey>,
    /// Which incoming mail is held.
    pub hold_incoming: Vec<HoldRule>,
}

/// Which reports senders receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportPolicy {
    /// How long a message waits before its sender, who did not ask for it, gets a delay notice.
    /// `None`: only senders who asked get one.
    pub delay_notice: Option<Duration>,
    /// Failure reports to one sender, or to the postmaster, within an hour. The limit for other
    /// reports is the same, and counted apart. Reports beyond it are discarded. Messages that the
    /// operator returns are always reported.
    pub per_sender: u32,
}

impl Default for ReportPolicy {
    fn default() -> Self {
        Self {
            delay_notice: None,
            per_sender: 100,
        }
    }
}

/// When senders who asked for it get a delay notice, unless the operator has configured a time.
const NOTICE_AFTER: Duration = Duration::from_hours(4);

impl Config {
    pub(crate) fn limits(&self) -> ScheduleLimits {
        ScheduleLimits {
            retry: self.retry,
            concurrency: self.concurrency,
            notice_after: self.reports.delay_notice.unwrap_or(NOTICE_AFTER),
        }
    }
}
