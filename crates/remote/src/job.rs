//! What a delivery attempt is given to deliver.

use std::sync::Arc;

use relay_smtp::dsn::DsnRequest;
use relay_smtp::{Recipient, ReversePath};

use crate::content::Content;
use crate::observer::Observer;

/// One message for some recipients, who should share a destination.
#[derive(Debug)]
pub struct Job {
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO, and what is asked for each.
    pub recipients: Vec<Recipient>,
    /// `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// `SMTPUTF8`.
    pub utf8: bool,
    /// `RET` and `ENVID`.
    pub dsn: DsnRequest,
    /// Octets of head and body.
    pub size: u64,
    /// The bytes.
    pub content: Content,
    /// Who is told how far it has come.
    pub observer: Arc<dyn Observer>,
}
