//! What a task wants the store to record: changes of recipients, and perhaps a report.

use relay_message::{Message, NewMessage, QueueId, RecipientChange};

use crate::events;
use crate::quota::Permit;

/// The changes that a task wants recorded.
pub(crate) struct Draft {
    pub(crate) changes: Vec<RecipientChange>,
    pub(crate) report: Option<Report>,
    pub(crate) told_of_delay: Vec<usize>,
}

/// A report that is to enter the queue.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) message: NewMessage,
    permit: Permit,
}

impl Report {
    pub(crate) fn new(message: NewMessage, permit: Permit) -> Self {
        Self { message, permit }
    }

    /// Logs that the report is in the queue. Returns it as a message.
    pub(crate) fn entered(self, about: QueueId) -> Message {
        self.permit.used();
        let NewMessage {
            id,
            origin,
            envelope,
            arrived,
            head,
            body,
        } = self.message;
        for to in &envelope.recipients {
            events::bounce_msg(about, id, to.path.as_str());
        }
        let size = (head.len() + body.len()) as u64;
        Message::new(id, arrived, origin, envelope, size)
    }
}
