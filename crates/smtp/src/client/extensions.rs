//! The extensions that a peer offers in its reply to EHLO (RFC 5321 §4.1.1.1).

use crate::reply::Reply;
use crate::sasl::Mechanism;

/// The service extensions that this client uses.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword that is there or not, alone"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Commands may be sent without waiting for replies (RFC 2920).
    pub pipelining: bool,
    /// MAIL takes `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// Envelope and headers may be UTF-8 (RFC 6531).
    pub utf8: bool,
    /// MAIL takes `SIZE=`; the number is the most octets of a message, 0 for no fixed limit
    /// (RFC 1870 §4).
    pub size: Option<u64>,
    /// MAIL takes `RET` and `ENVID`, RCPT takes `NOTIFY` and `ORCPT` (RFC 3461).
    pub dsn: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// The mechanisms of AUTH as the peer wrote them, separated by spaces (RFC 4954 §3).
    pub auth: String,
}

impl Extensions {
    /// Parses the lines after the first. Unknown and malformed lines are ignored.
    pub fn parse(reply: &Reply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines().iter().skip(1) {
            // Before RFC 2554 the form was `AUTH=`. Some servers still send it as well.
            let mut words = line.split(|c: char| c.is_ascii_whitespace() || c == '=');
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            let mut words = words.filter(|word| !word.is_empty());
            match keyword.as_str() {
                "PIPELINING" => offered.pipelining = true,
                "8BITMIME" => offered.eight_bit = true,
                "SMTPUTF8" => offered.utf8 = true,
                "SIZE" => offered.size = words.next().map_or(Some(0), |n| n.parse().ok()),
                "DSN" => offered.dsn = true,
                "STARTTLS" => offered.starttls = true,
                "AUTH" => words.for_each(|mechanism| offered.add(mechanism)),
                _ => {}
            }
        }
        offered
    }

    /// Whether AUTH by this mechanism is offered.
    pub fn offers(&self, mechanism: Mechanism) -> bool {
        self.auth
            .split(' ')
            .any(|offered| offered.eq_ignore_ascii_case(mechanism.name()))
    }

    fn add(&mut self, mechanism: &str) {
        if !self.auth.is_empty() {
            self.auth.push(' ');
        }
        self.auth.push_str(mechanism);
    }

    /// Whether a message of `size` octets exceeds the limit of the peer.
    pub fn refuses_size(&self, size: u64) -> Option<u64> {
        self.size.filter(|&limit| limit != 0 && size > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Extensions {
        let lines = lines.iter().map(ToString::to_string).collect();
        Extensions::parse(&Reply::received(250, None, lines))
    }

    #[test]
    fn keywords_are_parsed_in_any_case_and_unknown_lines_are_ignored() {
        let offered = parse(&[
            "mx.test PIPELINING",
            "pipelining",
            "Size 1000",
            "SMTPUTF8",
            "dsn",
            "XXXXXXXA",
            "",
        ]);
        assert_eq!(
            offered,
            Extensions {
                pipelining: true,
                eight_bit: false,
                utf8: true,
                size: Some(1000),
                dsn: true,
                ..Extensions::default()
            }
        );
        assert_eq!(parse(&["PIPELINING"]), Extensions::default());
    }

    #[test]
    fn a_size_without_a_limit_refuses_no_message() {
        assert_eq!(parse(&["mx", "SIZE"]).refuses_size(u64::MAX), None);
        assert_eq!(parse(&["mx", "SIZE 0"]).refuses_size(u64::MAX), None);
        assert_eq!(parse(&["mx", "SIZE 99999999999999999999"]).size, None);
        let limited = parse(&["mx", "SIZE 10"]);
        assert_eq!(limited.refuses_size(10), None);
        assert_eq!(limited.refuses_size(11), Some(10));
    }
}
