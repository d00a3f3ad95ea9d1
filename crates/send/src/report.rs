//! Reporting what has failed for good, once no other work on the message is under way or due.

use std::sync::Arc;

use bytes::Bytes;
use relay_queue::{
    Body, Claim, Content, Message, NewMessage, QueueId, QueueStore, Recipient, RecipientChange,
    RecipientState, Settlement, StoreError,
};
use tokio::task;

use crate::attempt::Context;
use crate::bounce::{Failure, MAX_HEADERS};
use crate::clock::Clock;
use crate::deliver::Deliver;
use crate::events;
use crate::flight::Docket;
use crate::news::{LastWord, News};
use crate::recipients::{self, Todo};
use crate::schedule::Due;

impl<S: QueueStore, D: Deliver, C: Clock> Context<S, D, C> {
    /// Reports what has failed and not been reported, and settles it in the same batch; where the
    /// message is `returned`, with everything that has not been delivered.
    pub(crate) async fn report(self: Arc<Self>, id: QueueId, docket: Arc<Docket>, returned: bool) {
        let last_word = LastWord::new(&self.news, News::Reported(id, None));
        let bounce = loop {
            match self.try_report(id, &docket, returned).await {
                Ok(bounce) => break bounce,
                Err(StoreError::Damaged { .. }) => break None,
                Err(StoreError::ClaimLost(_)) => {
                    events::claim_lost(id);
                    break None;
                }
                Err(
                    e @ (StoreError::NoRoom { .. }
                    | StoreError::Io { .. }
                    | StoreError::Database { .. }
                    | StoreError::Locked { .. }
                    | StoreError::Closed { .. }),
                ) => {
                    events::store_error("reporting the failure of", id, &e);
                    self.stuck(id).await;
                }
            }
        };
        last_word.tell(News::Reported(id, bounce));
    }

    /// The bounce that has entered the queue, if one has.
    async fn try_report(
        &self,
        id: QueueId,
        docket: &Docket,
        returned: bool,
    ) -> Result<Option<Todo>, StoreError> {
        let Some((claim, mut message)) = docket.read(&*self.store, id).await? else {
            return Ok(None);
        };
        let mut changes = Vec::new();
        if returned {
            changes = recipients::give_back(&message, self.clock.now());
            message.apply(changes.clone());
        }
        let failed: Vec<(usize, &Recipient)> = recipients::unreported(&message).collect();
        if failed.is_empty() {
            return Ok(None);
        }
        let bounce = self.bounce(claim, &message, &failed).await?;
        let todo = bounce.as_ref().map(|bounce| self.todo(bounce));
        let entered = bounce
            .as_ref()
            .map(|b| (b.id, b.envelope.recipients[0].address.to_string()));
        let settled = |&(index, _): &(usize, &Recipient)| RecipientChange {
            index,
            state: RecipientState::Failed { reported: true },
            attempt: None,
        };
        changes.extend(failed.iter().map(settled));
        let settlement = Settlement {
            recipients: changes,
            bounces: bounce.into_iter().collect(),
            ..Settlement::default()
        };
        let has_left = self.record(claim, &settlement).await?;
        match entered {
            Some((bounce, to)) => events::bounce_msg(id, bounce, &to),
            None => events::discard(&message),
        }
        if has_left {
            events::end_msg(id);
        }
        Ok(todo)
    }

    async fn bounce(
        &self,
        claim: Claim,
        message: &Message,
        failed: &[(usize, &Recipient)],
    ) -> Result<Option<NewMessage>, StoreError> {
        let headers = header_octets(self.store.open(claim).await?).await;
        let failure = Failure {
            message,
            recipients: failed.iter().map(|(_, r)| *r).collect(),
            headers: &headers,
        };
        let (id, now) = (self.store.next_id(), self.clock.now());
        Ok(self.reporter.report(id, &failure, now))
    }

    fn todo(&self, bounce: &NewMessage) -> Todo {
        let envelope = &bounce.envelope;
        let waits = envelope.recipients.iter().map(|to| {
            let key = self.deliver.destination(&envelope.sender, &to.address);
            (key, Due::At(bounce.arrived))
        });
        Todo {
            id: bounce.id,
            arrived: bounce.arrived,
            jobs: recipients::jobs(waits),
            owes_report: false,
        }
    }
}

/// As much of a message as its header section may be in a report.
async fn header_octets(content: Content) -> Vec<u8> {
    let mut octets = content.head[..content.head.len().min(MAX_HEADERS)].to_vec();
    match content.body {
        Body::Inline(body) => octets.extend_from_slice(&body[..body.len().min(MAX_HEADERS)]),
        Body::File { file, length } => {
            let read = task::spawn_blocking(move || read_start(&file, length));
            octets.extend_from_slice(&read.await.unwrap_or_default());
        }
    }
    octets
}

/// A report without the original's headers is better than none, so an error gives nothing.
fn read_start(file: &std::fs::File, length: u64) -> Bytes {
    use std::io::Read;
    let mut start = Vec::new();
    let limit = length.min(MAX_HEADERS as u64);
    match file.take(limit).read_to_end(&mut start) {
        Ok(_) => start.into(),
        Err(_) => Bytes::new(),
    }
}
