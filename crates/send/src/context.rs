//! What all tasks share, and how they record what they have done.

use std::sync::Arc;
use std::time::Duration;

use relay_message::{Claim, Deliver, Message, QueueId, QueueStore, Settlement, StoreError};
use tokio::sync::mpsc;

use crate::bounce::Reporter;
use crate::clock::Clock;
use crate::completion::Completion;
use crate::config::ReportPolicy;
use crate::draft::Draft;
use crate::events;
use crate::quota::Quotas;
use crate::retry::RetryPolicy;
use crate::sign::Sign;

/// How long to wait before a store that failed is asked again.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(2);

/// What the tasks of one moment share; a reload makes a new one for those that come after.
#[derive(Debug)]
pub(crate) struct Context<S, D, C> {
    pub(crate) store: Arc<S>,
    pub(crate) deliver: Arc<D>,
    pub(crate) clock: C,
    pub(crate) policy: RetryPolicy,
    pub(crate) reporter: Reporter,
    pub(crate) reports: ReportPolicy,
    pub(crate) signer: Option<Arc<dyn Sign>>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) completions: mpsc::UnboundedSender<Completion>,
}

impl<S: QueueStore, D: Deliver, C: Clock> Context<S, D, C> {
    /// Records what has become of a message and puts the report on it into the queue. The message
    /// as it is now; `None` if it has left.
    pub(crate) async fn settle(
        &self,
        claim: Claim,
        message: &Message,
        draft: Draft,
    ) -> Result<Option<Message>, StoreError> {
        let bounces = draft.report.iter().map(|report| report.message.clone());
        let settlement = Settlement {
            recipients: draft.changes,
            bounces: bounces.collect(),
            told_of_delay: draft.told_of_delay,
        };
        let left = self.record(claim, &settlement).await?;
        relay_failpoint::point("recorded");
        if let Some(report) = draft.report {
            let report = report.entered(message.id);
            let _ = self.completions.send(Completion::Entered(Box::new(report)));
        }
        if left.is_none() {
            events::end_msg(message.id);
        }
        Ok(left)
    }

    /// Records a settlement, however often the store has to be asked: what a remote host has taken
    /// must not be sent to it again. Returns the record that is left.
    pub(crate) async fn record(
        &self,
        claim: Claim,
        what: &Settlement,
    ) -> Result<Option<Message>, StoreError> {
        loop {
            match self.store.settle(claim, what.clone()).await {
                Err(e) if e.is_transient() => {
                    events::store_error("recording the outcome of", claim.id, &e);
                    self.stuck(claim.id, &e).await;
                }
                ended => return ended,
            }
        }
    }

    /// Tells that the store does not do as asked, and waits before it is asked again.
    pub(crate) async fn stuck(&self, id: QueueId, e: &StoreError) {
        let _ = self.completions.send(Completion::Stuck(id, e.to_string()));
        tokio::time::sleep(STORE_PAUSE).await;
    }
}
