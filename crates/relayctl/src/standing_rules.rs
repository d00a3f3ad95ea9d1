//! Rules that stay in force until they are removed: `suspend`, `resume`, and `queue hold --incoming`.

use std::io::{self, Write};

use relay_control::{HoldRule, RuleChange, Scope, StandingRules, path};
use relay_terminal::{date, escape};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::print_answer;
use crate::urlencode;

/// A change of the standing rules.
pub(crate) enum RuleVerb<'a> {
    Suspend(&'a str),
    Resume(&'a str),
    Hold(Scope),
    Release(Scope),
}

impl RuleVerb<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Suspend(_) => "suspend",
            Self::Resume(_) => "resume",
            Self::Hold(_) => "hold",
            Self::Release(_) => "release",
        }
    }

    fn form(&self) -> String {
        match self {
            Self::Suspend(name) | Self::Resume(name) => {
                urlencode::encode([("destination", (*name).to_owned())])
            }
            Self::Hold(scope) | Self::Release(scope) => urlencode::encode(scope.pairs()),
        }
    }

    /// The reason why nothing was changed.
    fn refusal(&self) -> &'static str {
        match self {
            Self::Suspend(_) => "it is suspended already",
            Self::Resume(_) => "no destination of that name is suspended",
            Self::Hold(_) => "it is held already",
            Self::Release(_) => "there is no such rule",
        }
    }
}

/// Checks that a rule for incoming mail can have these conditions.
pub(crate) fn rule(scope: Scope) -> Result<Scope, Failure> {
    match &scope {
        Scope::Some(filter) if !filter.is_for_incoming() => Err(Failure::Usage(
            "incoming mail can be held by --domain and --sender only, or --all of it".to_owned(),
        )),
        Scope::All | Scope::Some(_) => Ok(scope),
    }
}

pub(crate) async fn run(
    order: &RuleVerb<'_>,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let path = format!("{}/{}", path::ORDERS, order.name());
    let ordered: RuleChange = client.order(&path, order.form()).await?;
    if json {
        print_answer(out, &ordered)?;
    } else {
        print_rules(out, &ordered.rules)?;
    }
    if ordered.changed > 0 {
        return Ok(());
    }
    out.flush().map_err(Failure::Output)?;
    Err(Failure::Refused(format!(
        "nothing was changed: {}",
        order.refusal()
    )))
}

pub(crate) async fn list(client: &Client, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let orders: StandingRules = client.get(path::ORDERS).await?;
    if json {
        print_answer(out, &orders)
    } else {
        print_rules(out, &orders)
    }
}

/// Prints one line for each rule.
pub(crate) fn print_rules(out: &mut impl Write, orders: &StandingRules) -> Result<(), Failure> {
    write_rules(out, orders).map_err(Failure::Output)
}

pub(crate) fn write_rules(out: &mut impl Write, orders: &StandingRules) -> io::Result<()> {
    for destination in &orders.suspended {
        writeln!(out, "suspended: {}", escape(destination))?;
    }
    for rule in &orders.hold_incoming {
        let (what, since) = (described(rule), date(rule.since));
        writeln!(out, "held as it comes in: {what} since {since}")?;
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
    fn each_order_is_a_line() {
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
held as it comes in: mail to b.test since 21 Nov 2026 03:10:00 GMT
held as it comes in: mail to b.test from <> since 21 Nov 2026 03:10:00 GMT
held as it comes in: mail since 21 Nov 2026 03:10:00 GMT
";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
