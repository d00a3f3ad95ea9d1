//! The `[[dkim]]` tables, and the published records of their keys.

use std::path::PathBuf;

use relay_config::{ConfigError, schema};
use relay_dkim::{Domain, Selector};
use relay_remote::dns::{Dns, LookupError};

use crate::config::LoadedConfig;

/// The keys of a `[[dkim]]` that the commands use.
const KEYS: &[&str] = &[
    "dkim.domain",
    "dkim.selector",
    "dkim.key",
    "dkim.subdomains",
];

/// One key of the relay's signing table.
#[derive(Debug, Clone)]
pub(crate) struct SigningEntry {
    pub(crate) domain: Domain,
    pub(crate) selector: Selector,
    pub(crate) key: PathBuf,
    pub(crate) subdomains: bool,
}

impl From<&schema::Dkim> for SigningEntry {
    fn from(dkim: &schema::Dkim) -> Self {
        Self {
            domain: dkim.domain.0.clone(),
            selector: dkim.selector.0.clone(),
            key: dkim.key.0.clone(),
            subdomains: dkim.subdomains,
        }
    }
}

impl SigningEntry {
    pub(super) fn is_named(&self, domain: &Domain, selector: Option<&Selector>) -> bool {
        self.domain == *domain && selector.is_none_or(|selector| *selector == self.selector)
    }
}

/// Returns the entries of the relay's signing table that can be used.
pub(crate) fn usable_entries(config: &LoadedConfig) -> Vec<SigningEntry> {
    config.file().dkim.iter().map(SigningEntry::from).collect()
}

/// Returns the first problem with the signing table.
pub(crate) fn problem(config: &LoadedConfig) -> Option<ConfigError> {
    config.require(KEYS).err()
}

/// Returns the relay's signing table.
pub(super) fn signing_table(config: &LoadedConfig) -> Result<Vec<SigningEntry>, ConfigError> {
    match problem(config) {
        Some(problem) => Err(problem),
        None => Ok(usable_entries(config)),
    }
}

/// Returns the TXT records of a name, each with its strings joined. A name without records is not
/// an error.
pub(crate) async fn published(dns: &Dns, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
    match dns.txt(name).await {
        Err(LookupError::NoSuchName | LookupError::NoRecords) => Ok(Vec::new()),
        found => found,
    }
}
