//! Asks before many messages are deleted or bounced.

use std::io::{self, BufRead, IsTerminal, Write};

use relay_control::{Count, Scope, Verb, path};

use crate::client::Client;
use crate::error::RelayctlError;

/// Up to this many messages need no confirmation.
const FEW: u64 = 10;

/// Asks the operator to confirm, unless the verb applies to a few messages only. The verb then also
/// applies to matching messages that arrive after the question.
pub(super) async fn confirm(
    verb: Verb,
    scope: &Scope,
    client: &Client,
) -> Result<(), RelayctlError> {
    if let Scope::Matching(filter) = scope
        && (1..=FEW).contains(&(filter.ids.len() as u64))
    {
        return Ok(());
    }
    let count: Count = client.post_json(path::COUNT, scope).await?;
    if count.matched <= FEW {
        return Ok(());
    }
    let what = described(verb, count);
    // Without a terminal, nobody would see the question.
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(RelayctlError::Usage(format!(
            "would {what}; use --yes to confirm"
        )));
    }
    if ask(&what).map_err(RelayctlError::Output)? {
        Ok(())
    } else {
        Err(RelayctlError::Refused("nothing was done".to_owned()))
    }
}

/// Describes what would be done, including side effects that the operator may not expect.
fn described(verb: Verb, count: Count) -> String {
    let mut what = format!("{verb} {} messages", count.matched);
    if count.others > 0 {
        let others = format!(
            ", including {} recipients that were not selected",
            count.others
        );
        what.push_str(&others);
    }
    if verb == Verb::Bounce && count.reports > 0 {
        let reports = format!(
            "; {} of them are bounces, and bouncing a bounce sends one more to the postmaster",
            count.reports
        );
        what.push_str(&reports);
    }
    what
}

fn ask(what: &str) -> io::Result<bool> {
    // Standard output is reserved for the answer.
    let mut error = io::stderr();
    write!(error, "relayctl: {what}? [y/N] ")?;
    error.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim();
    Ok(answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_the_side_effects() {
        let count = |others, reports| Count {
            matched: 12,
            others,
            reports,
        };
        for (verb, count, expected) in [
            (Verb::Delete, count(0, 0), "delete 12 messages"),
            (
                Verb::Delete,
                count(7, 3),
                "delete 12 messages, including 7 recipients that were not selected",
            ),
            (
                Verb::Bounce,
                count(0, 3),
                "bounce 12 messages; 3 of them are bounces, and bouncing a bounce sends one more to \
                 the postmaster",
            ),
        ] {
            assert_eq!(described(verb, count), expected);
        }
    }
}
