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
pub(crate) struct ConfiguredKey {
    pub(crate) domain: Domain,
    pub(crate) selector: Selector,
    pub(crate) key: PathBuf,
    pub(crate) subdomains: bool,
}

impl From<&schema::Dkim> for ConfiguredKey {
    fn from(dkim: &schema::Dkim) -> Self {
        Self {
            domain: dkim.domain.0.clone(),
            selector: dkim.selector.0.clone(),
            key: dkim.key.0.clone(),
            subdomains: dkim.subdomains,
        }
    }
}

/// Returns the entries of the relay's signing table that can be used.
pub(crate) fn usable_entries(config: &LoadedConfig) -> Vec<ConfiguredKey> {
    config.file().dkim.iter().map(ConfiguredKey::from).collect()
}

/// Returns the first problem with the signing table.
pub(crate) fn problem(config: &LoadedConfig) -> Option<ConfigError> {
    config.require(KEYS).err()
}

/// Returns the relay's signing table.
pub(super) fn signing_table(config: &LoadedConfig) -> Result<Vec<ConfiguredKey>, ConfigError> {
    match problem(config) {
        Some(problem) => Err(problem),
        None => Ok(usable_entries(config)),
    }
}

/// Returns the entries of a domain, and of one selector if it is given. A problem with another entry is an
/// error only if none is found, because it may be the one that was meant.
pub(super) fn named_entries(
    config: &LoadedConfig,
    domain: &Domain,
    selector: Option<&Selector>,
) -> Result<Vec<ConfiguredKey>, ConfigError> {
    let mut entries = usable_entries(config);
    entries
        .retain(|entry| entry.domain == *domain && selector.is_none_or(|s| *s == entry.selector));
    match problem(config) {
        Some(problem) if entries.is_empty() => Err(problem),
        _ => Ok(entries),
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
