//! A message that is being worked on: its claim, and its jobs under way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relay_message::{Claim, DestinationKey, Message, QueueId, QueueStore, StoreError};
use tokio::sync::{OnceCell, mpsc};

use crate::completion::{Reported, Return};

/// What the runner knows of a message that is being worked on.
#[derive(Debug, Default)]
pub(crate) struct ActiveMessage {
    pub(crate) message_claim: Arc<MessageClaim>,
    /// The destinations of its jobs under way.
    pub(crate) jobs: Vec<DestinationKey>,
    /// Destinations at which it was scheduled meanwhile, perhaps from a record that is out of date.
    pub(crate) scheduled: Vec<DestinationKey>,
    pub(crate) owed: Owed,
    /// The part of `owed` that is being done now.
    pub(crate) reporting: Owed,
    /// Receives the result of the message's return to its sender.
    pub(crate) returns: Option<mpsc::UnboundedSender<Return>>,
    /// The message was released meanwhile, so a record read earlier may be out of date.
    pub(crate) was_released: bool,
}

/// The action that remains when no work on a message is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Owed {
    #[default]
    Nothing,
    /// A report of failures to the sender.
    Report,
    /// The return to its sender, ordered by the operator. Delivery is not tried again.
    Return,
}

impl Owed {
    pub(crate) fn report(is_owed: bool) -> Self {
        if is_owed { Self::Report } else { Self::Nothing }
    }
}

impl ActiveMessage {
    /// Whether no work on the message is left.
    pub(crate) fn is_over(&self) -> bool {
        self.jobs.is_empty() && self.reporting == Owed::Nothing
    }

    /// Whether delivery is not tried again.
    pub(crate) fn is_returned(&self) -> bool {
        self.owed.max(self.reporting) == Owed::Return
    }

    /// Starts the owed action. Returns whether it is a return.
    pub(crate) fn report(&mut self) -> bool {
        self.reporting = std::mem::take(&mut self.owed);
        self.reporting == Owed::Return
    }

    /// Ends the action that was being done.
    pub(crate) fn reported(&mut self, reported: Reported) {
        if std::mem::take(&mut self.reporting) == Owed::Return {
            self.notify(Return::Done(reported));
        }
    }

    /// Sends the result of the return, once.
    pub(crate) fn notify(&mut self, of: Return) {
        if let Some(returns) = self.returns.take() {
            // The receiver may be gone.
            let _ = returns.send(of);
        }
    }

    pub(crate) fn end_job(&mut self, destination: &DestinationKey) {
        if let Some(at) = self.jobs.iter().position(|key| key == destination) {
            self.jobs.swap_remove(at);
        }
    }
}

/// The claim on a message, and which of its recipients are being worked on.
///
/// A recipient's destination may change during an attempt, as routes are read at every attempt. So
/// two jobs at different destinations may have the same recipient.
#[derive(Debug, Default)]
pub(crate) struct MessageClaim {
    claim: OnceCell<Option<Claim>>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    recipients: BTreeSet<usize>,
    /// Settlements recorded so far: a record read before the last one is out of date.
    settlements: u64,
}

/// Recipients that no other task works on until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    message_claim: Arc<MessageClaim>,
    recipients: Vec<usize>,
}

/// The claim, the record, and the recipients that are reserved.
pub(crate) type Hold = (Claim, Message, Reservation);

impl MessageClaim {
    /// Claims the message unless it is claimed already, and reserves the recipients that `choose`
    /// picks, given the record and the taken recipients. Returns `None` if the message is gone.
    pub(crate) async fn reserve<S: QueueStore>(
        self: &Arc<Self>,
        store: &S,
        id: QueueId,
        choose: impl Fn(&Message, &BTreeSet<usize>) -> Vec<usize>,
    ) -> Result<Option<Hold>, StoreError> {
        loop {
            let before = self.lock().settlements;
            let Some((claim, message)) = self.read(store, id).await? else {
                return Ok(None);
            };
            let mut taken = self.lock();
            if taken.settlements != before {
                continue;
            }
            let recipients = choose(&message, &taken.recipients);
            taken.recipients.extend(&recipients);
            let reservation = Reservation {
                message_claim: Arc::clone(self),
                recipients,
            };
            return Ok(Some((claim, message, reservation)));
        }
    }

    /// Reads the record under the claim. Returns `None` if the message is gone.
    pub(crate) async fn read<S: QueueStore>(
        &self,
        store: &S,
        id: QueueId,
    ) -> Result<Option<(Claim, Message)>, StoreError> {
        let mut first = None;
        let take = async || {
            let taken = store.claim(id).await?;
            Ok::<_, StoreError>(taken.map(|(claim, message)| {
                first = Some(message);
                claim
            }))
        };
        let Some(claim) = *self.claim.get_or_try_init(take).await? else {
            return Ok(None);
        };
        let message = match first {
            Some(message) => Some(message),
            None => store.get(id).await?,
        };
        Ok(message.map(|message| (claim, message)))
    }

    /// Counts a settlement that has been recorded.
    pub(crate) fn settled(&self) {
        self.lock().settlements += 1;
    }

    /// Returns the recipients that are being worked on.
    pub(crate) fn taken(&self) -> BTreeSet<usize> {
        self.lock().recipients.clone()
    }

    /// Returns the claim, if there is one.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.claim.get().copied().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // A panic cannot leave half a change under this lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Returns the indices of the recipients, in order.
    pub(crate) fn recipients(&self) -> &[usize] {
        &self.recipients
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.message_claim.lock();
        for index in &self.recipients {
            taken.recipients.remove(index);
        }
    }
}
