//! The result of comparing one key with its DNS record.

use relay_dkim::Record;
use serde::Serialize;

/// The result for one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Tested {
    /// The name of its DNS record.
    pub(crate) name: String,
    pub(crate) ok: bool,
    /// `ok`, `no record`, `does not match: …`, `multiple records (2)`, `revoked`, `weak key: …`, or why
    /// there is no result.
    pub(crate) result: String,
    /// What to do, if anything.
    pub(crate) advice: Option<String>,
    /// The expected record, if the key can be read.
    pub(crate) record: Option<Record>,
}
