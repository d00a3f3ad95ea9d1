//! The signing table, and the signing of one message.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mail_auth::common::crypto::SigningKey as _;

use crate::author::{AuthorError, author_domain};
use crate::body::{BodyHash, Canonicalization};
use crate::field::{Field, fields};
use crate::header_list::{HeaderList, Selected};
use crate::key::PrivateKey;
use crate::name::{Domain, Selector};
use crate::signature_field::{SignatureField, signed};

/// One line of the signing table.
#[derive(Debug)]
pub struct Entry {
    /// Mail from this domain is signed.
    pub domain: Domain,
    /// Under which name in the domain receivers find the key.
    pub selector: Selector,
    /// What to sign with.
    pub key: PrivateKey,
    /// Whether mail from domains below this one is signed as well, unless they have entries of their
    /// own.
    pub subdomains: bool,
    /// Which fields are signed.
    pub headers: HeaderList,
    /// How the body is hashed; fields are always signed in the relaxed form.
    pub body: Canonicalization,
    /// How long a signature is good; for ever if `None`. Longer than mail may be in queues on its way.
    pub expire: Option<Duration>,
}

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
    entries: Vec<Arc<Entry>>,
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

/// Why a message that is to be signed could not be; it must not be accepted unsigned.
#[derive(Debug, thiserror::Error)]
#[error("the key {selector} of {domain} did not sign: {source}")]
pub struct SignError {
    domain: Domain,
    selector: Selector,
    source: mail_auth::Error,
}

impl Signer {
    /// A table of these entries. Signatures stand in their order.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Result<Self, TableError> {
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
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

    /// All entries of the domain, or else of the nearest above it that signs for those below.
    fn entries_for(&self, domain: &Domain) -> Vec<Arc<Entry>> {
        let matching = self.entries.iter().filter(|entry| {
            entry.domain == *domain || (entry.subdomains && domain.is_at_or_below(&entry.domain))
        });
        let nearest = matching
            .clone()
            .map(|entry| entry.domain.as_str().len())
            .max();
        matching
            .filter(|entry| Some(entry.domain.as_str().len()) == nearest)
            .cloned()
            .collect()
    }
}

/// A message that is being signed.
#[derive(Debug)]
pub struct Signing {
    pending: Vec<Pending>,
    /// One hash for each form that an entry wants.
    bodies: Vec<(Canonicalization, BodyHash)>,
}

/// What is known of a signature before the body has come.
#[derive(Debug)]
struct Pending {
    entry: Arc<Entry>,
    selected: Selected,
}

