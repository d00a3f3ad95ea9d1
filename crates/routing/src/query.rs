//! The route that a message would take, as `relayctl route` shows it.

use relay_control::{Plan, PlannedHost};
use relay_remote::{Config, DecidedBy, Preview, PreviewedHost, Remote, TlsRule};
use relay_smtp::address::{AddressError, unbracketed};
use relay_smtp::{ForwardPath, ReversePath};

/// A sender and a recipient.
#[derive(Debug, Clone)]
pub struct RouteQuery {
    from: ReversePath,
    to: ForwardPath,
}

/// Which of the two addresses is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteQueryError {
    /// The sender is not an address, and not the null sender.
    #[error("the sender, {text:?}: {reason}")]
    Sender {
        /// The sender without angle brackets.
        text: String,
        /// What is wrong with it.
        reason: AddressError,
    },
    /// The recipient is not an address.
    #[error("the recipient, {text:?}: {reason}")]
    Recipient {
        /// The recipient without angle brackets.
        text: String,
        /// What is wrong with it.
        reason: AddressError,
    },
}

impl RouteQuery {
    /// Parses both addresses as they appear in a log or a header, with or without angle brackets.
    pub fn parse(from: &str, to: &str) -> Result<Self, RouteQueryError> {
        let (from, to) = (unbracketed(from), unbracketed(to));
        Ok(Self {
            from: from.parse().map_err(|reason| RouteQueryError::Sender {
                text: from.to_owned(),
                reason,
            })?,
            to: to.parse().map_err(|reason| RouteQueryError::Recipient {
                text: to.to_owned(),
                reason,
            })?,
        })
    }

    /// Returns the route by these settings and the DNS, without a daemon.
    pub async fn plan(&self, config: &Config) -> Plan {
        described(relay_remote::preview(config, &self.from, &self.to).await)
    }

    /// Returns the route that a running daemon would choose.
    pub async fn plan_of(&self, remote: &Remote) -> Plan {
        described(remote.preview(&self.from, &self.to).await)
    }
}

fn described(preview: Preview) -> Plan {
    let by = match &preview.by {
        DecidedBy::Route(route) => format!("[[route]] {route}"),
        DecidedBy::Literal(_) => "the recipient's domain, which is an address".to_owned(),
        DecidedBy::Mx(domain) => format!("MX of {domain}"),
    };
    let login = preview.credentials.map(|credentials| {
        let (name, kind) = (credentials.username(), credentials.source().kind());
        format!("{name}, by a {kind}")
    });
    Plan {
        by,
        destination: preview.destination.to_string(),
        login,
        hosts: preview.hosts.into_iter().map(host).collect(),
        problem: preview.problem,
    }
}

fn host(host: PreviewedHost) -> PlannedHost {
    let addresses = host.addresses.iter();
    PlannedHost {
        name: host.name,
        port: host.port,
        preference: host.preference,
        tls: tls(host.tls).to_owned(),
        addresses: addresses.map(ToString::to_string).collect(),
        problem: host.problem,
    }
}

/// Returns the name of the rule as in `route.tls`.
fn tls(rule: TlsRule) -> &'static str {
    match rule {
        TlsRule::Verified => "require",
        TlsRule::Opportunistic => "opportunistic",
        TlsRule::VerifiedFromTheStart => "implicit",
        TlsRule::Clear => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_have_angle_brackets_and_a_wrong_one_is_named() {
        for (from, to) in [("a@b.test", "<c@d.test>"), ("<>", "c@d.test")] {
            assert!(RouteQuery::parse(from, to).is_ok(), "{from} {to}");
        }
        let error = |from, to| RouteQuery::parse(from, to).expect_err(from).to_string();
        let sender = error("<nobody>", "c@d.test");
        assert!(sender.starts_with("the sender, \"nobody\": "), "{sender}");
        let recipient = error("<>", "nobody");
        assert!(
            recipient.starts_with("the recipient, \"nobody\": "),
            "{recipient}"
        );
    }
}
