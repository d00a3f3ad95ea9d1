//! Applies a verb to messages and prints the result.

use std::io::Write;

use relay_control::{Scope, Verb, VerbResult, path};
use relay_terminal::escape;

use super::print::print_result;
use crate::client::Client;
use crate::error::RelayctlError;
use crate::output::print_answer;

/// How many ids are printed.
const SHOWN: usize = 10;

pub(super) async fn run(
    verb: Verb,
    scope: &Scope,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let path = format!("{}/{verb}", path::QUEUE);
    let result: VerbResult = client.post_json(&path, scope).await?;
    if json {
        print_answer(out, &result)?;
    } else {
        print_result(out, verb, &result)?;
    }
    match refusal(verb, &result) {
        None => Ok(()),
        Some(reason) => {
            // The result is printed before the error.
            out.flush().map_err(RelayctlError::Output)?;
            Err(RelayctlError::Refused(reason))
        }
    }
}

/// Returns why the result is not a success, if so.
fn refusal(verb: Verb, result: &VerbResult) -> Option<String> {
    if let Some(first) = result.problems.first() {
        let others = match result.problems.len() {
            1 => String::new(),
            all => format!("; {} more problems", all - 1),
        };
        return Some(format!("{}{others}", escape(first)));
    }
    if !result.unknown.is_empty() {
        return Some(format!("not in the queue: {}", named(&result.unknown)));
    }
    let reason = match (result.matched, result.changed, verb) {
        (_, 1.., _) => return None,
        (0, 0, _) => "no message in the queue matches",
        (matched, 0, Verb::Retry) if result.held == matched => {
            "nothing was changed: held mail is not tried; release it"
        }
        (_, 0, Verb::Retry) => {
            "nothing was changed: it is held, is being tried, or waits for a destination that is \
             suspended"
        }
        (_, 0, Verb::Hold) => "nothing was changed: it is held already",
        (_, 0, Verb::Release) => "nothing was changed: it is not held",
        (_, 0, Verb::Delete | Verb::Bounce) => {
            "nothing was changed: it is on its way out of the queue already"
        }
    };
    Some(reason.to_owned())
}

/// Returns the first of these ids, and how many others there are.
fn named(ids: &[String]) -> String {
    let first: Vec<_> = ids.iter().take(SHOWN).map(|id| escape(id)).collect();
    let first = first.join(", ");
    match ids.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_succeeds_if_it_changes_something_without_a_problem() {
        let result = |matched, changed, held, problems: &[&str]| VerbResult {
            matched,
            changed,
            held,
            unknown: Vec::new(),
            problems: problems.iter().map(|&problem| problem.to_owned()).collect(),
            ..VerbResult::default()
        };
        for (verb, result, said) in [
            (Verb::Retry, result(2, 1, 1, &[]), None),
            (Verb::Delete, result(0, 0, 0, &[]), Some("no message")),
            (Verb::Retry, result(2, 0, 2, &[]), Some("release it")),
            (Verb::Retry, result(2, 0, 1, &[]), Some("suspended")),
            (Verb::Hold, result(1, 0, 1, &[]), Some("held already")),
            (Verb::Release, result(1, 0, 0, &[]), Some("not held")),
            (Verb::Bounce, result(1, 0, 0, &[]), Some("on its way")),
            (
                Verb::Hold,
                result(3, 1, 0, &["a\x1b", "b"]),
                Some("a\\u{1b}; 1 more"),
            ),
        ] {
            let reason = refusal(verb, &result);
            match (&reason, said) {
                (None, None) => {}
                (Some(reason), Some(said)) => assert!(reason.contains(said), "{reason}"),
                _ => panic!("{result:?}: {reason:?}"),
            }
        }
    }

    #[test]
    fn unknown_ids_are_named_even_if_other_messages_were_changed() {
        let result = |unknown: usize| VerbResult {
            matched: 1,
            changed: 1,
            unknown: (0..unknown).map(|n| format!("NO{n}\x1b")).collect(),
            ..VerbResult::default()
        };
        for (unknown, said) in [
            (1, "not in the queue: NO0\\u{1b}"),
            (12, ", NO9\\u{1b} and 2 more"),
        ] {
            let reason = refusal(Verb::Delete, &result(unknown)).expect("a reason");
            assert!(reason.ends_with(said), "{reason}");
        }
    }
}
