//! The decision whether to sign a message, by the signing table.

use std::collections::HashSet;
use std::sync::Arc;

use crate::author::{AuthorError, author_domain};
use crate::signing::Signing;
use crate::table::{SigningEntry, signing_entries};
use relay_smtp::dns_name::{Domain, Selector};
use relay_smtp::header::{Field, fields};

/// Why a signing table is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two entries have the same domain and selector.
    #[error(
        "there are two keys for the selector {selector} of {domain}; give each its own selector"
    )]
    Duplicate {
        /// The domain of both entries.
        domain: Domain,
        /// The selector of both entries.
        selector: Selector,
    },
    /// The lifetime of signatures is too short.
    #[error("signatures for {domain} would expire at once; `expire` must be at least one second")]
    Expired {
        /// The domain of the entry.
        domain: Domain,
    },
}

/// The signing table. It can be used for any number of messages at the same time.
#[derive(Debug, Default)]
pub struct Signer {
    entries: Vec<Arc<SigningEntry>>,
}

/// Whether to sign a message.
#[derive(Debug)]
pub enum Decision {
    /// The message is to be signed.
    Sign(Signing),
    /// The message is not to be signed: this domain is not in the table.
    NotOurs(Domain),
    /// The message is not to be signed: its author's domain is not clear.
    Unclear(AuthorError),
}

impl Signer {
    /// Creates a table of these entries. A message gets its signatures in their order.
    pub fn new(entries: impl IntoIterator<Item = SigningEntry>) -> Result<Self, TableError> {
        let entries: Vec<Arc<SigningEntry>> = entries.into_iter().map(Arc::new).collect();
        let mut names = HashSet::new();
        for entry in &entries {
            if !names.insert((&entry.domain, &entry.selector)) {
                return Err(TableError::Duplicate {
                    domain: entry.domain.clone(),
                    selector: entry.selector.clone(),
                });
            }
            if entry.expire.is_some_and(|expire| expire.as_secs() == 0) {
                return Err(TableError::Expired {
                    domain: entry.domain.clone(),
                });
            }
        }
        Ok(Self { entries })
    }

    /// Whether the table has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Decides by the whole header section, as it will go out, with CR LF line ends. Nothing after
    /// an empty line is read.
    ///
    /// The caller decides whether the client may have its mail signed.
    pub fn decide(&self, header: &[u8]) -> Decision {
        let fields: Vec<Field<'_>> = fields(header).collect();
        let domain = match author_domain(&fields) {
            Ok(domain) => domain,
            Err(error) => return Decision::Unclear(error),
        };
        let entries = self.entries_for(&domain);
        if entries.is_empty() {
            return Decision::NotOurs(domain);
        }
        Decision::Sign(Signing::new(entries, &fields))
    }

