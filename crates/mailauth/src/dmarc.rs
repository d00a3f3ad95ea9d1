//! DMARC (RFC 9989): whether SPF or DKIM passes for the author's domain, and that domain's policy.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::dmarc::{Dmarc, Policy};
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DmarcOutput, DnsError, Error, MessageAuthenticator,
    Parameters, Txt,
};
use relay_dkim::Domain;
use relay_remote::dns::{Dns, LookupError};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::cache::TxtCache;
use crate::spf::SpfResult;

/// The most names whose records are prefetched for one message: eight names for each of four author
/// domains, and some for domains that may align with them. Other records are looked up when needed.
const MAX_NAMES: usize = 48;

/// The DMARC result for one domain of the From field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DmarcResult {
    pub(crate) author: Domain,
    pub(crate) result: Alignment,
    /// The policy of the domain for messages that fail.
    pub(crate) policy: Disposition,
}

/// Whether SPF or DKIM passes for a domain that aligns with the author's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alignment {
    Pass,
    Fail,
    /// The domain has no policy.
    None,
    TempError,
    PermError,
}

impl DmarcResult {
    /// The result for a domain whose record could not be looked up.
    pub(crate) fn unknown(author: &Domain) -> Self {
        Self {
            author: author.clone(),
            result: Alignment::TempError,
            policy: Disposition::None,
        }
    }

    /// What to do with the message according to this domain.
    pub(crate) fn disposition(&self) -> Disposition {
        match self.result {
            Alignment::Fail => self.policy,
            Alignment::Pass | Alignment::None | Alignment::TempError | Alignment::PermError => {
                Disposition::None
            }
        }
    }
}

/// The value of `p=`, `sp=` or `np=`, whichever applies, from the mildest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disposition {
    None,
    Quarantine,
    Reject,
}

