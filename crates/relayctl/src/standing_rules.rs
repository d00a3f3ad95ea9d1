//! Rules that stay in force until they are removed: `suspend`, `resume`, and `queue hold --incoming`.

use std::io::{self, Write};

use relay_control::{HoldRule, RuleChange, RuleVerb, Scope, StandingRules, path};
use relay_terminal::{date, escape};

use crate::client::Client;
use crate::error::RelayctlError;
use crate::output::print_answer;

/// Returns why nothing was changed.
fn refusal(verb: &RuleVerb) -> &'static str {
    match verb {
        RuleVerb::Suspend(_) => "it is suspended already",
        RuleVerb::Resume(_) => "no destination of that name is suspended",
        RuleVerb::Hold(_) => "it is held already",
        RuleVerb::Release(_) => "there is no such rule",
    }
}

/// Checks that a rule for incoming mail can have these conditions.
pub(crate) fn incoming(scope: Scope) -> Result<Scope, RelayctlError> {
    match &scope {
        Scope::Matching(filter) if !filter.is_for_incoming() => Err(RelayctlError::Usage(
            "incoming mail can be held by --domain and --sender only, or --all of it".to_owned(),
        )),
        Scope::All | Scope::Matching(_) => Ok(scope),
    }
}

pub(crate) async fn run(
    verb: &RuleVerb,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let change: RuleChange = client.post_json(path::STANDING_RULES, verb).await?;
    if json {
        print_answer(out, &change)?;
    } else {
        print_rules(out, &change.rules)?;
    }
    if change.changed > 0 {
        return Ok(());
    }
    out.flush().map_err(RelayctlError::Output)?;
    Err(RelayctlError::Refused(format!(
        "nothing was changed: {}",
        refusal(verb)
    )))
}

pub(crate) async fn list(
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let rules: StandingRules = client.get(path::STANDING_RULES).await?;
    if json {
        print_answer(out, &rules)
    } else {
        print_rules(out, &rules)
    }
}

/// Prints one line for each rule.
pub(crate) fn print_rules(
    out: &mut impl Write,
    rules: &StandingRules,
) -> Result<(), RelayctlError> {
    write_rules(out, rules).map_err(RelayctlError::Output)
}

pub(crate) fn write_rules(out: &mut impl Write, rules: &StandingRules) -> io::Result<()> {
    for destination in &rules.suspended {
        writeln!(out, "suspended: {}", escape(destination))?;
    }
    for rule in &rules.hold_incoming {
        let (what, since) = (described(rule), date(rule.since));
        writeln!(out, "held on arrival: {what} since {since}")?;
    }
    Ok(())
}

fn described(rule: &HoldRule) -> String {
    let mut words = vec!["mail".to_owned()];
    words.extend(
        rule.domain
            .iter()
            .map(|domain| format!("to {}", escape(domain))),
    );
    words.extend(
        rule.sender
            .iter()
            .map(|sender| format!("from <{}>", escape(sender))),
    );
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_a_line() {
        let rule = |domain: Option<&str>, sender: Option<&str>| HoldRule {
            domain: domain.map(str::to_owned),
            sender: sender.map(str::to_owned),
            since: 1_795_230_600,
        };
        let all = StandingRules {
            suspended: vec!["a.test".to_owned(), "smart.test:587".to_owned()],
            hold_incoming: vec![
                rule(Some("b.test"), None),
                rule(Some("b.test"), Some("")),
                rule(None, None),
            ],
        };
        let mut out = Vec::new();
        print_rules(&mut out, &all).expect("memory");
        let expected = "\
suspended: a.test
suspended: smart.test:587
held on arrival: mail to b.test since 21 Nov 2026 03:10:00 GMT
held on arrival: mail to b.test from <> since 21 Nov 2026 03:10:00 GMT
held on arrival: mail since 21 Nov 2026 03:10:00 GMT
";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
