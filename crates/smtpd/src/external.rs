//! Mail of external clients: checks it, and removes Authentication-Results fields forged in our name.

use std::sync::Arc;

use relay_smtp::Reply;
use relay_smtp::server::replies;

use crate::inbound_check::{CheckResult, InboundCheck, MessageCheck, MessageSource, Refusal};
use relay_smtp::header;

/// A message whose header section is still coming in.
#[derive(Debug)]
pub(crate) struct External {
    pub(crate) inbound: Arc<dyn InboundCheck>,
    pub(crate) source: MessageSource,
}

/// A message whose header section is complete and whose check is running.
#[derive(Debug)]
pub(crate) struct Checking(Box<dyn MessageCheck>);

impl External {
    /// Starts the check. `message` holds all of the header section, and perhaps the beginning of the
    /// body. Returns `None` if messages are not checked.
    ///
    /// The message is checked as it came. If the empty line between header section and body is missing, it
    /// is added afterwards; a reader might otherwise take the beginning of the body for header fields.
    pub(crate) fn begin(self, message: &mut Vec<u8>) -> Option<Checking> {
        let fields = header::length(message);
        let mut examination = self
            .inbound
            .check_message(self.source, &message[..fields])?;
        let body = header::separate_body(message);
        examination.pass(&message[body..]);
        header::remove(message, |field| {
            self.inbound.is_forged(field.name, field.value)
        });
        Some(Checking(examination))
    }
}

impl Checking {
    /// Takes the next octets of the body.
    pub(crate) fn pass(&mut self, body: &[u8]) {
        self.0.pass(body);
    }

    /// Finishes the check: returns the field to put at the top, or the reply that refuses the message.
    pub(crate) async fn finish(self) -> Result<String, Box<Reply>> {
        let CheckResult { field, refusal } = self.0.finish().await;
        let reply = match refusal {
            None => return Ok(field),
            Some(Refusal::DmarcReject { domain, spf, dkim }) => {
                replies::fails_dmarc(&domain, spf, dkim)
            }
            Some(Refusal::TooManyAuthors) => replies::too_many_authors(),
            Some(Refusal::UnreadableAuthor) => replies::unreadable_author(),
        };
        Err(Box::new(reply))
    }
}
