//! The configuration of this crate, and the operator's rules at the start.

use std::sync::Arc;
use std::time::Duration;

use relay_message::DestinationKey;
use relay_smtp::Mailbox;

use crate::hold::HoldRule;
use crate::retry::RetryPolicy;
use crate::rules::{Concurrency, Rules};
use crate::sign::Sign;

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name.
    pub hostname: String,
    /// Who is told of bounces that fail.
    pub postmaster: Mailbox,
    /// How long and how often to try.
    pub retry: RetryPolicy,
    /// How much at once.
    pub concurrency: Concurrency,
    /// How senders are told.
    pub reports: ReportPolicy,
    /// What signs reports, if anything does.
    pub signer: Option<Arc<dyn Sign>>,
    /// The rules at the start. A reload does not change the current ones: [`Handle`] does, with
    /// `suspend`, `resume` and `hold_incoming`.
    ///
    /// [`Handle`]: crate::Handle
    pub standing_rules: StandingRules,
}

/// Rules that apply until the operator removes them. The caller keeps them over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandingRules {
    /// Destinations that nothing is to be sent to.
    pub suspended: Vec<DestinationKey>,
    /// What is held as it comes in.
    pub hold_incoming: Vec<HoldRule>,
}

/// How senders are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportPolicy {
    /// How long a message waits until a sender that asked for nothing is told of the delay; `None`
    /// if only those are told who asked.
    pub delay_notice: Option<Duration>,
    /// Reports of failures to one sender, or to the postmaster, within an hour, and as many of anything
    /// else; what goes beyond is discarded.
    /// What the operator returns is reported to senders in any case.
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

/// When those are told of a delay who asked, unless the operator has chosen a time.
const NOTICE_AFTER: Duration = Duration::from_hours(4);

impl Config {
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            retry: self.retry,
            concurrency: self.concurrency,
            notice_after: self.reports.delay_notice.unwrap_or(NOTICE_AFTER),
        }
    }
}