impl Disposition {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    /// One step milder, for a domain that is only testing its policy.
    fn milder(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

/// The policy records that may be needed, fetched before the results of SPF and DKIM are known.
#[derive(Debug, Default)]
pub(crate) struct PolicyRecords {
    /// The records whose `pct=` is below 100.
    partial: Mutex<Vec<Arc<Dmarc>>>,
}

impl PolicyRecords {
    /// Fetches the records of these domains and of their parent domains in parallel (RFC 9989 §4.10),
    /// in order of importance.
    pub(crate) async fn fetch(
        &self,
        dns: &Arc<Dns>,
        cache: &TxtCache,
        domains: &[&str],
        end: Instant,
    ) {
        let mut known = HashSet::new();
        let names = domains.iter().flat_map(|domain| walk(domain));
        let names = names.filter(|name| known.insert(name.clone()));
        let mut answers = JoinSet::new();
        for name in names.take(MAX_NAMES) {
            let dns = Arc::clone(dns);
            answers.spawn(async move {
                let name = format!("_dmarc.{name}");
                let texts = timeout_at(end, dns.txt(&name)).await;
                (name, texts.unwrap_or_else(|_| Err(late())))
            });
        }
        while let Some(answer) = answers.join_next().await {
            if let Ok((name, texts)) = answer {
                cache.set(&name, self.read(texts));
            }
        }
    }

    /// The record of a name. If there are several, none counts (RFC 7489 §6.6.3).
    fn read(&self, texts: Result<Vec<Vec<u8>>, LookupError>) -> Txt {
        let none = Txt::Error(Error::Dns(DnsError::InvalidRecordType));
        let texts = match texts {
            Ok(texts) => texts,
            Err(LookupError::NoSuchName | LookupError::NoRecords) => return none,
            Err(LookupError::Unavailable(reason)) => {
                return Txt::Error(Error::Dns(DnsError::Resolver(reason)));
            }
        };
        let mut records = texts
            .iter()
            .filter_map(|text| Some((Dmarc::parse(text).ok()?, text)));
        match (records.next(), records.next()) {
            (Some((record, text)), None) => {
                let record = Arc::new(record);
                if is_partial(text) {
                    let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
                    partial.push(Arc::clone(&record));
                }
                Txt::Dmarc(record)
            }
            _ => none,
        }
    }

    fn is_partial(&self, record: &Arc<Dmarc>) -> bool {
        let partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.iter().any(|known| Arc::ptr_eq(known, record))
    }

    /// Evaluates DMARC for one of the authors' domains.
    pub(crate) async fn judge(
        &self,
        dns: &Dns,
        cache: &TxtCache,
        author: &Domain,
        spf: &SpfResult,
        dkim: &[DkimOutput<'_>],
    ) -> DmarcResult {
        let Ok(resolver) = dns.resolver() else {
            return DmarcResult::unknown(author);
        };
        let message = AuthenticatedMessage {
            from: vec![format!("@{author}")],
            ..AuthenticatedMessage::default()
        };
        let spf_output = spf.output();
        let parameters = DmarcParameters {
            message: &message,
            dkim_output: dkim,
            dkim2_output: None,
            rfc5321_mail_from_domain: spf.identity.domain(),
            spf_output: &spf_output,
        };
        let parameters = Parameters::new(parameters).with_txt_cache(cache);
        let output = MessageAuthenticator(resolver)
            .verify_dmarc(parameters)
            .await;
        DmarcResult {
            author: author.clone(),
            result: alignment(&output),
            policy: self.asked(&output),
        }
    }

    /// Returns the policy of the domain. RFC 9989 has no `pct=` any more, but a domain that still
    /// has it below 100 does not want all of its mail refused. It counts like `t=y`.
    fn asked(&self, output: &DmarcOutput) -> Disposition {
        let asked = match output.policy() {
            Policy::None | Policy::Unspecified => Disposition::None,
            Policy::Quarantine => Disposition::Quarantine,
            Policy::Reject => Disposition::Reject,
        };
        let record = output.dmarc_record_cloned();
        if record.is_some_and(|record| !record.t && self.is_partial(&record)) {
            return asked.milder();
        }
        asked
    }
}

fn late() -> LookupError {
    LookupError::Unavailable("no answer in time".to_owned())
}

/// The names to query, from the domain upwards, at most eight (RFC 9989 §4.10).
fn walk(domain: &str) -> Vec<String> {
    let labels: Vec<&str> = domain
        .split('.')
        .filter(|label| !label.is_empty())
        .collect();
    if labels.len() < 2 {
        return Vec::new();
    }
    let name = |count: usize| {
        labels[labels.len() - count..]
            .join(".")
            .to_ascii_lowercase()
    };
    let above = (1..labels.len()).rev().filter(|count| *count < 8);
    std::iter::once(labels.len())
        .chain(above)
        .map(name)
        .collect()
}

/// Whether two domains could have the same organizational domain.
pub(crate) fn may_align(one: &str, other: &str) -> bool {
    let mut pairs = one.rsplit('.').zip(other.rsplit('.'));
    let mut is_next_same = || pairs.next().is_some_and(|(a, b)| a.eq_ignore_ascii_case(b));
    is_next_same() && is_next_same()
}

fn is_partial(record: &[u8]) -> bool {
    let text = String::from_utf8_lossy(record);
    let percent = text.split(';').find_map(|tag| {
        let (name, value) = tag.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("pct")
            .then(|| value.trim().parse::<u8>().ok())?
    });
    percent.is_some_and(|percent| percent < 100)
}

fn alignment(output: &DmarcOutput) -> Alignment {
    match output.result() {
        mail_auth::DmarcResult::Pass => Alignment::Pass,
        mail_auth::DmarcResult::Fail(_) => Alignment::Fail,
        mail_auth::DmarcResult::TempError(_) => Alignment::TempError,
        mail_auth::DmarcResult::PermError(_) => Alignment::PermError,
        mail_auth::DmarcResult::None => Alignment::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_leads_from_the_domain_to_the_top_in_eight_steps() {
        assert_eq!(walk("A.b.test"), ["a.b.test", "b.test", "test"]);
        assert_eq!(walk("localhost"), [""; 0]);
        let long = "10.9.8.7.6.5.4.3.2.1";
        let names = walk(long);
        assert_eq!(names.len(), 8);
        assert_eq!(names[..2], [long.to_owned(), "7.6.5.4.3.2.1".to_owned()]);
    }

    #[test]
    fn a_record_for_part_of_the_mail_is_recognized() {
        for (record, partial) in [
            ("v=DMARC1; p=reject; pct=0", true),
            ("v=DMARC1; PCT = 99 ; p=reject", true),
            ("v=DMARC1; p=reject; pct=100", false),
            ("v=DMARC1; p=reject; pct=x", false),
            ("v=DMARC1; p=reject", false),
        ] {
            assert_eq!(is_partial(record.as_bytes()), partial, "{record}");
        }
    }

    #[test]
    fn domains_may_align_only_with_two_labels_in_common() {
        assert!(may_align("a.b.test", "c.B.test"));
        assert!(may_align("b.test", "b.test"));
        assert!(!may_align("a.test", "b.test"));
        assert!(!may_align("test", "test"));
    }
}
