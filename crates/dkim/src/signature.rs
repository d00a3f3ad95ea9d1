//! A signature of a received message, parsed from its field (RFC 6376 §3.5).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use mail_auth::common::crypto;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;

use crate::body::Canonicalization;
use crate::key::Algorithm;
use crate::relaxed::write_relaxed;
use crate::signature_error::SignatureError;
use crate::tags::{BASE64, Tags};
use relay_smtp::header::{Field, fields};

/// The most field names that a signature may list.
const MAX_SIGNED: usize = 500;

/// RSA keys with fewer bits must not be trusted (RFC 8301 §3.2).
const LEAST_RSA_BITS: usize = 1024;

/// A parsed signature. To verify it, the key's record and the hash of the body are needed.
#[derive(Debug)]
pub struct Signature {
    header: Arc<[u8]>,
    /// The index of its field in the header section.
    place: usize,
    domain: String,
    selector: String,
    /// The domain of `i=`.
    identity: String,
    algorithm: Algorithm,
    header_form: Canonicalization,
    body_form: Canonicalization,
    /// The names of the signed fields in lower case.
    names: Vec<String>,
    body_hash: Vec<u8>,
    signed: Vec<u8>,
    is_for_all: bool,
    expires: Option<SystemTime>,
}

impl Signature {
    /// Parses the signature in the field with this index.
    pub(crate) fn parse(
        header: &Arc<[u8]>,
        place: usize,
        tags: &Tags<'_>,
    ) -> Result<Self, SignatureError> {
        let needed = |name| tags.value(name).ok_or(SignatureError::Syntax);
        if needed("v")? != "1" {
            return Err(SignatureError::Unsupported);
        }
        let domain = name(needed("d")?)?;
        let selector = name(needed("s")?)?;
        let names: Vec<String> = tags.list("h").map(str::to_ascii_lowercase).collect();
        let (header_form, body_form) = forms(tags.value("c").unwrap_or("simple"))?;
        let signature = Self {
            header: Arc::clone(header),
            place,
            identity: identity(tags.value("i"), &domain)?,
            algorithm: algorithm(needed("a")?)?,
            header_form,
            body_form,
            body_hash: base64(needed("bh")?)?,
            signed: base64(needed("b")?)?,
            is_for_all: tags.value("l").is_none(),
            expires: expiry(tags)?,
            domain,
            selector,
            names,
        };
        if signature.names.len() > MAX_SIGNED || !asks_the_dns(tags) {
            return Err(SignatureError::Unsupported);
        }
        if !signature.names.iter().any(|name| name == "from") {
            return Err(SignatureError::AuthorUnsigned);
        }
        if !is_at_or_below(&signature.identity, &signature.domain) {
            return Err(SignatureError::Identity);
        }
        Ok(signature)
    }

    /// The domain that takes responsibility for the message, in lower case.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The name of the key's TXT record, without a trailing dot.
    pub fn key_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// The canonical form of the body.
    pub(crate) fn body_form(&self) -> Canonicalization {
        self.body_form
    }

    /// Checks the hash of the body.
    ///
    /// A signature with `l=` counts only if it covers the whole body, because anyone could add to
    /// the rest.
    pub(crate) fn check_body(&self, hash: &[u8]) -> Result<(), SignatureError> {
        match (self.body_hash == hash, self.is_for_all) {
            (true, _) => Ok(()),
            (false, true) => Err(SignatureError::BodyChanged),
            (false, false) => Err(SignatureError::PartOfBody),
        }
    }

    /// Checks the signature over the header section, which includes the body's hash, with the key
    /// in one of these TXT records. It computes for about as long as the verification of an RSA
    /// signature takes.
    pub fn check_header(&self, records: &[Vec<u8>], now: SystemTime) -> Result<(), SignatureError> {
        if self.expires.is_some_and(|expires| expires < now) {
            return Err(SignatureError::Expired);
        }
        let mut keys = records.iter().filter_map(|record| key_tags(record));
        let (record, tags) = keys.next().ok_or(SignatureError::NoKey)?;
        self.check_key(&tags)?;
        let key = DomainKey::parse(record).map_err(|_| SignatureError::NoKey)?;
        let algorithm = match self.algorithm {
            Algorithm::Rsa if key.p.public_key_bits() < LEAST_RSA_BITS => {
                return Err(SignatureError::WeakKey);
            }
            Algorithm::Rsa => crypto::Algorithm::RsaSha256,
            Algorithm::Ed25519 => crypto::Algorithm::Ed25519Sha256,
        };
        let verified = key.p.verify_bytes(&self.input(), &self.signed, algorithm);
        verified.map_err(|_| SignatureError::Forged)
    }

