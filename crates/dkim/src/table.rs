//! The entries of the signing table.

use std::time::Duration;

use crate::body::Canonicalization;
use crate::header_list::HeaderList;
use crate::key::PrivateKey;
use relay_smtp::dns_name::{Domain, Selector};

/// One line of the signing table.
#[derive(Debug)]
pub struct SigningEntry {
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

/// The entries of a signing table that sign mail from a domain: all of its own, or else all of the nearest
/// domain above it that signs for those below. `rule` gives the domain of an entry, and whether it does.
pub fn signing_entries<T>(
    entries: impl IntoIterator<Item = T>,
    domain: &Domain,
    rule: impl Fn(&T) -> (&Domain, bool),
) -> Vec<T> {
    let mut matching: Vec<T> = entries
        .into_iter()
        .filter(|entry| {
            let (own, subdomains) = rule(entry);
            own == domain || (subdomains && domain.is_at_or_below(own))
        })
        .collect();
    let length = |entry: &T| rule(entry).0.as_str().len();
    let nearest = matching.iter().map(length).max();
    matching.retain(|entry| Some(length(entry)) == nearest);
    matching
}
