//! DKIM: checks whether receivers find the keys that this relay signs with.

use std::io;

use relay_config::ConfigError;
use relay_dkim::{
    KeyError, PrivateKey, Record, Verdict, compare, is_key_record, is_revoked, signing_entries,
};
use relay_remote::dns::Dns;

use super::finding::Finding;
use crate::dkim::{ConfiguredKey, published};

const DKIM: &str = "DKIM";

/// The result for the keys.
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// The domains for which a signature would be valid.
    pub(super) verified: Vec<String>,
    /// The domains for which this is unknown, because the key cannot be read.
    pub(super) unknown: Vec<String>,
}

/// Whether a signature would be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verified {
    Yes,
    No,
    Unknown,
}

/// Checks the keys that sign mail from this domain. `problem` is the first problem with a `[[dkim]]`, which is
/// not among the entries.
pub(super) async fn dkim(
    dns: &Dns,
    domain: &str,
    entries: &[ConfiguredKey],
    problem: Option<&ConfigError>,
) -> Checked {
    let mut checked = Checked {
        findings: Vec::new(),
        verified: Vec::new(),
        unknown: Vec::new(),
    };
    let unusable = problem.map(|problem| Finding::fail(DKIM, problem.to_string()));
    checked.findings.extend(unusable);
    for entry in signing(domain, entries) {
        let (finding, verified) = key(dns, entry).await;
        checked.findings.push(finding);
        match verified {
            Verified::Yes => checked.verified.push(entry.domain.to_string()),
            Verified::Unknown => checked.unknown.push(entry.domain.to_string()),
            Verified::No => {}
        }
    }
    if checked.findings.is_empty() {
        let text = format!(
            "no key signs mail from {domain}: create one (relayctl dkim genkey --domain {domain} \
             --selector mail --out FILE) and add a [[dkim]] for it"
        );
        checked.findings.push(Finding::warn(DKIM, text));
    }
    checked
}

/// Returns a warning if bounces, which come from the hostname, are not signed although other mail
/// is.
pub(super) fn bounces(hostname: &str, entries: &[ConfiguredKey]) -> Option<Finding> {
    if entries.is_empty() || !signing(hostname, entries).is_empty() {
        return None;
    }
    let text = format!(
        "bounces are from {hostname}, for which no key signs: create a key for it, or set \
         subdomains = true in the [[dkim]] of its parent domain"
    );
    Some(Finding::warn(DKIM, text))
}

/// Returns the keys that sign mail from the domain.
fn signing<'a>(domain: &str, entries: &'a [ConfiguredKey]) -> Vec<&'a ConfiguredKey> {
    match domain.parse() {
        Ok(domain) => signing_entries(entries, &domain, |entry| (&entry.domain, entry.subdomains)),
        Err(_) => Vec::new(),
    }
}

async fn key(dns: &Dns, entry: &ConfiguredKey) -> (Finding, Verified) {
    let ConfiguredKey {
        domain, selector, ..
    } = entry;
    let name = Record::name(domain, selector);
    let found = match published(dns, &name).await {
        Ok(records) => records,
        Err(reason) => {
            let text = format!("{name}: cannot be looked up: {reason}");
            return (Finding::fail(DKIM, text), Verified::No);
        }
    };
    match PrivateKey::load(&entry.key) {
        Ok(key) => {
            let expected = Record::new(key.public(), domain, selector);
            let verdict = compare(key.public(), &found);
            let verified = if verdict.is_ok() {
                Verified::Yes
            } else {
                Verified::No
            };
            (judge(&expected, &verdict), verified)
        }
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            without_key(&name, &found)
        }
        Err(reason) => {
            let text = format!("{name}: {reason}");
            (Finding::fail(DKIM, text), Verified::No)
        }
    }
}

/// Judges the records at a name if the key that they belong to cannot be read.
fn without_key(name: &str, found: &[Vec<u8>]) -> (Finding, Verified) {
    let wrong = match found {
        [] => "no record".to_owned(),
        [record] if is_revoked(record) => "revoked".to_owned(),
        [record] if is_key_record(record) => {
            let text = format!(
                "{name}: there is a record, but only the user that relayd runs as can compare it with \
                 the key: run this as root"
            );
            return (Finding::warn(DKIM, text), Verified::Unknown);
        }
        [_] => "the record is not a DKIM key record".to_owned(),
        several => format!("multiple records ({})", several.len()),
    };
    let text = format!("{name}: {wrong}; run this as root to see the right one");
    (Finding::fail(DKIM, text), Verified::No)
}

