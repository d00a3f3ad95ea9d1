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
pub(crate) struct SignatureResult {
    pub(crate) claim: Claim,
    pub(crate) status: SignatureStatus,
}

/// Whether a signature counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureStatus {
    Pass,
    Failed(SignatureError),
    /// Its key could not be looked up now.
    Unknown,
}

impl SignatureResult {
    /// Now that the body has passed.
    fn with_body(mut self, hashes: &BodyHashes) -> Self {
        if let (SignatureStatus::Pass, Ok(signature)) = (self.status, &self.claim.signature)
            && let Err(flaw) = hashes.check(signature)
        {
            self.status = SignatureStatus::Failed(flaw);
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
) -> Vec<SignatureResult> {
    let mut answers = JoinSet::new();
    for (place, claim) in claims.iter().enumerate() {
        if let Ok(signature) = claim.signature.clone() {
            let dns = Arc::clone(dns);
            answers.spawn(async move {
                let records = timeout_at(end, dns.txt(&signature.key_name())).await;
                let status = match records {
                    Err(_) | Ok(Err(LookupError::Unavailable(_))) => SignatureStatus::Unknown,
                    Ok(Err(LookupError::NoSuchName | LookupError::NoRecords)) => {
                        SignatureStatus::Failed(SignatureError::NoKey)
                    }
                    Ok(Ok(records)) => match signature.check_header(&records, now) {
                        Ok(()) => SignatureStatus::Pass,
                        Err(flaw) => SignatureStatus::Failed(flaw),
                    },
                };
                (place, status)
            });
        }
    }
    let mut verified = unknown(claims);
    while let Some(answer) = answers.join_next().await {
        if let Ok((place, status)) = answer
            && let Some(verified) = verified.get_mut(place)
        {
            verified.status = status;
        }
    }
    verified
}

/// What can be said of signatures without their keys.
pub(crate) fn unknown(claims: Vec<Claim>) -> Vec<SignatureResult> {
    let unknown = |claim: Claim| SignatureResult {
        status: match claim.signature {
            Ok(_) => SignatureStatus::Unknown,
            Err(flaw) => SignatureStatus::Failed(flaw),
        },
        claim,
    };
    claims.into_iter().map(unknown).collect()
}

/// The same, with what the body has to say.
pub(crate) fn with_body(
    verified: Vec<SignatureResult>,
    hashes: &BodyHashes,
) -> Vec<SignatureResult> {
    verified.into_iter().map(|v| v.with_body(hashes)).collect()
}

/// The domains of the signatures that DMARC has to know of.
pub(crate) fn domains(verified: &[SignatureResult]) -> Vec<(SignatureStatus, Signature)> {
    verified
        .iter()
        .filter_map(|verified| Some((verified.status, verified.signature()?)))
        .collect()
}

/// As mail-auth has them, for DMARC.
pub(crate) fn outputs(domains: &[(SignatureStatus, Signature)]) -> Vec<DkimOutput<'_>> {
    domains
        .iter()
        .map(|(status, signature)| {
            let output = match status {
                SignatureStatus::Pass => DkimOutput::pass(),
                SignatureStatus::Failed(_) => {
                    DkimOutput::fail(Error::Dkim(DkimError::FailedBodyHashMatch))
                }
                SignatureStatus::Unknown => {
                    DkimOutput::temp_err(Error::Dns(DnsError::Resolver(String::new())))
                }
            };
            output.with_signature(signature)
        })
        .collect()
}
