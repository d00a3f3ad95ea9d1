//! Predicts the route of mail, for `relayctl route` and `relayd route`.

use relay_control::{Plan, PlannedHost};
use relay_remote::{DecidedBy, TlsRule};
use relay_smtp::{ForwardPath, ReversePath};

use crate::config::Config;

/// A sender and a recipient.
#[derive(Debug, Clone)]
pub struct Question {
    from: ReversePath,
    to: ForwardPath,
}

impl Question {
    /// Parses both addresses as they appear in a log or a header, with or without angle brackets.
    pub fn parse(from: &str, to: &str) -> Result<Self, String> {
        let bare = |text: &str| -> String {
            let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
            inner.unwrap_or(text).to_owned()
        };
        let from = bare(from)
            .parse()
            .map_err(|reason| format!("the sender, {from:?}: {reason}"))?;
        let to = bare(to)
            .parse()
            .map_err(|reason| format!("the recipient, {to:?}: {reason}"))?;
        Ok(Self { from, to })
    }

    /// Returns the route by this configuration and the DNS, without a daemon.
    pub async fn ask(&self, config: &Config) -> Plan {
        let plan = relay_remote::preview(&config.remote(&[]), &self.from, &self.to).await;
        described(plan)
    }

    /// Returns the route that the running daemon would choose.
    pub(crate) async fn ask_running(&self, remote: &relay_remote::Remote) -> Plan {
        described(remote.preview(&self.from, &self.to).await)
    }
}

fn described(plan: relay_remote::Preview) -> Plan {
    let by = match &plan.by {
        DecidedBy::Route(route) => format!("[[route]] {route}"),
        DecidedBy::Literal(_) => "the recipient's domain, which is an address".to_owned(),
        DecidedBy::Mx(domain) => format!("MX of {domain}"),
    };
    let login = plan.credentials.map(|credentials| {
        let (name, kind) = (credentials.username(), credentials.source().kind());
        format!("{name}, by a {kind}")
    });
    Plan {
        by,
        destination: plan.destination.to_string(),
        login,
        hosts: plan.hosts.into_iter().map(host).collect(),
        problem: plan.problem,
    }
}

fn host(host: relay_remote::PreviewedHost) -> PlannedHost {
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
