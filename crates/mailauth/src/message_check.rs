//! The check of one message.

use std::sync::Arc;
use std::time::Duration;

use mail_auth::SpfResult as SpfVerdict;
use relay_dkim::{AuthorError, Authors, Bodies, Claim, Domain, author_domains, claims};
use relay_remote::dns::Dns;
use relay_smtpd::inbound_check::{CheckFuture, CheckResult, MessageCheck, MessageSource, Refusal};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::authentication_results::{self as results, Results};
use crate::cache::TxtCache;
use crate::dmarc::{Alignment, Disposition, DmarcResult, PolicyRecords, may_align};
use crate::signatures::{self, SignatureResult};
use crate::spf::{self, Identity, SpfResult};
use crate::{Policy, events};

/// How long DMARC may look up records at the end of the message. Most of them are there already.
const JUDGING: Duration = Duration::from_secs(1);

/// The check of a message whose header section is complete and whose body is still coming in. Dropping
/// it cancels the lookups.
#[derive(Debug)]
pub(crate) struct RunningCheck {
    context: Arc<Context>,
    claims: Vec<Claim>,
    bodies: Bodies,
    lookups: AbortOnDropHandle<Lookups>,
}

/// The facts that are known at the start of the check.
#[derive(Debug)]
struct Context {
    dns: Arc<Dns>,
    hostname: Arc<str>,
    policy: Policy,
    source: MessageSource,
    authors: Result<Authors, AuthorError>,
    cache: TxtCache,
    records: PolicyRecords,
    /// When all lookups end at the latest.
    end: Instant,
}

/// The results of the lookups.
#[derive(Debug)]
struct Lookups {
    spf: SpfVerdict,
    signatures: Vec<SignatureResult>,
}

impl RunningCheck {
    pub(crate) fn begin(
        dns: Arc<Dns>,
        hostname: Arc<str>,
        policy: Policy,
        timeout: Duration,
        source: MessageSource,
        header: &[u8],
    ) -> Self {
        let (claims, bodies) = claims(header);
        let context = Arc::new(Context {
            dns,
            hostname,
            policy,
            source,
            authors: author_domains(header),
            cache: TxtCache::default(),
            records: PolicyRecords::default(),
            end: Instant::now() + timeout,
        });
        let lookups = {
            let (context, claims) = (Arc::clone(&context), claims.clone());
            tokio::spawn(async move { context.look_up(claims).await })
        };
        Self {
            context,
            claims,
            bodies,
            lookups: AbortOnDropHandle::new(lookups),
        }
    }

    /// Returns the result of the check, at the end of the message.
    async fn conclude(self) -> CheckResult {
        let hashes = self.bodies.finish();
        // If the task failed, nothing is known about the message.
        let lookups = self.lookups.await.unwrap_or_else(|_| Lookups {
            spf: SpfVerdict::TempError,
            signatures: signatures::unknown(self.claims),
        });
        let signatures = signatures::with_body(lookups.signatures, &hashes);
        let spf = SpfResult {
            result: lookups.spf,
            identity: Identity::of(&self.context.source),
        };
        self.context.conclude(&spf, &signatures).await
    }
}

impl MessageCheck for RunningCheck {
    fn pass(&mut self, body: &[u8]) {
        self.bodies.write(body);
    }

    fn finish(self: Box<Self>) -> CheckFuture<CheckResult> {
        Box::pin(self.conclude())
    }
}

impl Context {
    async fn look_up(&self, claims: Vec<Claim>) -> Lookups {
        let spf = spf::check(&self.dns, &self.cache, &self.hostname, &self.source);
        let spf = async {
            timeout_at(self.end, spf)
                .await
                .unwrap_or(SpfVerdict::TempError)
        };
        let now = self.source.begun;
        let names = self.names(&claims);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (spf, signatures, ()) = tokio::join!(
            spf,
            signatures::check(&self.dns, claims, now, self.end),
            self.records.fetch(&self.dns, &self.cache, &names, self.end),
        );
        Lookups { spf, signatures }
    }

