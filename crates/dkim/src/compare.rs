//! Compares a key with the DNS records that were found for it.

use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::RsaParameters;
use base64::Engine as _;

use crate::key::{Algorithm, MIN_RSA_BITS, PublicKey};
use crate::record::Record;
use crate::tags::{BASE64, Tags};

/// Whether receivers would find the key in the DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The record contains the key.
    Ok {
        /// Whether the record has the flag `t=y`: receivers then treat mail as unsigned.
        testing: bool,
    },
    /// There is no TXT record at the key's name.
    NoRecord,
    /// There is a record, but receivers cannot verify the key's signatures with it.
    DoesNotMatch(Mismatch),
    /// There are several TXT records. It is undefined which one receivers use (RFC 6376 §3.6.2.2).
    Multiple(usize),
    /// The record has an empty `p=`: its owner has revoked the key.
    Revoked,
    /// The record has an RSA key that is too short to be trusted. It is not the relay's key,
    /// because such a key is not loaded.
    WeakKey {
        /// The size of the key in bits.
        bits: usize,
    },
}

/// How a record differs from the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It contains another key of the same kind.
    Key,
    /// It contains a key of another kind.
    Algorithm,
    /// It is not a valid DKIM key record (RFC 6376 §3.6.1).
    Malformed,
    /// Its `h=` does not allow SHA-256.
    Hash,
    /// Its `s=` does not allow mail.
    Service,
}

impl Verdict {
    /// Whether receivers can verify the key's signatures.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok { .. })
    }

    /// A sentence that tells the operator what to do, or `None` if all is well.
    pub fn advice(&self, expected: &Record) -> Option<String> {
        let name = &expected.name;
        let line = expected.line();
        Some(match self {
            Self::Ok { testing: false } => return None,
            Self::Ok { testing: true } => {
                format!("remove t=y from the record at {name} when you have seen that mail arrives")
            }
            Self::NoRecord => format!("publish a TXT record at {name}: {line}"),
            Self::DoesNotMatch(Mismatch::Hash | Mismatch::Service) => {
                format!("remove the h= and s= tags from the record at {name}")
            }
            Self::DoesNotMatch(_) => format!(
                "put this relay's key into the record at {name}: {line}; or, if that record is \
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
                format!("put this relay's key into the record at {name}: {line}")
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
            Self::Malformed => "the record is not a DKIM key record",
            Self::Hash => "the record does not allow SHA-256 (h=)",
            Self::Service => "the record is not for mail (s=)",
        })
    }
}

/// Compares a key with all TXT records found at its name. Each record is one string.
pub fn compare(key: &PublicKey, records: &[impl AsRef<[u8]>]) -> Verdict {
    match records {
        [] => Verdict::NoRecord,
        [record] => compare_record(key, record.as_ref()).unwrap_or_else(Verdict::DoesNotMatch),
        several => Verdict::Multiple(several.len()),
    }
}

/// Whether this TXT record revokes its key with an empty `p=` (RFC 6376 §3.6.1).
pub fn is_revoked(record: &[u8]) -> bool {
    let tags = Tags::parse(record);
    tags.and_then(|tags| tags.value("p"))
        .is_some_and(|published| published.trim_ascii().is_empty())
}

/// Whether this TXT record contains a usable key, the relay's or another one (RFC 6376 §3.6.1).
pub fn is_key_record(record: &[u8]) -> bool {
    Tags::parse(record)
        .as_ref()
        .and_then(published)
        .is_some_and(|key| !key.is_empty() && BASE64.decode(key).is_ok())
}

/// The value of `p=` without white space, or `None` if this is not a key record.
fn published(tags: &Tags<'_>) -> Option<String> {
    // RFC 6376 §3.6.1: a version must come first and be this one.
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

/// Compares the keys. An RSA key may be published with or without the header that names its kind.
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
