//! DKIM (RFC 6376): the keys of a message's signatures, all looked up at once.

use std::sync::Arc;
use std::time::SystemTime;

use mail_auth::dkim::{DkimError, Signature};
use mail_auth::{DkimOutput, DnsError, Error};
use relay_dkim::{BodyHashes, Claim, SignatureError};
use relay_remote::dns::{Dns, LookupError};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// What came of one signature.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) claim: Claim,
    pub(crate) outcome: Outcome,
}

/// Whether a signature counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pass,
    Flawed(SignatureError),
    /// Its key could not be looked up now.
    Unknown,
}

impl Verified {
    /// Now that the body has passed.
    fn with_body(mut self, hashes: &BodyHashes) -> Self {
        if let (Outcome::Pass, Ok(signature)) = (self.outcome, &self.claim.signature)
            && let Err(flaw) = hashes.check(signature)
        {
            self.outcome = Outcome::Flawed(flaw);
        }
        self
    }

    /// The domain that signed, where its signature passes or may do so later, as mail-auth has it.
    fn signature(&self) -> Option<Signature> {
        let signature = self.claim.signature.as_ref().ok()?;
        Some(Signature {
            d: signature.domain().to_owned(),
            ..Signature::default()
        })
    }
}

/// Verifies all of them but for the body.
pub(crate) async fn check(
    dns: &Arc<Dns>,
    claims: Vec<Claim>,
    now: SystemTime,
    end: Instant,
) -> Vec<Verified> {
    let mut answers = JoinSet::new();
    for (place, claim) in claims.iter().enumerate() {
        if let Ok(signature) = claim.signature.clone() {
            let dns = Arc::clone(dns);
            answers.spawn(async move {
                let records = timeout_at(end, dns.txt(&signature.key_name())).await;
                let outcome = match records {
                    Err(_) | Ok(Err(LookupError::Unavailable(_))) => Outcome::Unknown,
                    Ok(Err(LookupError::NoSuchName | LookupError::NoRecords)) => {
                        Outcome::Flawed(SignatureError::NoKey)
                    }
                    Ok(Ok(records)) => match signature.check_header(&records, now) {
                        Ok(()) => Outcome::Pass,
                        Err(flaw) => Outcome::Flawed(flaw),
                    },
                };
                (place, outcome)
            });
        }
    }
    let mut verified = unknown(claims);
    while let Some(answer) = answers.join_next().await {
        if let Ok((place, outcome)) = answer
            && let Some(verified) = verified.get_mut(place)
        {
            verified.outcome = outcome;
        }
    }
    verified
}

/// What can be said of signatures without their keys.
pub(crate) fn unknown(claims: Vec<Claim>) -> Vec<Verified> {
    let unknown = |claim: Claim| Verified {
        outcome: match claim.signature {
            Ok(_) => Outcome::Unknown,
            Err(flaw) => Outcome::Flawed(flaw),
        },
        claim,
    };
    claims.into_iter().map(unknown).collect()
}

/// The same, with what the body has to say.
pub(crate) fn with_body(verified: Vec<Verified>, hashes: &BodyHashes) -> Vec<Verified> {
    verified.into_iter().map(|v| v.with_body(hashes)).collect()
}

/// The domains of the signatures that DMARC has to know of.
pub(crate) fn domains(verified: &[Verified]) -> Vec<(Outcome, Signature)> {
    verified
        .iter()
        .filter_map(|verified| Some((verified.outcome, verified.signature()?)))
        .collect()
}

/// As mail-auth has them, for DMARC.
pub(crate) fn outputs(domains: &[(Outcome, Signature)]) -> Vec<DkimOutput<'_>> {
    domains
        .iter()
        .map(|(outcome, signature)| {
            let output = match outcome {
                Outcome::Pass => DkimOutput::pass(),
                Outcome::Flawed(_) => DkimOutput::fail(Error::Dkim(DkimError::FailedBodyHashMatch)),
                Outcome::Unknown => {
                    DkimOutput::temp_err(Error::Dns(DnsError::Resolver(String::new())))
                }
            };
            output.with_signature(signature)
        })
        .collect()
}
