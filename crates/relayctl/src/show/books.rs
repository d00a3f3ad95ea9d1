//! `audit`.

use std::io::{self, Write};

use relay_control::Audit;

use crate::failure::Failure;

/// What came in, what it became, and what is still there.
pub(crate) fn audit(out: &mut impl Write, audit: &Audit) -> Result<(), Failure> {
    write_audit(out, audit).map_err(Failure::Output)
}

fn write_audit(out: &mut impl Write, audit: &Audit) -> io::Result<()> {
    let books = &audit.books;
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
