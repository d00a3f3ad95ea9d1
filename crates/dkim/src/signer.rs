//! The signing table, and which of its keys sign a message.

use std::collections::HashSet;
use std::sync::Arc;

use crate::author::{AuthorError, author_domain};
use crate::signing::Signing;
use crate::table::{SigningEntry, signing_entries};
use relay_smtp::dns_name::{Domain, Selector};
use relay_smtp::header::{Field, fields};

/// Why there can be no such table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two keys with one name in the DNS.
    #[error(
        "there are two keys for the selector {selector} of {domain}; give each a selector of its own"
    )]
    Duplicate {
        /// The domain of both.
        domain: Domain,
        /// The selector of both.
        selector: Selector,
    },
    /// A signature that is expired when it is made.
    #[error("signatures for {domain} would expire at once; `expire` is a second at least")]
    Expired {
        /// The entry's domain.
        domain: Domain,
    },
}

/// The signing table. Any number of messages may be signed by it at a time.
#[derive(Debug, Default)]
pub struct Signer {
    entries: Vec<Arc<SigningEntry>>,
}

/// Whether a message is to be signed.
#[derive(Debug)]
pub enum Decision {
    /// Yes, by this.
    Sign(Signing),
    /// No: its domain is not in the table.
    NotOurs(Domain),
    /// No: it cannot be told whose it is.
    Unclear(AuthorError),
}

impl Signer {
    /// A table of these entries. Signatures stand in their order.
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

    /// Whether there is nothing to sign with.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Decides on a message by its header section: all of it, as it will go out, lines ended by CR LF;
    /// what follows an empty line is not looked at.
    ///
    /// Whether the client may have its mail signed is for the caller to know.
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
    fn the_nearest_domain_of_the_table_signs_with_all_its_keys() {
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
    fn a_message_of_unclear_origin_is_not_signed() {
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
    fn a_table_names_each_key_once_and_signatures_that_last() {
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
    fn a_signature_says_what_it_covers_and_until_when() {
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
    fn a_signer_is_shared_between_threads_and_a_signing_goes_to_another() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<Signer>();
        shared::<Signing>();
    }
}
