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

/// The pause before a failed operation of the store is repeated.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(2);

/// What tasks share. A reload makes a new context for the tasks that start after it.
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
    /// Records the changes of a message and puts its report into the queue, in one batch. Returns
    /// the message after that, or `None` if it has left the queue.
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

    /// Records a settlement, and repeats this until it succeeds: a message that a remote host
    /// has accepted must not be sent again. Returns the record that is left.
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

    /// Reports to the runner that the store fails, and waits before the next try.
    pub(crate) async fn stuck(&self, id: QueueId, e: &StoreError) {
        let _ = self.completions.send(Completion::Stuck(id, e.to_string()));
        tokio::time::sleep(STORE_PAUSE).await;
    }
}
