//! The signing table, and the signing of one message.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mail_auth::common::crypto::SigningKey as _;
use mail_auth::dkim::{Canonicalization as Form, Signature};

use crate::author::{AuthorError, author_domain};
use crate::body::{BodyHash, Canonicalization};
use crate::field::{Field, fields};
use crate::header_list::{HeaderList, Selected};
use crate::key::PrivateKey;
use crate::name::{Domain, Selector};

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
    /// This computes one signature for each entry, an RSA one in about a millisecond: an executor's
    /// thread that has other work should not do it.
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
    // A clock before 1970 gives a signature without a time.
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let mut signature = Signature {
        v: 1,
        a: entry.key.mail_auth_algorithm(),
        d: entry.domain.as_str().to_owned(),
        s: entry.selector.as_str().to_owned(),
        bh: body_hash.to_vec(),
        h: selected.names,
        t: now,
        x: entry
            .expire
            .map_or(0, |expire| now.saturating_add(expire.as_secs())),
        ch: Form::Relaxed,
        cb: entry.body.into(),
        ..Signature::default()
    };
    let mut unsigned = Vec::new();
    signature.write(&mut unsigned, true);
    let input = signing_input(selected.canonical, &unsigned);
    signature.b = entry.key.signing().sign(input.as_slice())?;
    signature.write(out, true);
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

impl From<Canonicalization> for Form {
    fn from(form: Canonicalization) -> Self {
        match form {
            Canonicalization::Relaxed => Self::Relaxed,
            Canonicalization::Simple => Self::Simple,
        }
    }
}

impl fmt::Display for Canonicalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relaxed => "relaxed",
            Self::Simple => "simple",
        })
    }
}
