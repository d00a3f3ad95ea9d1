//! Whether every recipient that came in is accounted for.

use std::io::Write;

use relay_control::{Audit, path};

use crate::client::Client;
use crate::failure::Failure;
use crate::show;

pub(crate) async fn run(client: &Client, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let audit: Audit = client.get(path::AUDIT).await?;
    if json {
        show::json(out, &audit)?;
    } else {
        show::audit(out, &audit)?;
    }
    if audit.balanced {
        return Ok(());
    }
    // What was counted comes before what follows from it.
    out.flush().map_err(Failure::Output)?;
    let (came_in, settled) = (audit.books.came_in(), audit.books.settled());
    Err(Failure::Refused(format!(
        "the books do not balance: {came_in} recipients came in, {} are accounted for; \
         stop relayd, then look with: relayd fsck",
        settled.saturating_add(audit.queued)
    )))
}
