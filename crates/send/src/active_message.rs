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
    pub(crate) owed: Owed,
    /// What of this is being done now.
    pub(crate) reporting: Owed,
    /// Receives the result when it has been returned to its sender.
    pub(crate) returns: Option<mpsc::UnboundedSender<Return>>,
    /// It was released meanwhile, so a record that was read may be out of date.
    pub(crate) was_released: bool,
}

/// What is to be done with a message once no work on it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Owed {
    #[default]
    Nothing,
    /// A report of failures to the sender.
    Report,
    /// The return to its sender, which the operator ordered. It is not tried again.
    Return,
}

impl Owed {
    pub(crate) fn report(is_owed: bool) -> Self {
        if is_owed { Self::Report } else { Self::Nothing }
    }
}

impl ActiveMessage {
    /// Whether no work on it is left.
    pub(crate) fn is_over(&self) -> bool {
        self.jobs.is_empty() && self.reporting == Owed::Nothing
    }

    /// Whether nothing more is to be tried.
    pub(crate) fn is_returned(&self) -> bool {
        self.owed.max(self.reporting) == Owed::Return
    }

    /// Starts what is owed. Returns whether that is a return.
    pub(crate) fn report(&mut self) -> bool {
        self.reporting = std::mem::take(&mut self.owed);
        self.reporting == Owed::Return
    }

    /// Ends the report that was being made.
    pub(crate) fn reported(&mut self, reported: Reported) {
        if std::mem::take(&mut self.reporting) == Owed::Return {
            self.notify(Return::Done(reported));
        }
    }

    /// Sends the result of its return, once.
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
    /// Claims the message if that has not been done, and reserves the recipients that `choose`
    /// picks from the record, given those that are taken. `None` if the message is gone.
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

    /// The record under the claim; `None` if the message is gone.
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

    /// A settlement has been recorded.
    pub(crate) fn settled(&self) {
        self.lock().settlements += 1;
    }

    /// Recipients that are being worked on.
    pub(crate) fn taken(&self) -> BTreeSet<usize> {
        self.lock().recipients.clone()
    }

    /// The claim, if there is one.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.claim.get().copied().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Every change under this lock is whole: a panic leaves no half.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Indices of the recipients, in order.
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
