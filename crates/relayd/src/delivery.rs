//! Plugs `remote` into `send`.

use std::sync::Arc;

use relay_queue as queue;
use relay_remote::{Body, Content, Job, Observer, Remote};
use relay_send::{Attempt, Deliver, DestinationKey, Progress};
use relay_smtp::{ForwardPath, Outcome, Recipient, ReversePath};

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
        let recipients = attempt.recipients.into_iter().zip(attempt.wishes);
        let recipient = |(path, (notify, orcpt))| Recipient {
            path,
            notify,
            orcpt,
        };
        let job = Job {
            sender: attempt.sender,
            recipients: recipients.map(recipient).collect(),
            dsn: attempt.dsn,
            eight_bit: attempt.eight_bit,
            utf8: attempt.utf8,
            size: attempt.size,
            content: Content {
                head: attempt.content.head,
                body,
            },
            observer: Arc::new(Told(attempt.progress)),
        };
        self.0.deliver(job).await
    }
}

/// Passes on how far a delivery has come.
#[derive(Debug)]
struct Told(Progress);

impl Observer for Told {
    fn connected(&self) {
        self.0.connected();
    }

    fn passed_on(&self, recipient: usize) {
        self.0.passed_on(recipient);
    }
}
