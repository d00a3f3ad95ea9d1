//! The `[[dkim]]` tables, and the published records of their keys.

use std::path::PathBuf;

use relay_dkim::{Domain, Selector};
use relay_remote::dns::{Dns, LookupError};
use serde::Deserialize;

use crate::config::ConfigFile;
use crate::error::Error;

/// One key of the relay's signing table.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Entry {
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) key: PathBuf,
    #[serde(default)]
    pub(crate) subdomains: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    dkim: Vec<Entry>,
}

impl Entry {
    /// Returns the domain and the selector if they are valid.
    pub(crate) fn names(&self) -> Result<(Domain, Selector), String> {
        match (self.domain.parse(), self.selector.parse()) {
            (Ok(domain), Ok(selector)) => Ok((domain, selector)),
            _ => Err(format!(
                "{}, {}: no domain or no selector",
                self.domain, self.selector
            )),
        }
    }

    pub(super) fn is_named(&self, domain: &Domain, selector: Option<&Selector>) -> bool {
        self.names().is_ok_and(|(own, found)| {
            own == *domain && selector.is_none_or(|selector| *selector == found)
        })
    }
}

/// Reads the signing table of the relay's configuration.
pub(super) fn table(config: &ConfigFile) -> Result<Vec<Entry>, Error> {
    let keys: Keys = config.load()?.keys()?;
    Ok(keys.dkim)
}

/// Returns the TXT records of a name, each with its strings joined. A name without records is not
/// an error.
pub(crate) async fn published(dns: &Dns, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
    match dns.txt(name).await {
        Err(LookupError::NoSuchName | LookupError::NoRecords) => Ok(Vec::new()),
        found => found,
    }
}
