//! What mail of strangers goes through on its way in: it is checking, and nobody speaks in our name.

use std::sync::Arc;

use relay_smtp::Reply;
use relay_smtp::server::replies;

use crate::inbound_check::{CheckResult, InboundCheck, MessageCheck, MessageSource, Refusal};
use relay_smtp::header;

/// A message whose header section is still on its way.
#[derive(Debug)]
pub(crate) struct External {
    pub(crate) inbound: Arc<dyn InboundCheck>,
    pub(crate) source: MessageSource,
}

/// A message whose header section is known, and whose body passes by.
#[derive(Debug)]
pub(crate) struct Checking(Box<dyn MessageCheck>);

impl External {
    /// Looks at the header section, which `message` has whole, with whatever there is behind it; `None`
    /// where nobody wants to know.
    ///
    /// What is examined is the message as it came. It goes on with an empty line between header section
    /// and body, for a reader that finds none might go on to believe what the body says.
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
    /// The next octets of the body.
    pub(crate) fn pass(&mut self, body: &[u8]) {
        self.0.pass(body);
    }

    /// All of the message has passed: what stands above it, or why it is refused.
    pub(crate) async fn finish(self) -> Result<String, Box<Reply>> {
        let CheckResult { field, refusal } = self.0.finish().await;
        let reply = match refusal {
            None => return Ok(field),
            Some(Refusal::DmarcReject { domain, spf, dkim }) => {
                replies::disowned(&domain, spf, dkim)
            }
            Some(Refusal::TooManyAuthors) => replies::too_many_authors(),
        };
        Err(Box::new(reply))
    }
}
