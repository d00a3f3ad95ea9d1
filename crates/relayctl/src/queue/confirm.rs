//! Whoever deletes or returns many messages is asked first.

use std::io::{self, BufRead, IsTerminal, Write};

use relay_control::{Count, Scope, Verb, path};

use crate::client::Client;
use crate::failure::Failure;

/// Up to so many messages nobody is asked.
const FEW: u64 = 10;

/// Returns if the operator agrees, or need not be asked. What comes in afterwards and fits as well is
/// part of what was agreed to.
pub(super) async fn confirm(verb: Verb, scope: &Scope, client: &Client) -> Result<(), Failure> {
    if let Scope::Some(filter) = scope
        && (1..=FEW).contains(&(filter.ids.len() as u64))
    {
        return Ok(());
    }
    // The ids of a long list do not fit into an address.
    let count: Count = client
        .order(path::COUNT, crate::form::encode(scope.pairs()))
        .await?;
    if count.matched <= FEW {
        return Ok(());
    }
    let what = format!("{verb} {} messages", count.matched);
    // A question that nobody sees would wait for ever.
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::Usage(format!(
            "this would {what}: say --yes if it shall"
        )));
    }
    if ask(&what).map_err(Failure::Output)? {
        Ok(())
    } else {
        Err(Failure::Refused("nothing was done".to_owned()))
    }
}

fn ask(what: &str) -> io::Result<bool> {
    // Standard output is for the answer alone.
    let mut error = io::stderr();
    write!(error, "relayctl: {what}? [y/N] ")?;
    error.flush()?;
    let mut said = String::new();
    io::stdin().lock().read_line(&mut said)?;
    let said = said.trim();
    Ok(said.eq_ignore_ascii_case("y") || said.eq_ignore_ascii_case("yes"))
}
