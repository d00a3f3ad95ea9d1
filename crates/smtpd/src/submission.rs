//! Mail of clients that may relay: completes addresses, adds missing header fields, and signs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use relay_dkim::{Decision, Signing};
use relay_message::QueueId;
use relay_smtp::ReversePath;
use relay_smtp::header;

use crate::config::ServerConfig;
use crate::events;
use crate::missing_headers::{Addition, MissingHeaders};
use crate::rewrite::TooLong;
use crate::signing_pool::{SigningPool, SigningPoolError};

/// A message whose header section is still coming in, and how to process it.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) id: QueueId,
    /// When it began to come in.
    pub(crate) begun: SystemTime,
    /// Its sender, if it is submitted here for the first time: then its addresses are completed and
    /// missing fields are added.
    pub(crate) submitted_by: Option<ReversePath>,
    /// Whether it is from a user of this machine, such as cron. Bare addresses are then completed with
    /// `hostname`, unless the operator has configured another domain.
    pub(crate) is_local: bool,
    pub(crate) signing_pool: Arc<SigningPool>,
}

/// A message whose header section is complete and whose body is still coming in.
#[derive(Debug)]
pub(crate) struct Prepared {
    id: QueueId,
    added: String,
    signing: Option<Signing>,
    signing_pool: Arc<SigningPool>,
}

/// The text that is put in front of the message besides the Received field.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    /// At the very top: signatures (RFC 6376 §5.6), or the Authentication-Results field (RFC 8601
    /// §4.1).
    pub(crate) top: Vec<u8>,
    /// Below the Received field, together with the fields that the client wrote.
    pub(crate) fields: String,
}

impl Submission {
    /// Handles the header section. `message` holds all of it, and perhaps the beginning of the body.
    pub(crate) fn begin(self, message: &mut Vec<u8>) -> Result<Prepared, TooLong> {
        let mut added = String::new();
        if let Some(sender) = &self.submitted_by {
            self.rewrite(message)?;
            let addition = Addition {
                id: self.id,
                hostname: &self.config.hostname,
                now: self.begun,
                sender,
            };
            added = MissingHeaders::in_header(message).filled(&addition);
        }
        let mut prepared = Prepared {
            id: self.id,
            signing: self.signing(&added, message),
            added,
            signing_pool: self.signing_pool,
        };
        if prepared.signing.is_some() {
            let body = header::separate_body(message);
            prepared.pass(&message[body..]);
        }
        Ok(prepared)
    }

    /// Completes and replaces addresses in the header section.
    fn rewrite(&self, message: &mut Vec<u8>) -> Result<(), TooLong> {
        let length = header::length(message);
        let most = self.config.limits.session.header_size;
        let mut rewriting = Cow::Borrowed(&self.config.rewriting);
        if self.is_local && rewriting.domain.is_none() {
            rewriting.to_mut().domain = Some(Arc::clone(&self.config.hostname));
        }
        let rewritten = rewriting.header(&message[..length], most)?;
        if let Cow::Owned(fields) = rewritten {
            message.splice(..length, fields);
        }
        Ok(())
    }

    fn signing(&self, added: &str, message: &[u8]) -> Option<Signing> {
        let signer = &self.config.signer;
        if signer.is_empty() {
            return None;
        }
        let fields = &message[..header::length(message)];
        match signer.decide(&[added.as_bytes(), fields].concat()) {
            Decision::Sign(signing) => Some(signing),
            Decision::NotOurs(domain) => {
                events::unsigned(
                    self.id,
                    &format_args!("{domain} is not in the signing table"),
                );
                None
            }
            Decision::Unclear(reason) => {
                events::unsigned(self.id, &reason);
                None
            }
        }
    }
}

impl Prepared {
    /// Takes the next octets of the body.
    pub(crate) fn pass(&mut self, body: &[u8]) {
        if let Some(signing) = &mut self.signing {
            signing.write(body);
        }
    }

    /// Finishes after the whole message has passed.
    pub(crate) async fn finish(self, now: SystemTime) -> Result<Additions, SigningPoolError> {
        let signatures = match self.signing {
            Some(signing) => {
                let names: Vec<String> = signing
                    .names()
                    .map(|(domain, selector)| format!("{selector}._domainkey.{domain}"))
                    .collect();
                let signatures = self.signing_pool.sign(signing, now).await?;
                events::signed(self.id, &names.join(" "));
                signatures
            }
            None => Vec::new(),
        };
        Ok(Additions {
            top: signatures,
            fields: self.added,
        })
    }
}
