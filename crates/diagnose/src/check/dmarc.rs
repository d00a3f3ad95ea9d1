//! DMARC (RFC 7489): checks the policy of the domain, and whether its mail would pass.

use std::borrow::Cow;

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::dmarc::{Alignment, Dmarc, Policy};
use relay_remote::dns::{Dns, LookupError};

use super::finding::{Finding, txt_record};

const DMARC: &str = "DMARC";

/// The results of SPF and DKIM.
pub(super) struct Passed<'a> {
    /// Whether SPF passes. `None` if only the operator of a smarthost can know.
    pub(super) spf: Option<bool>,
    /// The domains for which a DKIM signature would be valid.
    pub(super) dkim: &'a [String],
    /// The domains for which this is unknown.
    pub(super) unknown: &'a [String],
}

/// The DMARC records that apply to a domain, and the domain that has them.
#[derive(Debug)]
pub(super) struct Found {
    /// The domain itself, or a parent domain.
    at: String,
    records: Result<Vec<String>, LookupError>,
}

/// Looks up the domain, then its parent domains, except top-level domains.
pub(super) async fn look_up(dns: &Dns, domain: &str) -> Found {
    let mut at = domain;
    loop {
        let records = records(dns, at).await;
        let above = at.split_once('.').map(|(_, above)| above);
        match (&records, above.filter(|above| above.contains('.'))) {
            (Ok(none), Some(above)) if none.is_empty() => at = above,
            _ => {
                return Found {
                    at: at.to_owned(),
                    records,
                };
            }
        }
    }
}

async fn records(dns: &Dns, domain: &str) -> Result<Vec<String>, LookupError> {
    let texts = match dns.txt(&format!("_dmarc.{domain}")).await {
        Ok(texts) => texts,
        Err(LookupError::NoSuchName | LookupError::NoRecords) => Vec::new(),
        Err(reason) => return Err(reason),
    };
    let texts = texts.iter().map(|text| String::from_utf8_lossy(text));
    // RFC 7489 §6.6.3: other records are ignored.
    let is_dmarc = |text: &String| text.trim_start().starts_with("v=DMARC1");
    Ok(texts.map(Cow::into_owned).filter(is_dmarc).collect())
}

pub(super) fn judge(domain: &str, found: Found, passed: &Passed<'_>) -> Finding {
    let Found { at, records } = found;
    let mut records = match records {
        Ok(records) => records,
        Err(reason) => {
            let text = format!("_dmarc.{at}: cannot be looked up: {reason}");
            return Finding::fail(DMARC, text);
        }
    };
    let several = records.len() > 1;
    let Some(record) = records.pop() else {
        let value = format!("v=DMARC1; p=none; rua=mailto:postmaster@{domain}");
        let text = format!("missing: {domain} has no DMARC record");
        let record = txt_record(&format!("_dmarc.{domain}"), &value);
        return Finding::fail(DMARC, text).with(record);
    };
    if several {
        let text = format!(
            "_dmarc.{at} has several records, so receivers use none of them: keep only one"
        );
        return Finding::fail(DMARC, text);
    }
    match Dmarc::parse(record.as_bytes()) {
        Ok(policy) if policy.p != Policy::Unspecified => {
            judge_passing(domain, &at, &policy, passed)
        }
        _ => Finding::fail(DMARC, format!("_dmarc.{at} cannot be read: {record:?}")),
    }
}

fn judge_passing(domain: &str, at: &str, record: &Dmarc, passed: &Passed<'_>) -> Finding {
    let below = at != domain && record.sp != Policy::Unspecified;
    let policy = policy(if below { record.sp } else { record.p });
    // The envelope sender has the same domain, so SPF is aligned if it passes.
    let spf = passed.spf;
    let aligned = |signer: &String| match record.adkim {
        Alignment::Strict => signer.eq_ignore_ascii_case(domain),
        Alignment::Relaxed => is_same_or_below(domain, signer),
    };
    let dkim = passed.dkim.iter().any(aligned);
    if !dkim && passed.unknown.iter().any(aligned) {
        let spf = match spf {
            Some(true) => "SPF passes and is aligned",
            Some(false) => "SPF does not pass",
            None => "SPF depends on your smarthost",
        };
        let text = format!("{policy}; {spf}; whether DKIM passes is unknown without the key");
        return Finding::warn(DMARC, text);
    }
    let (level, by): (fn(_, _) -> _, _) = match (spf, dkim) {
        (Some(true), true) => (Finding::ok, "SPF and DKIM both pass and are aligned"),
        (None, true) => (Finding::ok, "DKIM passes and is aligned"),
        (Some(true), false) => (
            Finding::warn,
            "SPF passes and is aligned, DKIM does not: forwarded mail will not pass",
        ),
        (Some(false), true) => (Finding::warn, "DKIM passes and is aligned, SPF does not"),
        (None, false) => (
            Finding::warn,
            "DKIM does not pass, so everything depends on SPF for your smarthost",
        ),
        (Some(false), false) => (Finding::fail, "neither SPF nor DKIM passes and is aligned"),
    };
    level(DMARC, format!("{policy}; {by}"))
}

