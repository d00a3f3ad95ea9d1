//! What stands until it is taken back.

use std::io::{self, Write};

use relay_control::{HoldRule, Orders};

use crate::failure::Failure;
use relay_terminal::{date, escape};

/// A line for each order.
pub(crate) fn orders(out: &mut impl Write, orders: &Orders) -> Result<(), Failure> {
    write_orders(out, orders).map_err(Failure::Output)
}

pub(super) fn write_orders(out: &mut impl Write, orders: &Orders) -> io::Result<()> {
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
        let all = Orders {
            suspended: vec!["a.test".to_owned(), "smart.test:587".to_owned()],
            hold_incoming: vec![
                rule(Some("b.test"), None),
                rule(Some("b.test"), Some("")),
                rule(None, None),
            ],
        };
        let mut out = Vec::new();
        orders(&mut out, &all).expect("memory");
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