    /// Checks whether the key may be used for this signature (RFC 6376 §6.1.2).
    fn check_key(&self, key: &Tags<'_>) -> Result<(), SignatureError> {
        let is_revoked = key.value("p").is_none_or(str::is_empty);
        if is_revoked {
            return Err(SignatureError::Revoked);
        }
        let kind = key.value("k").unwrap_or("rsa");
        if kind != self.algorithm.as_str()
            || !key.allows("h", &["sha256"])
            || !key.allows("s", &["*", "email"])
        {
            return Err(SignatureError::WrongKey);
        }
        let is_strict = key.list("t").any(|flag| flag == "s");
        if is_strict && self.identity != self.domain {
            return Err(SignatureError::Identity);
        }
        Ok(())
    }

    /// The signed octets (RFC 6376 §3.7): fields of one name from the last to the first, and at the
    /// end this field without its signature.
    fn input(&self) -> Vec<u8> {
        let all: Vec<Field<'_>> = fields(&self.header).collect();
        let mut places: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (place, field) in all.iter().enumerate() {
            if place != self.place {
                let name = field.name.to_ascii_lowercase();
                places.entry(name).or_default().push(place);
            }
        }
        let mut input = Vec::new();
        for name in &self.names {
            let last = places.get_mut(name.as_bytes()).and_then(Vec::pop);
            if let Some(field) = last.and_then(|place| all.get(place)) {
                self.write(field, &mut input);
                input.extend_from_slice(b"\r\n");
            }
        }
        if let Some(own) = all.get(self.place) {
            let octets = without_signature(own.octets);
            let unsigned = fields(&octets).next();
            self.write(&unsigned.unwrap_or(*own), &mut input);
        }
        input
    }

    /// Writes a field in the signed form, without its line end.
    fn write(&self, field: &Field<'_>, input: &mut Vec<u8>) {
        match self.header_form {
            Canonicalization::Relaxed => write_relaxed(field, input),
            Canonicalization::Simple => {
                let octets = field.octets;
                input.extend_from_slice(octets.strip_suffix(b"\r\n").unwrap_or(octets));
            }
        }
    }
}

/// The tags of a record, if it is a key record.
fn key_tags(record: &[u8]) -> Option<(&[u8], Tags<'_>)> {
    let tags = Tags::parse(record)?;
    let is_of_this_version = match tags.value("v") {
        Some(version) => version == "DKIM1" && tags.starts_with("v"),
        None => true,
    };
    (is_of_this_version && tags.value("p").is_some()).then_some((record, tags))
}

/// The field with an empty `b=` (RFC 6376 §3.5).
fn without_signature(field: &[u8]) -> Vec<u8> {
    let field = field.strip_suffix(b"\r\n").unwrap_or(field);
    let value = memchr::memchr(b':', field).map_or(0, |colon| colon + 1);
    let (name, value) = field.split_at(value);
    let mut unsigned = name.to_vec();
    for (number, tag) in value.split(|octet| *octet == b';').enumerate() {
        if number > 0 {
            unsigned.push(b';');
        }
        let equals = memchr::memchr(b'=', tag).map_or(tag.len(), |equals| equals + 1);
        let name = tag[..equals].strip_suffix(b"=");
        let is_signature = name.is_some_and(|name| name.trim_ascii() == b"b");
        unsigned.extend_from_slice(if is_signature { &tag[..equals] } else { tag });
    }
    unsigned
}

