//! `[inbound]`

use std::time::Duration;

use relay_mailauth::Policy;

use super::{Mapping, schema};

/// The checks of external clients and their mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundConfig {
    /// What the checks do with messages. Without a policy, nothing is checked.
    pub policy: Option<Policy>,
    /// The zones of the block lists.
    pub dnsbl: Vec<String>,
    /// The time limit for all lookups about a client, and again for all about a message.
    pub timeout: Duration,
}

impl InboundConfig {
    /// Returns the settings of the checks.
    pub(crate) fn settings(&self, hostname: &str) -> relay_mailauth::Settings {
        relay_mailauth::Settings {
            hostname: hostname.into(),
            policy: self.policy,
            dnsbl: self.dnsbl.clone(),
            timeout: self.timeout,
        }
    }
}

impl Mapping<'_> {
    pub(super) fn inbound(&self) -> InboundConfig {
        let inbound = &self.file.inbound;
        let zones = inbound.dnsbl.iter();
        InboundConfig {
            policy: match inbound.dmarc {
                schema::InboundDmarc::Off => None,
                schema::InboundDmarc::Report => Some(Policy::Report),
                schema::InboundDmarc::Enforce => Some(Policy::Enforce),
            },
            dnsbl: zones.map(|zone| zone.0.to_string()).collect(),
            timeout: inbound.timeout.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError};
    use super::*;

    fn parse(text: &str) -> Result<InboundConfig, ConfigError> {
        let text = format!("hostname = \"relay.test\"\n{text}");
        Ok(Config::parse("relayd.toml".as_ref(), &text)?.inbound)
    }

    #[test]
    fn nothing_is_checked_unless_configured() {
        for text in ["", "[inbound]\n", "[inbound]\ndmarc = \"off\"\n"] {
            let inbound = parse(text).expect(text);
            assert_eq!((inbound.policy, inbound.dnsbl.len()), (None, 0), "{text}");
        }
        let all =
            "[inbound]\ndmarc = \"enforce\"\ndnsbl = [\"Zen.spamhaus.org\"]\ntimeout = \"5s\"\n";
        let expected = InboundConfig {
            policy: Some(Policy::Enforce),
            dnsbl: vec!["zen.spamhaus.org".to_owned()],
            timeout: Duration::from_secs(5),
        };
        assert_eq!(parse(all), Ok(expected));
    }

    #[test]
    fn a_bad_value_is_reported_with_its_line() {
        let many: Vec<String> = (0..17).map(|n| format!("\"l{n}.test\"")).collect();
        let many = format!("dnsbl = [{}]", many.join(", "));
        for (line, expected) in [
            (
                "dmarc = \"reject\"",
                "relayd.toml:3: inbound.dmarc: unknown value \"reject\", expected one of \"off\", \"report\", \"enforce\"",
            ),
            (
                "dnsbl = [\"a.test\", \"spamhaus\"]",
                "relayd.toml:3: inbound.dnsbl: \"spamhaus\" is not a list such as \"zen.spamhaus.org\"",
            ),
            (
                "dnsbl = [\"a.test\", \"A.test\"]",
                "relayd.toml:3: inbound.dnsbl: \"a.test\" is listed twice",
            ),
            (
                "dnsbl = [\"a b\"]",
                "relayd.toml:3: inbound.dnsbl: \"a b\" is not a domain such as \"example.org\": labels are made of letters, digits, and hyphens between them",
            ),
            (
                &many,
                "relayd.toml:3: inbound.dnsbl: every client is looked up in each list: use at most 16",
            ),
            (
                "timeout = \"2m\"",
                "relayd.toml:3: inbound.timeout: clients would give up first: use at most 60s",
            ),
            (
                "spf = true",
                "relayd.toml:3: unknown key \"spf\" in [inbound]",
            ),
        ] {
            let text = format!("[inbound]\n{line}\n");
            let found = parse(&text).expect_err(line).to_string();
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