    fn entries_for(&self, domain: &Domain) -> Vec<Arc<SigningEntry>> {
        let entries = self.entries.iter();
        let entries = signing_entries(entries, domain, |entry| (&entry.domain, entry.subdomains));
        entries.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::body::Canonicalization;
    use crate::header_list::HeaderList;
    use crate::key::PrivateKey;
    use crate::keygen::GeneratedKey;
    use crate::{Algorithm, body};

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn entry(domain: &str, selector: &str) -> SigningEntry {
        let generated = GeneratedKey::generate(Algorithm::Ed25519).unwrap();
        SigningEntry {
            domain: domain.parse().unwrap(),
            selector: selector.parse().unwrap(),
            key: PrivateKey::from_pem(generated.pem().as_bytes()).unwrap(),
            subdomains: false,
            headers: HeaderList::default(),
            body: Canonicalization::Relaxed,
            expire: None,
        }
    }

    /// The selectors that sign mail from this domain.
    fn selectors(signer: &Signer, domain: &str) -> Vec<String> {
        let header = format!("From: a@{domain}\r\n\r\n");
        match signer.decide(header.as_bytes()) {
            Decision::Sign(signing) => signing.names().map(|(_, s)| s.to_string()).collect(),
            Decision::NotOurs(_) => Vec::new(),
            Decision::Unclear(error) => panic!("{error}"),
        }
    }

    fn sign(entries: Vec<SigningEntry>, body: &[u8]) -> String {
        let signer = Signer::new(entries).unwrap();
        let header = b"From: a@b.test\r\nSubject: x\r\n\r\n";
        let Decision::Sign(mut signing) = signer.decide(header) else {
            panic!("not signed");
        };
        signing.write(body);
        String::from_utf8(signing.finish(UNIX_EPOCH + NOW).unwrap()).unwrap()
    }

    #[test]
    fn all_keys_of_the_nearest_domain_in_the_table_sign() {
        let below = |entry| SigningEntry {
            subdomains: true,
            ..entry
        };
        let signer = Signer::new([
            entry("b.test", "one"),
            below(entry("b.test", "two")),
            entry("own.b.test", "three"),
            below(entry("all.b.test", "four")),
        ])
        .unwrap();
        for (domain, expected) in [
            ("b.test", &["one", "two"][..]),
            ("B.TEST", &["one", "two"]),
            ("x.b.test", &["two"]),
            ("own.b.test", &["three"]),
            ("x.own.b.test", &["two"]),
            ("x.all.b.test", &["four"]),
            ("xb.test", &[]),
            ("test", &[]),
        ] {
            assert_eq!(selectors(&signer, domain), expected, "{domain}");
        }
    }

    #[test]
    fn a_message_without_a_clear_author_is_not_signed() {
        let signer = Signer::new([entry("b.test", "one")]).unwrap();
        for header in [
            "",
            "To: a@b.test\r\n",
            "From: a@b.test\r\nFrom: a@b.test\r\n",
        ] {
            let decision = signer.decide(header.as_bytes());
            assert!(matches!(decision, Decision::Unclear(_)), "{header:?}");
        }
    }

    #[test]
    fn a_table_rejects_duplicate_keys_and_signatures_that_expire_at_once() {
        let twice = Signer::new([entry("b.test", "one"), entry("B.test", "ONE")]);
        assert!(matches!(twice, Err(TableError::Duplicate { .. })));
        let expired = SigningEntry {
            expire: Some(Duration::from_millis(999)),
            ..entry("b.test", "one")
        };
        assert!(matches!(
            Signer::new([expired]),
            Err(TableError::Expired { .. })
        ));
    }

    #[test]
    fn a_signature_names_its_fields_and_its_expiry() {
        let lasting = SigningEntry {
            expire: Some(Duration::from_mins(1)),
            body: Canonicalization::Simple,
            ..entry("b.test", "two")
        };
        let text = sign(vec![entry("b.test", "one"), lasting], b" x \r\n");
        let (first, second) = text.split_at(text.rfind("DKIM-Signature: ").unwrap());
        let unfolded = |signature: &str| signature.replace("\r\n\t", " ");
        assert!(
            unfolded(first).starts_with(
                "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=b.test; s=one; t=1700000000; \
                 h=From:From:Reply-To:To:Cc:Subject:Subject:Content-Type; bh="
            ),
            "{first}"
        );
        assert!(
            unfolded(second)
                .contains("c=relaxed/simple; d=b.test; s=two; t=1700000000; x=1700000060; h="),
            "{second}"
        );
        for (signature, form) in [
            (first, Canonicalization::Relaxed),
            (second, Canonicalization::Simple),
        ] {
            let mut hash = body::BodyHash::new(form);
            hash.write(b" x \r\n");
            let unfolded: String = signature.split_whitespace().collect();
            assert!(unfolded.contains(&format!("bh={};", STANDARD.encode(hash.finish()))));
            assert!(signature.ends_with("==\r\n"), "{signature}");
            assert!(
                signature.lines().all(|line| line.len() <= 78),
                "{signature}"
            );
        }
    }

    #[test]
    fn a_signer_is_shared_between_threads_and_a_signing_can_move_to_another() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<Signer>();
        shared::<Signing>();
    }
}