/// Parses a domain or selector. Underscores are allowed, because there are such selectors.
fn name(text: &str) -> Result<String, SignatureError> {
    if text.len() > 253 || !text.split('.').all(is_label) {
        return Err(SignatureError::Syntax);
    }
    Ok(text.to_ascii_lowercase())
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

/// The domain of `i=`. Without the tag it is the domain of `d=`.
fn identity(tag: Option<&str>, domain: &str) -> Result<String, SignatureError> {
    match tag {
        None => Ok(domain.to_owned()),
        Some(tag) => match tag.rsplit_once('@') {
            Some((_, domain)) => name(domain.trim_ascii()),
            None => Err(SignatureError::Syntax),
        },
    }
}

fn is_at_or_below(domain: &str, parent: &str) -> bool {
    domain
        .strip_suffix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn algorithm(text: &str) -> Result<Algorithm, SignatureError> {
    match text.to_ascii_lowercase().as_str() {
        "rsa-sha256" => Ok(Algorithm::Rsa),
        "ed25519-sha256" => Ok(Algorithm::Ed25519),
        "rsa-sha1" => Err(SignatureError::Sha1),
        _ => Err(SignatureError::Unsupported),
    }
}

/// The canonical forms of the header section and the body. The default for the body is simple.
fn forms(text: &str) -> Result<(Canonicalization, Canonicalization), SignatureError> {
    let form = |text: &str| match text.trim_ascii().to_ascii_lowercase().as_str() {
        "relaxed" => Ok(Canonicalization::Relaxed),
        "simple" => Ok(Canonicalization::Simple),
        _ => Err(SignatureError::Unsupported),
    };
    let (header, body) = text.split_once('/').unwrap_or((text, "simple"));
    Ok((form(header)?, form(body)?))
}

/// The time in `x=`, which must be later than `t=`.
fn expiry(tags: &Tags<'_>) -> Result<Option<SystemTime>, SignatureError> {
    let seconds = |name| match tags.value(name) {
        None => Ok(None),
        Some(text) if text.bytes().all(|c| c.is_ascii_digit()) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| SignatureError::Syntax),
        Some(_) => Err(SignatureError::Syntax),
    };
    let (signed, expires) = (seconds("t")?, seconds("x")?);
    match (signed, expires) {
        (Some(signed), Some(expires)) if expires < signed => Err(SignatureError::Syntax),
        // A time that the system cannot represent never comes.
        (_, Some(expires)) => Ok(UNIX_EPOCH.checked_add(Duration::from_secs(expires))),
        (_, None) => Ok(None),
    }
}

/// Whether `q=` is missing or names the only defined way to get a key.
fn asks_the_dns(tags: &Tags<'_>) -> bool {
    tags.allows("q", &["dns/txt", "dns"])
}

fn base64(text: &str) -> Result<Vec<u8>, SignatureError> {
    let text: String = text.split_ascii_whitespace().collect();
    match BASE64.decode(text) {
        Ok(octets) if !octets.is_empty() => Ok(octets),
        _ => Err(SignatureError::Syntax),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_named_b_loses_its_value() {
        for (field, unsigned) in [
            ("D: v=1; b=abc; h=From\r\n", "D: v=1; b=; h=From"),
            ("D: bh=b=; b=abc\r\n def\r\n", "D: bh=b=; b="),
            ("D: b = abc ;v=1\r\n", "D: b =;v=1"),
            ("D:\r\n\tb\r\n =a;\r\n c=x\r\n", "D:\r\n\tb\r\n =;\r\n c=x"),
            ("D: B=abc; ab=c; bb=d\r\n", "D: B=abc; ab=c; bb=d"),
        ] {
            let octets = without_signature(field.as_bytes());
            assert_eq!(String::from_utf8_lossy(&octets), unsigned, "{field:?}");
        }
    }

    fn parse(tags: &str) -> Result<Signature, SignatureError> {
        let tags = Tags::parse(tags.as_bytes()).ok_or(SignatureError::Syntax)?;
        Signature::parse(&Arc::from(&b""[..]), 0, &tags)
    }

    #[test]
    fn a_signature_with_missing_or_invalid_tags_is_rejected() {
        const GOOD: &str = "v=1; a=rsa-sha256; d=A.test; s=s_1; h=To : FROM; bh=YQ==; b=YQ==";
        let good = parse(GOOD).expect("a signature");
        assert_eq!(good.key_name(), "s_1._domainkey.a.test");
        assert_eq!(good.names, ["to", "from"]);
        for (from, to, flaw) in [
            ("v=1; ", "", SignatureError::Syntax),
            ("v=1", "v=2", SignatureError::Unsupported),
            ("a=rsa-sha256; ", "", SignatureError::Syntax),
            ("rsa-sha256", "rsa-sha1", SignatureError::Sha1),
            ("rsa-sha256", "dsa", SignatureError::Unsupported),
            ("d=A.test", "d=a test", SignatureError::Syntax),
            ("d=A.test", "d=", SignatureError::Syntax),
            ("s=s_1", "s=a..b", SignatureError::Syntax),
            ("h=To : FROM; ", "", SignatureError::AuthorUnsigned),
            ("FROM", "Date", SignatureError::AuthorUnsigned),
            ("bh=YQ==; ", "", SignatureError::Syntax),
            ("bh=YQ==", "bh=?", SignatureError::Syntax),
            ("v=1", "v=1; v=1", SignatureError::Syntax),
            ("v=1", "v=1; c=nowsp", SignatureError::Unsupported),
            ("v=1", "v=1; q=carrier/pigeon", SignatureError::Unsupported),
            ("v=1", "v=1; i=@b.test", SignatureError::Identity),
            ("v=1", "v=1; i=@ba.test", SignatureError::Identity),
            ("v=1", "v=1; i=none", SignatureError::Syntax),
            ("v=1", "v=1; x=-1", SignatureError::Syntax),
            ("v=1", "v=1; t=2; x=1", SignatureError::Syntax),
            ("v=1", "v=1; x=99999999999999999999", SignatureError::Syntax),
        ] {
            let tags = GOOD.replace(from, to);
            assert_eq!(parse(&tags).err(), Some(flaw), "{tags}");
        }
        for extra in [
            "i=u@x.A.test",
            "c=relaxed",
            "q=x:dns/txt",
            "x=1",
            "x=9999999999999999999",
        ] {
            assert!(parse(&format!("{GOOD}; {extra};")).is_ok(), "{extra}");
        }
        let long = GOOD.replace("To", &"To:".repeat(MAX_SIGNED));
        assert_eq!(parse(&long).err(), Some(SignatureError::Unsupported));
    }
}