fn judge(expected: &Record, verdict: &Verdict) -> Finding {
    let name = &expected.name;
    let record = || expected.line();
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
            format!("{name}: revoked; create a new key with a new selector"),
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
        let entry = ConfiguredKey {
            domain: "a.test".parse().expect("a domain"),
            selector: "mail".parse().expect("a selector"),
            key: file.path().to_owned(),
            subdomains: true,
        };
        dkim(&Dns::new(&[fake.address()]), domain, &[entry], None).await
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
    async fn a_dkim_table_that_cannot_be_used_fails() {
        let file = std::path::Path::new("relayd.toml");
        let problem = ConfigError::of_file(file, "dkim.domain: no domain");
        let checked = dkim(&Dns::new(&[]), "a.test", &[], Some(&problem)).await;
        let expected = Finding::fail(DKIM, "relayd.toml: dkim.domain: no domain");
        assert_eq!(checked.findings, [expected]);
    }

    #[tokio::test]
    async fn a_key_that_the_relay_would_refuse_fails() {
        let checked = checked("a.test", &[TEXT], 0o644).await;
        assert_eq!(checked.findings[0].level, Level::Fail);
        assert!(checked.findings[0].text.contains("chmod 600"));
    }

    #[test]
    fn a_record_that_cannot_be_compared_does_not_verify() {
        for (texts, level, verified) in [
            (&[TEXT][..], Level::Warn, Verified::Unknown),
            (&[], Level::Fail, Verified::No),
            (&["v=DKIM1; k=ed25519; p="], Level::Fail, Verified::No),
            (&["v=spf1 -all"], Level::Fail, Verified::No),
            (&[TEXT, TEXT], Level::Fail, Verified::No),
        ] {
            let texts: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            let (finding, found) = without_key(NAME, &texts);
            assert_eq!((finding.level, found), (level, verified), "{finding:?}");
        }
    }

    #[test]
    fn the_keys_are_those_that_the_relay_signs_with() {
        let entry = |domain: &str, subdomains| ConfiguredKey {
            domain: domain.parse().expect("a domain"),
            selector: "mail".parse().expect("a selector"),
            key: "/k".into(),
            subdomains,
        };
        let entries = [
            entry("B\u{fc}cher.test", true),
            entry("own.b\u{fc}cher.test", false),
        ];
        for (domain, own) in [
            ("b\u{fc}cher.test", Some("xn--bcher-kva.test")),
            ("x.xn--bcher-kva.test", Some("xn--bcher-kva.test")),
            ("own.xn--bcher-kva.test", Some("own.xn--bcher-kva.test")),
            ("x.test", None),
        ] {
            let found = signing(domain, &entries);
            let domains: Vec<_> = found.iter().map(|entry| entry.domain.as_str()).collect();
            assert_eq!(domains, own.into_iter().collect::<Vec<_>>(), "{domain}");
        }
    }

    #[test]
    fn bounces_without_a_signature_are_a_warning() {
        let entry = |subdomains| ConfiguredKey {
            domain: "a.test".parse().expect("a domain"),
            selector: "mail".parse().expect("a selector"),
            key: "/k".into(),
            subdomains,
        };
        let warning = bounces("mx.a.test", &[entry(false)]).expect("a warning");
        assert!(warning.level == Level::Warn && warning.text.contains("subdomains = true"));
        assert_eq!(bounces("mx.a.test", &[entry(true)]), None);
        assert_eq!(bounces("mx.a.test", &[]), None);
    }

    #[tokio::test]
    async fn a_key_signs_for_subdomains_if_it_is_configured_so() {
        let below = checked("sub.a.test", &[TEXT], 0o600).await;
        assert_eq!(below.verified, ["a.test"]);
        let other = checked("b.test", &[TEXT], 0o600).await;
        assert_eq!(other.findings[0].level, Level::Warn);
        assert!(other.findings[0].text.contains("no key signs"));
    }
}
