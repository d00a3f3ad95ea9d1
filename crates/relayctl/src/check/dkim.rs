//! DKIM: whether receivers find the keys that this relay signs with.

use std::io;

use relay_dkim::{KeyError, PrivateKey, Record, Verdict, compare};
use relay_remote::dns::Dns;

use super::finding::{Finding, txt_record};
use crate::dkim::{Entry, published};

const DKIM: &str = "DKIM";

/// What became of the keys.
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// The domains in whose name a signature would verify.
    pub(super) verified: Vec<String>,
}

/// The keys that sign mail from this domain.
pub(super) async fn dkim(dns: &Dns, domain: &str, entries: &[Entry]) -> Checked {
    let mut checked = Checked {
        findings: Vec::new(),
        verified: Vec::new(),
    };
    for entry in entries.iter().filter(|entry| signs(entry, domain)) {
        let (finding, is_good) = key(dns, entry).await;
        checked.findings.push(finding);
        if is_good {
            checked.verified.push(entry.domain.to_ascii_lowercase());
        }
    }
    if checked.findings.is_empty() {
        let text = format!(
            "no key signs mail from {domain}: make one (relayctl dkim genkey --domain {domain} \
             --selector mail --out FILE) and name it in [[dkim]]"
        );
        checked.findings.push(Finding::warn(DKIM, text));
    }
    checked
}

fn signs(entry: &Entry, domain: &str) -> bool {
    let (own, domain) = (
        entry.domain.to_ascii_lowercase(),
        domain.to_ascii_lowercase(),
    );
    domain == own || entry.subdomains && domain.ends_with(&format!(".{own}"))
}

async fn key(dns: &Dns, entry: &Entry) -> (Finding, bool) {
    let (domain, selector) = match entry.names() {
        Ok(names) => names,
        Err(reason) => return (Finding::fail(DKIM, reason), false),
    };
    let name = Record::name(&domain, &selector);
    let found = match published(dns, &name).await {
        Ok(records) => records,
        Err(reason) => {
            let text = format!("{name}: cannot be looked up: {reason}");
            return (Finding::fail(DKIM, text), false);
        }
    };
    match PrivateKey::load(&entry.key) {
        Ok(key) => {
            let expected = Record::new(key.public(), &domain, &selector);
            let verdict = compare(key.public(), &found);
            (judge(&expected, &verdict), verdict.is_ok())
        }
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            let text = format!(
                "{name}: {}, but only the user that relayd runs as can compare it with the key: run \
                 this as root",
                match found.len() {
                    0 => "no record".to_owned(),
                    1 => "there is a record".to_owned(),
                    several => format!("multiple records ({several})"),
                }
            );
            let finding = if found.len() == 1 {
                Finding::warn
            } else {
                Finding::fail
            };
            (finding(DKIM, text), found.len() == 1)
        }
        Err(reason) => (Finding::fail(DKIM, format!("{name}: {reason}")), false),
    }
}

fn judge(expected: &Record, verdict: &Verdict) -> Finding {
    let name = &expected.name;
    let record = || txt_record(name, &expected.value);
    match verdict {
        Verdict::Ok { testing: false } => Finding::ok(DKIM, format!("{name} has the key")),
        Verdict::Ok { testing: true } => {
            Finding::warn(DKIM, format!("{name}: {verdict}")).with(record())
        }
        Verdict::NoRecord => {
            Finding::fail(DKIM, format!("{name}: missing: no record")).with(record())
        }
        Verdict::Revoked => Finding::fail(
            DKIM,
            format!("{name}: revoked; make a new key with a new selector"),
        ),
        Verdict::DoesNotMatch(_) | Verdict::Multiple(_) | Verdict::WeakKey { .. } => {
            Finding::fail(DKIM, format!("{name}: {verdict}")).with(record())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use relay_testkit::FakeDns;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    /// RFC 8463 §A.2
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";
    const TEXT: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const NAME: &str = "mail._domainkey.a.test";

    async fn checked(domain: &str, texts: &[&str], mode: u32) -> Checked {
        let fake = FakeDns::start().await;
        if !texts.is_empty() {
            fake.set(NAME, "TXT", texts);
        }
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(KEY.as_bytes()).expect("written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file.path(), mode).expect("a mode");
        let entry = Entry {
            domain: "a.test".to_owned(),
            selector: "mail".to_owned(),
            key: file.path().to_owned(),
            subdomains: true,
        };
        dkim(&Dns::new(&[fake.address()]), domain, &[entry]).await
    }

    #[tokio::test]
    async fn a_key_is_compared_with_its_record() {
        let other = TEXT.replace("11qY", "11qZ");
        for (texts, level, word) in [
            (&[TEXT][..], Level::Ok, "has the key"),
            (&[&other], Level::Fail, "does not match"),
            (&[], Level::Fail, "missing: no record"),
            (&[TEXT, &other], Level::Fail, "multiple"),
            (&["v=DKIM1; k=ed25519; p="], Level::Fail, "revoked"),
        ] {
            let checked = checked("a.test", texts, 0o600).await;
            let finding = &checked.findings[0];
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.text.contains(word), "{finding:?}");
            assert_eq!(checked.verified.len(), usize::from(level == Level::Ok));
        }
        let missing = checked("a.test", &[], 0o600).await;
        let record = format!("{NAME}. IN TXT \"{TEXT}\"");
        assert_eq!(missing.findings[0].record.as_ref(), Some(&record));
    }

    #[tokio::test]
    async fn a_key_that_the_relay_would_refuse_fails() {
        let checked = checked("a.test", &[TEXT], 0o644).await;
        assert_eq!(checked.findings[0].level, Level::Fail);
        assert!(checked.findings[0].text.contains("chmod 600"));
    }

    #[tokio::test]
    async fn a_key_signs_for_domains_below_if_it_may() {
        let below = checked("sub.a.test", &[TEXT], 0o600).await;
        assert_eq!(below.verified, ["a.test"]);
        let other = checked("b.test", &[TEXT], 0o600).await;
        assert_eq!(other.findings[0].level, Level::Warn);
        assert!(other.findings[0].text.contains("no key signs"));
    }
}
