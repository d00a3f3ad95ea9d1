//! Selects messages by the options of the command line.

use std::time::Duration;

use clap::Args;
use relay_control::{Condition, Filter, FilterError, Scope};

use crate::error::RelayctlError;

/// All conditions must match, and recipient conditions must match the same recipient.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Select messages by id, as in the 250 reply, the Received header and the log
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// Select messages with an undelivered recipient at this domain
    #[arg(long)]
    domain: Option<String>,

    /// Select messages from this envelope sender; "<>" for the null sender
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,

    /// Select messages with this undelivered recipient
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,

    /// Select messages older than this: 90s, 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,

    /// Select by state: queued, deferred, in-flight, done, failed or held
    #[arg(long)]
    state: Option<Condition>,

    /// Select every message in the queue
    #[arg(long)]
    all: bool,
}

impl Selection {
    /// Returns the selection for a verb that changes messages. It requires a condition or `--all`.
    pub(crate) fn scope(&self) -> Result<Scope, RelayctlError> {
        let scope = Scope::new(self.all, self.filter());
        scope.map_err(|reason| match reason {
            FilterError::Nothing => RelayctlError::Usage(
                "which messages? give their ids, or select them with --domain, --sender, \
                 --recipient, --older-than or --state; --all selects every message"
                    .to_owned(),
            ),
            other => RelayctlError::Usage(other.to_string()),
        })
    }

    /// Returns the selection for a list. Without a condition it shows everything.
    pub(crate) fn for_list(&self) -> Result<Filter, RelayctlError> {
        let filter = self.filter();
        if self.all && filter != Filter::default() {
            return Err(RelayctlError::Usage(FilterError::AllAndSome.to_string()));
        }
        Ok(filter)
    }

    fn filter(&self) -> Filter {
        let without_brackets = |address: &String| {
            let inner = address.strip_prefix('<').and_then(|a| a.strip_suffix('>'));
            inner.unwrap_or(address).to_owned()
        };
        Filter {
            ids: self.ids.clone(),
            domain: self.domain.clone(),
            sender: self.sender.as_ref().map(without_brackets),
            recipient: self.recipient.as_ref().map(without_brackets),
            older_than: self.older_than,
            state: self.state,
        }
    }
}
