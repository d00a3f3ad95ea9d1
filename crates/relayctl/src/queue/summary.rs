//! `queue summary`: prints waiting mail by destination and age.

use std::io::{self, Write};

use relay_control::summary::Waiting;
use relay_control::{Filter, Summary, path};
use relay_terminal::escape;

use super::{found, with_query};
use crate::client::Client;
use crate::error::RelayctlError;
use crate::output::print_answer;

pub(super) async fn run(
    filter: &Filter,
    limit: usize,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let path = with_query(path::SUMMARY, filter)?;
    // There is no time limit, because a large queue takes long to count.
    let summary: Summary = client.get_slowly(&path).await?;
    if json {
        print_answer(out, &summary)?;
    } else {
        print_summary(out, &summary, limit)?;
    }
    found(filter, summary.total.recipients > 0, out)
}

/// Prints a table as Postfix's qshape does: a row for each destination, a column for each age in
/// minutes. `limit` is the largest number of rows in addition to the total.
pub(crate) fn print_summary(
    out: &mut impl Write,
    summary: &Summary,
    limit: usize,
) -> Result<(), RelayctlError> {
    write_summary(out, summary, limit).map_err(RelayctlError::Output)
}

fn write_summary(out: &mut impl Write, summary: &Summary, limit: usize) -> io::Result<()> {
    let rows = || summary.destinations.iter().take(limit);
    let longest = rows().map(|row| escape(&row.name).chars().count()).max();
    let width = longest.unwrap_or_default().clamp("TOTAL".len(), 60);
    write!(out, "{:<width$} {:>8}", "", "T")?;
    for below in &summary.ages_below {
        write!(out, " {:>7}", below / 60)?;
    }
    let last = summary.ages_below.last().map_or(0, |below| below / 60);
    writeln!(out, " {:>7}", format!("{last}+"))?;
    row(out, &summary.total, width)?;
    rows().try_for_each(|waiting| row(out, waiting, width))?;
    match summary.destinations.len().saturating_sub(limit) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more; --limit shows them"),
    }
}

fn row(out: &mut impl Write, waiting: &Waiting, width: usize) -> io::Result<()> {
    let name = escape(&waiting.name);
    write!(out, "{name:<width$} {:>8}", waiting.recipients)?;
    for count in &waiting.ages {
        write!(out, " {count:>7}")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn destinations_are_rows_and_ages_columns() {
        let mut slow = Waiting::new("slow.test");
        let mut other = Waiting::new("other\u{1b}.test");
        for minutes in [0, 7, 7, 5000] {
            slow.count(Duration::from_secs(minutes * 60));
        }
        other.count(Duration::ZERO);
        let shown = |limit| {
            let mut out = Vec::new();
            let of_both = Summary::of(vec![other.clone(), slow.clone()]);
            print_summary(&mut out, &of_both, limit).expect("memory");
            String::from_utf8(out).expect("text")
        };
        let expected = [
            "                 T       5      10      20      40      80     160     320     640    1280   1280+",
            "TOTAL            5       2       2       0       0       0       0       0       0       0       1",
            "slow.test        4       1       2       0       0       0       0       0       0       0       1",
            "and 1 more; --limit shows them\n",
        ];
        assert_eq!(shown(1), expected.join("\n"));
        assert!(shown(2).contains("other\\u{1b}.test        1"));
    }
}