impl Signing {
    fn new(entries: Vec<Arc<Entry>>, fields: &[Field<'_>]) -> Self {
        let mut bodies: Vec<(Canonicalization, BodyHash)> = Vec::new();
        for entry in &entries {
            if !bodies.iter().any(|(form, _)| *form == entry.body) {
                bodies.push((entry.body, BodyHash::new(entry.body)));
            }
        }
        let pending = entries
            .into_iter()
            .map(|entry| Pending {
                selected: entry.headers.select(fields),
                entry,
            })
            .collect();
        Self { pending, bodies }
    }

    /// The domains and selectors that sign, for the log.
    pub fn names(&self) -> impl Iterator<Item = (&Domain, &Selector)> {
        self.pending
            .iter()
            .map(|pending| (&pending.entry.domain, &pending.entry.selector))
    }

    /// Takes the next octets of the body, that is of what follows the empty line. Where they are cut
    /// makes no difference.
    pub fn write(&mut self, chunk: &[u8]) {
        for (_, body) in &mut self.bodies {
            body.write(chunk);
        }
    }

    /// The signature fields, to be put before the message as they are.
    ///
    /// This computes one signature for each entry, an RSA one in a good part of a millisecond: an
    /// executor's thread that has much other work should not do it.
    pub fn finish(self, now: SystemTime) -> Result<Vec<u8>, SignError> {
        let hashes: Vec<(Canonicalization, [u8; 32])> = self
            .bodies
            .into_iter()
            .map(|(form, body)| (form, body.finish()))
            .collect();
        let mut signatures = Vec::new();
        for Pending { entry, selected } in self.pending {
            let (_, hash) = hashes
                .iter()
                .find(|(form, _)| *form == entry.body)
                .expect("each entry's form has a hash");
            sign(&entry, selected, hash, now, &mut signatures).map_err(|source| SignError {
                domain: entry.domain.clone(),
                selector: entry.selector.clone(),
                source,
            })?;
        }
        Ok(signatures)
    }
}

fn sign(
    entry: &Entry,
    selected: Selected,
    body_hash: &[u8],
    now: SystemTime,
    out: &mut Vec<u8>,
) -> mail_auth::Result<()> {
    // A clock before 1970 gives a signature of 1970.
    let time = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let unsigned = SignatureField {
        algorithm: entry.key.public().algorithm(),
        body: entry.body,
        domain: &entry.domain,
        selector: &entry.selector,
        time,
        expires: entry
            .expire
            .map(|expire| time.saturating_add(expire.as_secs())),
        names: &selected.names,
        body_hash,
    }
    .unsigned();
    let input = signing_input(selected.canonical, unsigned.as_bytes());
    let signature = entry.key.signing().sign(input.as_slice())?;
    out.extend_from_slice(signed(unsigned, &signature).as_bytes());
    Ok(())
}

/// What is signed: the fields, and behind them the signature's own field with an empty `b=`, as it will
/// stand in the message but without its line's end (RFC 6376 §3.7).
fn signing_input(mut canonical: Vec<u8>, unsigned: &[u8]) -> Vec<u8> {
    for field in fields(unsigned) {
        field.write_relaxed(&mut canonical);
    }
    canonical
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::keygen::GeneratedKey;
    use crate::{Algorithm, body};

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn entry(domain: &str, selector: &str) -> Entry {
        let generated = GeneratedKey::generate(Algorithm::Ed25519).unwrap();
        Entry {
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

    fn sign(entries: Vec<Entry>, body: &[u8]) -> String {
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
        let below = |entry| Entry {
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
        let expired = Entry {
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
        let lasting = Entry {
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
                 h=From:From:Reply-To:To:Cc:Subject:Subject; bh="
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

    /// RFC 8463 appendix A: the key, the message and the signature.
    #[test]
    fn the_example_of_rfc_8463_comes_out_as_printed() {
        let seed = STANDARD
            .decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
            .unwrap();
        // RFC 8410 §7: what stands before an Ed25519 seed in PKCS#8.
        let frame = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let der = STANDARD.encode([frame.as_slice(), &seed].concat());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let key = PrivateKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(
            STANDARD.encode(&key.public().octets),
            "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        );

        let message = include_str!("../tests/vectors/rfc8463.eml").replace('\n', "\r\n");
        let (header, body) = message.split_once("\r\n\r\n").unwrap();
        let header = format!("{header}\r\n");
        let all: Vec<_> = fields(header.as_bytes()).collect();
        let list = ["from", "to", "subject", "date", "message-id"];
        let mut canonical = Vec::new();
        for name in list {
            let field = all.iter().rev().find(|field| field.is(name)).unwrap();
            field.write_relaxed(&mut canonical);
            canonical.extend_from_slice(b"\r\n");
        }
        let (unsigned, printed) = header
            .split_once("DKIM-Signature")
            .and_then(|(_, rest)| rest.split_once("\r\nDKIM-Signature"))
            .and_then(|(first, _)| first.split_once(" b="))
            .unwrap();
        let unsigned = format!("DKIM-Signature{unsigned} b=\r\n");
        let input = signing_input(canonical, unsigned.as_bytes());
        let signature = key.signing().sign(input.as_slice()).unwrap();
        let printed: String = printed.split_whitespace().collect();
        assert_eq!(STANDARD.encode(signature), printed);

        let mut hash = body::BodyHash::new(Canonicalization::Relaxed);
        hash.write(body.as_bytes());
        assert_eq!(
            STANDARD.encode(hash.finish()),
            "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
        );
    }
}
