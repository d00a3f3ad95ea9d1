//! Plugs `remote` into `send`.

use std::sync::Arc;

use relay_queue as queue;
use relay_remote::{Body, Content, Job, Remote};
use relay_send::{Attempt, Deliver, DestinationKey};
use relay_smtp::{ForwardPath, Outcome, ReversePath};

/// Deliveries by MX or smarthost.
#[derive(Debug)]
pub(crate) struct Delivery(pub(crate) Remote);

impl Deliver for Delivery {
    fn destination(&self, sender: &ReversePath, recipient: &ForwardPath) -> DestinationKey {
        DestinationKey(self.0.destination(sender, recipient))
    }

    async fn deliver(&self, attempt: Attempt) -> Vec<Outcome> {
        let body = match attempt.content.body {
            queue::Body::Inline(bytes) => Body::Inline(bytes),
            queue::Body::File { file, length } => Body::File {
                file: Arc::new(file),
                length,
            },
        };
        let job = Job {
            sender: attempt.sender,
            recipients: attempt.recipients,
            eight_bit: attempt.eight_bit,
            utf8: attempt.utf8,
            size: attempt.size,
            content: Content {
                head: attempt.content.head,
                body,
            },
        };
        self.0.deliver(job).await
    }
}
