//! DKIM (RFC 6376): verifies the signatures of a message, with all keys looked up in parallel.

use std::sync::Arc;
use std::time::SystemTime;

use mail_auth::dkim::{DkimError, Signature};
use mail_auth::{DkimOutput, DnsError, Error};
use relay_dkim::{BodyHashes, Claim, SignatureError};
use relay_remote::dns::{Dns, LookupError};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// The result of one signature.
#[derive(Debug, Clone)]
pub(crate) struct SignatureResult {
    pub(crate) claim: Claim,
    pub(crate) status: SignatureStatus,
}

/// Whether a signature verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureStatus {
    Pass,
    Failed(SignatureError),
    /// Its key could not be looked up because of a temporary error.
    Unknown,
}

impl SignatureResult {
    /// Adds the result of the body hash.
    fn with_body(mut self, hashes: &BodyHashes) -> Self {
        if let (SignatureStatus::Pass, Ok(signature)) = (self.status, &self.claim.signature)
            && let Err(flaw) = hashes.check(signature)
        {
            self.status = SignatureStatus::Failed(flaw);
        }
        self
    }

    /// The signing domain as a type of mail-auth, if the signature could be parsed.
    fn signature(&self) -> Option<Signature> {
        let signature = self.claim.signature.as_ref().ok()?;
        Some(Signature {
            d: signature.domain().to_owned(),
            ..Signature::default()
        })
    }
}

/// Verifies all signatures except for the body hash.
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

/// The results of signatures while their keys are unknown.
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

/// The same results, with the body hashes checked.
pub(crate) fn with_body(
    verified: Vec<SignatureResult>,
    hashes: &BodyHashes,
) -> Vec<SignatureResult> {
    verified.into_iter().map(|v| v.with_body(hashes)).collect()
}

/// The signing domains that DMARC needs.
pub(crate) fn domains(verified: &[SignatureResult]) -> Vec<(SignatureStatus, Signature)> {
    verified
        .iter()
        .filter_map(|verified| Some((verified.status, verified.signature()?)))
        .collect()
}

/// The results as types of mail-auth, for DMARC.
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
