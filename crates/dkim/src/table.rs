//! The entries of the signing table.

use std::time::Duration;

use crate::body::Canonicalization;
use crate::header_list::HeaderList;
use crate::key::PrivateKey;
use relay_smtp::dns_name::{Domain, Selector};

/// One line of the signing table.
#[derive(Debug)]
pub struct SigningEntry {
    /// The domain whose mail is signed.
    pub domain: Domain,
    /// The selector under which receivers find the key.
    pub selector: Selector,
    /// The private key.
    pub key: PrivateKey,
    /// Whether mail from domains below this one is signed as well, unless they have their own
    /// entries.
    pub subdomains: bool,
    /// The fields to sign.
    pub headers: HeaderList,
    /// The canonical form of the body. Fields always use the relaxed form.
    pub body: Canonicalization,
    /// How long a signature is valid; `None` means forever. It must be longer than mail can stay in
    /// queues.
    pub expire: Option<Duration>,
}

/// The entries of a signing table for a domain: all of its own entries, or else all entries of the
/// nearest domain above it that includes subdomains. `rule` returns the domain of an entry and
/// whether it includes subdomains.
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