    /// Returns the domains whose policy records may be needed: those of the authors, and those of
    /// SPF and DKIM that may align with them.
    fn names(&self, claims: &[Claim]) -> Vec<String> {
        let authors: Vec<&str> = self.authors().map(Domain::as_str).collect();
        let identity = Identity::of(&self.source);
        let signers = claims
            .iter()
            .filter_map(|claim| claim.signature.as_ref().ok());
        let speakers = signers.map(|s| s.domain()).chain([identity.domain()]);
        let speakers = speakers.filter(|name| authors.iter().any(|author| may_align(name, author)));
        authors
            .iter()
            .copied()
            .chain(speakers)
            .map(str::to_owned)
            .collect()
    }

    async fn conclude(&self, spf: &SpfResult, signatures: &[SignatureResult]) -> CheckResult {
        let domains = signatures::domains(signatures);
        let outputs = signatures::outputs(&domains);
        let end = self.end.max(Instant::now() + JUDGING);
        let mut judged = Vec::new();
        for author in self.authors() {
            let judging = self
                .records
                .judge(&self.dns, &self.cache, author, spf, &outputs);
            let in_time = timeout_at(end, judging).await;
            judged.push(in_time.unwrap_or_else(|_| DmarcResult::unknown(author)));
        }
        let decisive = decisive(&judged);
        let disposition = match (self.policy, &self.authors) {
            (Policy::Report, _) => Disposition::None,
            (Policy::Enforce, Err(AuthorError::TooManyDomains | AuthorError::Unreadable)) => {
                Disposition::Reject
            }
            (Policy::Enforce, Ok(authors)) if authors.has_unreadable => Disposition::Reject,
            (Policy::Enforce, _) => decisive.map_or(Disposition::None, DmarcResult::disposition),
        };
        let results = Results {
            hostname: &self.hostname,
            spf,
            signatures,
            dmarc: self
                .authors
                .as_ref()
                .map(|_| judged.as_slice())
                .map_err(|error| *error),
            disposition,
        };
        self.log(&results, decisive);
        CheckResult {
            field: results.field(),
            refusal: (disposition == Disposition::Reject)
                .then(|| self.refusal(decisive, spf, signatures)),
        }
    }

    /// Returns the domains of the authors that can be read.
    fn authors(&self) -> impl Iterator<Item = &Domain> {
        self.authors.iter().flat_map(|authors| &authors.domains)
    }

    fn refusal(
        &self,
        decisive: Option<&DmarcResult>,
        spf: &SpfResult,
        signatures: &[SignatureResult],
    ) -> Refusal {
        match decisive.filter(|judged| judged.disposition() == Disposition::Reject) {
            Some(judged) => Refusal::DmarcReject {
                domain: judged.author.to_string(),
                spf: results::of_spf(spf.result),
                dkim: results::of_signatures(signatures),
            },
            None if self.authors == Err(AuthorError::TooManyDomains) => Refusal::TooManyAuthors,
            None => Refusal::UnreadableAuthor,
        }
    }

    fn log(&self, results: &Results<'_>, decisive: Option<&DmarcResult>) {
        let client = self.source.client;
        events::checked(&events::Results {
            id: &self.source.id.to_string(),
            client: &client.map_or_else(|| "-".to_owned(), |client| client.to_string()),
            from: decisive.map_or("-", |judged| judged.author.as_str()),
            spf: results::of_spf(results.spf.result),
            dkim: results::of_signatures(results.signatures),
            dmarc: decisive.map_or("permerror", |judged| results::of_dmarc(judged.result)),
            policy: decisive.map_or("none", |judged| judged.policy.as_str()),
            disposition: match results.disposition {
                Disposition::None => "accepted",
                Disposition::Quarantine => "quarantine",
                Disposition::Reject => "refused",
            },
        });
    }
}

/// Returns the result that decides. If several authors' domains fail, it is the one with the
/// strictest policy (RFC 7489 §6.6.1). If none fails, it is the first.
fn decisive(judged: &[DmarcResult]) -> Option<&DmarcResult> {
    let failed = judged
        .iter()
        .filter(|judged| judged.result == Alignment::Fail);
    failed
        .max_by_key(|judged| judged.policy)
        .or_else(|| judged.first())
}
