//! `[inbound]`

use std::time::Duration;

use relay_mailauth::Policy;

use super::{ConfigError, KeyStep, Mapping, key, schema};

/// The largest number of block lists. Each of them is queried about every client.
const MAX_LISTS: usize = 16;

/// The longest time for lookups. A client waits for them before its next reply, and gives up after
/// some minutes (RFC 5321 §4.5.3.2).
const LONGEST: Duration = Duration::from_mins(1);

/// The checks of external clients and their mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// What the checks do with messages. Without a policy, nothing is checked.
    pub policy: Option<Policy>,
    /// The zones of the block lists.
    pub dnsbl: Vec<String>,
    /// The time limit for all lookups about a client, and again for all about a message.
    pub timeout: Duration,
}

impl Inbound {
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
    pub(super) fn inbound(&self) -> Result<Inbound, ConfigError> {
        let inbound = &self.file.inbound;
        let error = |path: &[KeyStep], reason: String| Err(self.source.error_at(path, reason));
        let place = |name| [key("inbound"), key(name)];
        let dnsbl: Vec<String> = inbound
            .dnsbl
            .iter()
            .map(|zone| zone.0.to_string())
            .collect();
        for (index, zone) in dnsbl.iter().enumerate() {
            let path = [key("inbound"), key("dnsbl"), KeyStep::Index(index)];
            if !zone.contains('.') {
                return error(
                    &path,
                    format!("{zone:?} is no list such as \"zen.spamhaus.org\""),
                );
            }
            if dnsbl[..index].contains(zone) {
                return error(&path, format!("{zone:?} is there twice"));
            }
        }
        if dnsbl.len() > MAX_LISTS {
            let reason = format!("each list is asked about every client: {MAX_LISTS} at the most");
            return error(&place("dnsbl"), reason);
        }
        if inbound.timeout.0 > LONGEST {
            let reason = "clients would give up before: 60s at the most".to_owned();
            return error(&place("timeout"), reason);
        }
        Ok(Inbound {
            policy: match inbound.dmarc {
                schema::InboundDmarc::Off => None,
                schema::InboundDmarc::Report => Some(Policy::Report),
                schema::InboundDmarc::Enforce => Some(Policy::Enforce),
            },
            dnsbl,
            timeout: inbound.timeout.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Inbound, String> {
        let text = format!("hostname = \"relay.test\"\n{text}");
        let config = Config::parse("relayd.toml".as_ref(), &text);
        config
            .map(|config| config.inbound)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_looked_into_unless_that_is_asked_for() {
        for text in ["", "[inbound]\n", "[inbound]\ndmarc = \"off\"\n"] {
            let inbound = parse(text).expect(text);
            assert_eq!((inbound.policy, inbound.dnsbl.len()), (None, 0), "{text}");
        }
        let all =
            "[inbound]\ndmarc = \"enforce\"\ndnsbl = [\"Zen.spamhaus.org\"]\ntimeout = \"5s\"\n";
        let expected = Inbound {
            policy: Some(Policy::Enforce),
            dnsbl: vec!["zen.spamhaus.org".to_owned()],
            timeout: Duration::from_secs(5),
        };
        assert_eq!(parse(all), Ok(expected));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_file_line_and_key() {
        let many: Vec<String> = (0..17).map(|n| format!("\"l{n}.test\"")).collect();
        let many = format!("dnsbl = [{}]", many.join(", "));
        for (line, expected) in [
            (
                "dmarc = \"reject\"",
                "relayd.toml:3: inbound.dmarc: unknown value \"reject\", expected one of \"off\", \"report\", \"enforce\"",
            ),
            (
                "dnsbl = [\"a.test\", \"spamhaus\"]",
                "relayd.toml:3: inbound.dnsbl: \"spamhaus\" is no list such as \"zen.spamhaus.org\"",
            ),
            (
                "dnsbl = [\"a.test\", \"A.test\"]",
                "relayd.toml:3: inbound.dnsbl: \"a.test\" is there twice",
            ),
            (
                "dnsbl = [\"a b\"]",
                "relayd.toml:3: inbound.dnsbl: \"a b\" is not a domain such as \"example.org\": labels are made of letters, digits, and hyphens between them",
            ),
            (
                &many,
                "relayd.toml:3: inbound.dnsbl: each list is asked about every client: 16 at the most",
            ),
            (
                "timeout = \"2m\"",
                "relayd.toml:3: inbound.timeout: clients would give up before: 60s at the most",
            ),
            (
                "spf = true",
                "relayd.toml:3: unknown key \"spf\" in [inbound]",
            ),
        ] {
            let found = parse(&format!("[inbound]\n{line}\n")).expect_err(line);
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
