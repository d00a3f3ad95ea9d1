//! The signatures of a received message, and the hashes of its body.

use std::sync::Arc;

use crate::body::{BodyHash, Canonicalization};
use crate::signature::Signature;
use crate::signature_error::SignatureError;
use crate::tags::Tags;
use relay_smtp::header::fields;

/// The most signatures of one message that are verified, from the top (RFC 6376 §8.4).
pub const MAX_SIGNATURES: usize = 8;

/// One DKIM-Signature field.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The value of `d=` as written, if there is one. It is untrusted text.
    pub domain: Option<String>,
    /// The value of `s=`, likewise.
    pub selector: Option<String>,
    /// The parsed signature, or why it is not valid.
    pub signature: Result<Arc<Signature>, SignatureError>,
}

/// The hashes of a body in progress, one for each canonical form that the signatures use.
#[derive(Debug)]
pub struct Bodies(Vec<(Canonicalization, BodyHash)>);

/// The finished hashes of a body.
#[derive(Debug)]
pub struct BodyHashes(Vec<(Canonicalization, [u8; 32])>);

/// Parses the signatures in a header section. The second value takes the body.
pub fn claims(header: &[u8]) -> (Vec<Claim>, Bodies) {
    let places: Vec<usize> = fields(header)
        .enumerate()
        .filter(|(_, field)| field.is("DKIM-Signature"))
        .map(|(place, _)| place)
        .take(MAX_SIGNATURES)
        .collect();
    if places.is_empty() {
        return (Vec::new(), Bodies(Vec::new()));
    }
    let header: Arc<[u8]> = header.into();
    let claims: Vec<Claim> = places.iter().map(|&place| claim(&header, place)).collect();
    let bodies = Bodies::for_claims(&claims);
    (claims, bodies)
}

fn claim(header: &Arc<[u8]>, place: usize) -> Claim {
    let field = fields(header).nth(place);
    let tags = field.and_then(|field| Tags::parse(field.value));
    let text = |name| {
        let text = tags.as_ref().and_then(|tags| tags.value(name));
        text.map(str::to_owned)
    };
    Claim {
        domain: text("d"),
        selector: text("s"),
        signature: match &tags {
            Some(tags) => Signature::parse(header, place, tags).map(Arc::new),
            None => Err(SignatureError::Syntax),
        },
    }
}

impl Bodies {
    fn for_claims(claims: &[Claim]) -> Self {
        let mut bodies = Vec::new();
        for signature in claims
            .iter()
            .filter_map(|claim| claim.signature.as_ref().ok())
        {
            let form = signature.body_form();
            if !bodies.iter().any(|(known, _)| *known == form) {
                bodies.push((form, BodyHash::new(form)));
            }
        }
        Self(bodies)
    }

    /// Adds the next octets of the body. They may be cut at any place.
    pub fn write(&mut self, chunk: &[u8]) {
        for (_, body) in &mut self.0 {
            body.write(chunk);
        }
    }

    /// Finishes the hashes at the end of the body.
    pub fn finish(self) -> BodyHashes {
        let hashes = self.0.into_iter();
        BodyHashes(hashes.map(|(form, body)| (form, body.finish())).collect())
    }
}

impl BodyHashes {
    /// Checks that the body is the signed one.
    pub fn check(&self, signature: &Signature) -> Result<(), SignatureError> {
        let mut hashes = self.0.iter();
        match hashes.find(|(form, _)| *form == signature.body_form()) {
            Some((_, hash)) => signature.check_body(hash),
            None => Err(SignatureError::BodyChanged),
        }
    }
}
