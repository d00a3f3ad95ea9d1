//! Signing one message.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mail_auth::common::crypto::SigningKey as _;

use crate::body::{BodyHash, Canonicalization};
use crate::header_list::Selected;
use crate::relaxed::write_relaxed;
use crate::signature_field::{SignatureField, signed};
use crate::table::SigningEntry;
use relay_smtp::dns_name::{Domain, Selector};
use relay_smtp::header::{Field, fields};

/// A message that is being signed.
#[derive(Debug)]
pub struct Signing {
    pending: Vec<Pending>,
    /// One hash for each canonical form that the entries use.
    bodies: Vec<(Canonicalization, BodyHash)>,
}

/// The part of a signature that is known before the body.
#[derive(Debug)]
struct Pending {
    entry: Arc<SigningEntry>,
    selected: Selected,
}

/// Why a message could not be signed. It must not be accepted without its signature.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign with the key {selector} of {domain}: {source}")]
pub struct SignError {
    domain: Domain,
    selector: Selector,
    source: mail_auth::Error,
}

impl Signing {
    /// Starts signing with these entries, for a message with these fields.
    pub(crate) fn new(entries: Vec<Arc<SigningEntry>>, fields: &[Field<'_>]) -> Self {
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

    /// The domains and selectors of the signatures, for the log.
    pub fn names(&self) -> impl Iterator<Item = (&Domain, &Selector)> {
        self.pending
            .iter()
            .map(|pending| (&pending.entry.domain, &pending.entry.selector))
    }

    /// Adds the next octets of the body, which begins after the empty line. They may be cut at any
    /// place.
    pub fn write(&mut self, chunk: &[u8]) {
        for (_, body) in &mut self.bodies {
            body.write(chunk);
        }
    }

    /// The signature fields, which must be put before the message unchanged.
    ///
    /// This computes one signature for each entry. An RSA signature takes a large part of a
    /// millisecond, so a busy thread of an executor should not do it.
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
    entry: &SigningEntry,
    selected: Selected,
    body_hash: &[u8],
    now: SystemTime,
    out: &mut Vec<u8>,
) -> mail_auth::Result<()> {
    // With a clock before 1970 the signature says 1970.
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

/// The octets to sign: the fields, and then the signature's own field with an empty `b=` and
/// without its line end (RFC 6376 §3.7).
fn signing_input(mut canonical: Vec<u8>, unsigned: &[u8]) -> Vec<u8> {
    for field in fields(unsigned) {
        write_relaxed(&field, &mut canonical);
    }
    canonical
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::key::PrivateKey;

    /// RFC 8463 appendix A: the key, the message and the signature.
    #[test]
    fn the_signature_of_the_rfc_8463_example_is_as_printed() {
        let seed = STANDARD
            .decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
            .unwrap();
        // RFC 8410 §7: the octets before an Ed25519 seed in PKCS#8.
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
            write_relaxed(field, &mut canonical);
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

        let mut hash = BodyHash::new(Canonicalization::Relaxed);
        hash.write(body.as_bytes());
        assert_eq!(
            STANDARD.encode(hash.finish()),
            "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
        );
    }
}
