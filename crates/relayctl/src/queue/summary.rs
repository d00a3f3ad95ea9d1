//! What waits, by destination and age.

use std::io::Write;

use relay_control::{Filter, Summary, path};

use super::{found, with_query};
use crate::client::Client;
use crate::failure::Failure;
use crate::show;

pub(super) async fn run(
    filter: &Filter,
    limit: usize,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let path = with_query(path::SUMMARY, filter.pairs())?;
    // A large queue takes as long to count as it takes.
    let summary: Summary = client.get_slowly(&path).await?;
    if json {
        show::json(out, &summary)?;
    } else {
        show::summary(out, &summary, limit)?;
    }
    found(filter, summary.total.recipients > 0, out)
}