fn is_same_or_below(domain: &str, above: &str) -> bool {
    let (domain, above) = (domain.to_ascii_lowercase(), above.to_ascii_lowercase());
    domain == above || domain.ends_with(&format!(".{above}"))
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::None | Policy::Unspecified => "none: forged mail is only reported",
        Policy::Quarantine => "quarantine",
        Policy::Reject => "reject",
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use relay_testkit::FakeDns;

    async fn judged(domain: &str, texts: &[&str], spf: bool, dkim: &[&str]) -> Finding {
        let fake = FakeDns::start().await;
        if !texts.is_empty() {
            fake.set("_dmarc.a.test", "TXT", texts);
        }
        let found = look_up(&Dns::new(&[fake.address()]), domain).await;
        let dkim: Vec<_> = dkim.iter().map(ToString::to_string).collect();
        let spf = Some(spf);
        let passed = Passed {
            spf,
            dkim: &dkim,
            unknown: &[],
        };
        judge(domain, found, &passed)
    }

    #[tokio::test]
    async fn a_key_that_was_not_compared_does_not_pass() {
        let fake = FakeDns::start().await;
        fake.set("_dmarc.a.test", "TXT", &["v=DMARC1; p=reject"]);
        let dns = Dns::new(&[fake.address()]);
        for spf in [Some(true), Some(false), None] {
            let passed = Passed {
                spf,
                dkim: &[],
                unknown: &["a.test".to_owned()],
            };
            let finding = judge("a.test", look_up(&dns, "a.test").await, &passed);
            assert_eq!(finding.level, Level::Warn, "{finding:?}");
            assert!(finding.text.contains("is unknown"), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn mail_passes_with_spf_or_dkim() {
        let reject = &["v=DMARC1; p=reject"][..];
        for (spf, dkim, level) in [
            (true, &["a.test"][..], Level::Ok),
            (true, &[], Level::Warn),
            (false, &["a.test"], Level::Warn),
            (false, &[], Level::Fail),
            (false, &["b.test"], Level::Fail),
        ] {
            let finding = judged("a.test", reject, spf, dkim).await;
            assert_eq!(finding.level, level, "{finding:?}");
        }
    }

    #[tokio::test]
    async fn a_record_that_is_missing_or_not_alone_or_invalid_fails() {
        for (texts, word) in [
            (&[][..], "missing"),
            (&["v=spf1 -all"], "missing"),
            (&["v=DMARC1; p=none", "v=DMARC1; p=reject"], "several"),
            (&["v=DMARC1; p=perhaps"], "cannot be read"),
            (&["v=DMARC1"], "cannot be read"),
        ] {
            let finding = judged("a.test", texts, true, &["a.test"]).await;
            assert_eq!(finding.level, Level::Fail, "{finding:?}");
            assert!(finding.text.contains(word), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn a_subdomain_has_the_record_of_its_parent_and_its_alignment() {
        let relaxed = judged(
            "x.a.test",
            &["v=DMARC1; p=none; sp=reject"],
            true,
            &["a.test"],
        )
        .await;
        assert_eq!(relaxed.level, Level::Ok, "{relaxed:?}");
        assert!(relaxed.text.starts_with("reject"), "{relaxed:?}");
        let strict = judged(
            "x.a.test",
            &["v=DMARC1; p=none; adkim=s"],
            false,
            &["a.test"],
        )
        .await;
        assert_eq!(strict.level, Level::Fail, "{strict:?}");
    }
}
