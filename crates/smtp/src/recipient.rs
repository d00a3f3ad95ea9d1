//! A recipient with its DSN parameters.

use crate::address::ForwardPath;
use crate::dsn::{Notify, Orcpt};

/// A recipient of a transaction, incoming or outgoing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// RCPT TO.
    pub path: ForwardPath,
    /// `NOTIFY` (RFC 3461 §4.1).
    pub notify: Notify,
    /// `ORCPT` (RFC 3461 §4.2).
    pub orcpt: Option<Orcpt>,
}

/// Makes a recipient without DSN parameters.
impl From<ForwardPath> for Recipient {
    fn from(path: ForwardPath) -> Self {
        Self {
            path,
            notify: Notify::Unspecified,
            orcpt: None,
        }
    }
}
