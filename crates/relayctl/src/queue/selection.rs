//! Which messages a verb is about, as the command line says it.

use std::time::Duration;

use clap::Args;
use relay_control::{Condition, Filter, FilterError, Scope};

use crate::failure::Failure;

/// All that is asked for must hold.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// These messages, by the id that the 250, the Received header and the log have
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// With a recipient at this domain that it has not been delivered to yet
    #[arg(long)]
    domain: Option<String>,

    /// From this envelope sender; "<>" for the null sender
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,

    /// To this address, where it has not been delivered to yet
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,

    /// In the queue for longer than this: 90s, 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,

    /// With a recipient that is queued, deferred, in-flight, done or failed; or held as a whole
    #[arg(long)]
    state: Option<Condition>,

    /// Every message in the queue
    #[arg(long)]
    all: bool,
}

impl Selection {
    /// For a verb, which must be told what it is about.
    pub(crate) fn scope(&self) -> Result<Scope, Failure> {
        let scope = Scope::new(self.all, self.filter());
        scope.map_err(|reason| match reason {
            FilterError::Nothing => Failure::Usage(
                "which messages? name their ids, or choose with --domain, --sender, \
                 --recipient, --older-than or --state; every one of them is --all"
                    .to_owned(),
            ),
            other => Failure::Usage(other.to_string()),
        })
    }

    /// For a list, which shows everything unless it is told otherwise.
    pub(crate) fn for_list(&self) -> Result<Filter, Failure> {
        let filter = self.filter();
        if self.all && filter != Filter::default() {
            return Err(Failure::Usage(FilterError::AllAndSome.to_string()));
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
