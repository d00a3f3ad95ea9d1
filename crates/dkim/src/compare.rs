//! What the records that a name server gave say about a key.

use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::RsaParameters;
use base64::Engine as _;

use crate::key::{Algorithm, MIN_RSA_BITS, PublicKey};
use crate::record::Record;
use crate::tags::{BASE64, Tags};

/// The answer to: would receivers find our key in the DNS?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The record has our key.
    Ok {
        /// Whether it has the flag `t=y`: receivers then treat mail as if it were not signed.
        testing: bool,
    },
    /// No TXT record at the key's name.
    NoRecord,
    /// A record that does not let receivers verify what our key signs.
    DoesNotMatch(Mismatch),
    /// More TXT records than one; which of them receivers take is not defined (RFC 6376 §3.6.2.2).
    Multiple(usize),
    /// A record with an empty `p=`: whoever published it wants the key to be refused.
    Revoked,
    /// A record with an RSA key that is too short to be trusted; it is not ours, for such a key is not
    /// loaded.
    WeakKey {
        /// The size of the key in bits.
        bits: usize,
    },
}

/// How a record does not match a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// Another key of the same kind.
    Key,
    /// A key of another kind.
    Algorithm,
    /// No DKIM key record that could be read (RFC 6376 §3.6.1).
    Malformed,
    /// Its `h=` does not allow SHA-256.
    Hash,
    /// Its `s=` does not allow mail.
    Service,
}

impl Verdict {
    /// Whether receivers can verify what the key signs.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok { .. })
    }

    /// What to do about it, in a sentence; nothing if all is well.
    pub fn advice(&self, expected: &Record) -> Option<String> {
        let name = &expected.name;
        let line = expected.line();
        Some(match self {
            Self::Ok { testing: false } => return None,
            Self::Ok { testing: true } => {
                format!("take t=y out of the record at {name} when you have seen that mail arrives")
            }
            Self::NoRecord => format!("publish a TXT record at {name}: {line}"),
            Self::DoesNotMatch(Mismatch::Hash | Mismatch::Service) => {
                format!("take the h= and s= tags out of the record at {name}")
            }
            Self::DoesNotMatch(_) => format!(
                "put the key of this relay into the record at {name}: {line}; or, if that record is \
                 in use elsewhere, take another selector"
            ),
            Self::Multiple(_) => format!(
                "leave one TXT record at {name} and remove the others; a long key is one record of \
                 several strings: {line}"
            ),
            Self::Revoked => format!(
                "make a new key with a new selector; do not bring {name} back, for it was revoked for a \
                 reason"
            ),
            Self::WeakKey { .. } => {
                format!("put the key of this relay into the record at {name}: {line}")
            }
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok { testing: false } => f.write_str("ok"),
            Self::Ok { testing: true } => f.write_str("ok, but marked as a test (t=y)"),
            Self::NoRecord => f.write_str("no record"),
            Self::DoesNotMatch(mismatch) => write!(f, "does not match: {mismatch}"),
            Self::Multiple(count) => write!(f, "multiple records ({count})"),
            Self::Revoked => f.write_str("revoked"),
            Self::WeakKey { bits } => write!(f, "weak key: RSA with {bits} bits"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the record has another key",
            Self::Algorithm => "the record has a key of another kind",
            Self::Malformed => "the record is no DKIM key record",
            Self::Hash => "the record does not allow SHA-256 (h=)",
            Self::Service => "the record is not for mail (s=)",
        })
    }
}

/// Compares a key with all TXT records found at its name, each with its strings joined.
pub fn compare(key: &PublicKey, records: &[impl AsRef<[u8]>]) -> Verdict {
    match records {
        [] => Verdict::NoRecord,
        [record] => compare_record(key, record.as_ref()).unwrap_or_else(Verdict::DoesNotMatch),
        several => Verdict::Multiple(several.len()),
    }
}

/// Whether a record, its strings joined, is one whose key was revoked (RFC 6376 §3.6.1, an empty `p=`).
pub fn is_revoked(record: &[u8]) -> bool {
    let tags = Tags::parse(record);
    tags.and_then(|tags| tags.value("p"))
        .is_some_and(|published| published.trim_ascii().is_empty())
}

/// Whether a record, its strings joined, is one that a key can be taken from, be it ours or not (RFC 6376
/// §3.6.1).
pub fn is_key_record(record: &[u8]) -> bool {
    Tags::parse(record)
        .as_ref()
        .and_then(published)
        .is_some_and(|key| !key.is_empty() && BASE64.decode(key).is_ok())
}

/// What `p=` has, without the spaces; `None` if it is no key record.
fn published(tags: &Tags<'_>) -> Option<String> {
    // RFC 6376 §3.6.1: if there is a version, it comes first and is this one.
    if tags
        .value("v")
        .is_some_and(|version| version != "DKIM1" || !tags.starts_with("v"))
    {
        return None;
    }
    Some(tags.value("p")?.split_ascii_whitespace().collect())
}

fn compare_record(key: &PublicKey, record: &[u8]) -> Result<Verdict, Mismatch> {
    let tags = Tags::parse(record).ok_or(Mismatch::Malformed)?;
    let published = published(&tags).ok_or(Mismatch::Malformed)?;
    if published.is_empty() {
        return Ok(Verdict::Revoked);
    }
    let algorithm = match tags.value("k").unwrap_or("rsa") {
        "rsa" => Algorithm::Rsa,
        "ed25519" => Algorithm::Ed25519,
        _ => return Err(Mismatch::Algorithm),
    };
    let octets = BASE64.decode(published).map_err(|_| Mismatch::Malformed)?;
    if algorithm == Algorithm::Rsa {
        let bits = rsa_bits(&octets).ok_or(Mismatch::Malformed)?;
        if bits < MIN_RSA_BITS {
            return Ok(Verdict::WeakKey { bits });
        }
    }
    if algorithm != key.algorithm {
        return Err(Mismatch::Algorithm);
    }
    if !is_same(key, &octets) {
        return Err(Mismatch::Key);
    }
    if !tags.allows("h", &["sha256"]) {
        return Err(Mismatch::Hash);
    }
    if !tags.allows("s", &["*", "email"]) {
        return Err(Mismatch::Service);
    }
    let testing = tags.list("t").any(|flag| flag.eq_ignore_ascii_case("y"));
    Ok(Verdict::Ok { testing })
}

/// An RSA key may be published with or without the frame that names its kind.
fn is_same(key: &PublicKey, published: &[u8]) -> bool {
    match key.algorithm {
        Algorithm::Ed25519 => key.octets == published,
        Algorithm::Rsa => unframed(published)
            .is_some_and(|published| unframed(&key.octets).as_ref() == Some(&published)),
    }
}

fn rsa_bits(key: &[u8]) -> Option<usize> {
    let bits = RsaParameters::public_modulus_len(&unframed(key)?).ok()?;
    usize::try_from(bits).ok()
}

/// The key as an `RSAPublicKey` (RFC 8017 §A.1.1).
fn unframed(key: &[u8]) -> Option<Vec<u8>> {
    let key = rsa::PublicKey::from_der(key).ok()?;
    Some(key.as_ref().to_vec())
}
