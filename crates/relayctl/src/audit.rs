//! `audit`: whether every recipient that came in is accounted for.

use std::io::{self, Write};

use relay_control::{Audit, path};

use crate::client::Client;
use crate::error::RelayctlError;
use crate::output::print_answer;

pub(crate) async fn run(
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let audit: Audit = client.get(path::AUDIT).await?;
    if json {
        print_answer(out, &audit)?;
    } else {
        print_audit(out, &audit)?;
    }
    if audit.balanced {
        return Ok(());
    }
    // The counts are printed before the verdict.
    out.flush().map_err(RelayctlError::Output)?;
    let (came_in, settled) = (audit.accounting.came_in(), audit.accounting.settled());
    Err(RelayctlError::Refused(format!(
        "the books do not balance: {came_in} recipients came in, {} are accounted for; \
         stop relayd and run relayd fsck",
        settled.saturating_add(audit.queued)
    )))
}

/// Prints the counters.
pub(crate) fn print_audit(out: &mut impl Write, audit: &Audit) -> Result<(), RelayctlError> {
    write_audit(out, audit).map_err(RelayctlError::Output)
}

fn write_audit(out: &mut impl Write, audit: &Audit) -> io::Result<()> {
    let books = &audit.accounting;
    for (name, recipients) in [
        ("accepted from clients", books.accepted),
        ("reports of our own", books.reports),
        ("delivered", books.delivered),
        ("bounced", books.bounced),
        ("deleted by the operator", books.discarded),
        ("set aside as damaged", books.set_aside),
        ("in the queue", audit.queued),
    ] {
        writeln!(out, "{name:<24}{recipients:>12}")?;
    }
    if audit.balanced {
        writeln!(out, "the books balance")?;
    }
    Ok(())
}
