//! A recipient with what the sender asks for it.

use crate::address::ForwardPath;
use crate::dsn::{Notify, Orcpt};

/// A recipient of a transaction, on its way in or out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// RCPT TO.
    pub path: ForwardPath,
    /// `NOTIFY` (RFC 3461 §4.1).
    pub notify: Notify,
    /// `ORCPT` (RFC 3461 §4.2).
    pub orcpt: Option<Orcpt>,
}

/// One of whom nothing more was said than the address.
impl From<ForwardPath> for Recipient {
    fn from(path: ForwardPath) -> Self {
        Self {
            path,
            notify: Notify::Unspecified,
            orcpt: None,
        }
    }
}
