//! Questions about strangers, answered by the resolver that deliveries use.

use std::net::IpAddr;
use std::sync::Arc;

use relay_smtpd::inbound::{Answer, Examination, Findings, Inbound, Listing, Refusal, Stranger};

use crate::delivery::Delivery;

/// What the operator wants to know of strangers, and whom to ask.
#[derive(Debug)]
pub(crate) struct Strangers {
    inbound: relay_mailauth::MailAuth,
    deliver: Arc<Delivery>,
}

impl Strangers {
    /// `None` where the operator wants to know nothing.
    pub(crate) fn wanted(
        settings: relay_mailauth::Settings,
        deliver: &Arc<Delivery>,
    ) -> Option<Arc<dyn Inbound>> {
        let inbound = relay_mailauth::MailAuth::new(settings);
        let deliver = Arc::clone(deliver);
        (!inbound.is_idle()).then(|| Arc::new(Self { inbound, deliver }) as Arc<dyn Inbound>)
    }
}

impl Inbound for Strangers {
    fn listing(&self, client: IpAddr) -> Option<Answer<Option<Listing>>> {
        let listing = self.inbound.listing(self.deliver.0.dns(), client)?;
        Some(Box::pin(async move {
            let relay_mailauth::Listing { list, text } = listing.await?;
            Some(Listing { list, text })
        }))
    }

    fn examine(&self, stranger: Stranger, header: &[u8]) -> Option<Box<dyn Examination>> {
        let stranger = relay_mailauth::MessageSource {
            id: stranger.id.to_string(),
            client: stranger.client,
            hello: stranger
                .hello
                .map_or_else(String::new, |name| name.to_string()),
            sender: stranger.sender,
            arrived: stranger.begun,
        };
        let examination = self.inbound.check(self.deliver.0.dns(), stranger, header)?;
        Some(Box::new(Examined(examination)))
    }

    fn is_forged(&self, name: &[u8], value: &[u8]) -> bool {
        self.inbound.is_forged(name, value)
    }
}

/// A message that is examined.
#[derive(Debug)]
struct Examined(relay_mailauth::MessageCheck);

impl Examination for Examined {
    fn pass(&mut self, body: &[u8]) {
        self.0.pass(body);
    }

    fn finish(self: Box<Self>) -> Answer<Findings> {
        Box::pin(async move {
            let relay_mailauth::CheckResult { field, refusal } = self.0.finish().await;
            Findings {
                field,
                refusal: refusal.map(|refusal| match refusal {
                    relay_mailauth::Refusal::DmarcReject { domain, spf, dkim } => {
                        Refusal::Disowned { domain, spf, dkim }
                    }
                    relay_mailauth::Refusal::TooManyAuthors => Refusal::TooManyAuthors,
                }),
            }
        })
    }
}
