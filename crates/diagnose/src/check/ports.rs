//! Checks outbound port 25 and our own listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay_config::schema::{Listener, Role};
use relay_remote::dns::Dns;
use relay_remote::{Config, Inspector};
use relay_smtp::client::TlsUse;

use super::address::Smarthost;
use super::finding::Finding;
use crate::clock::now;
use crate::probe::{Handshake, InspectionError, Target, TlsInspection};
use relay_terminal::date;

const PORT: &str = "port 25";
const SMARTHOST: &str = "smarthost";
const LISTENER: &str = "listener";
/// A certificate should be renewed this many seconds before it expires.
const RENEWAL: u64 = 14 * 24 * 60 * 60;
/// The largest number of addresses of a target that are tried.
const MAX_ENDPOINTS: usize = 4;

/// Returns whether the listener treats clients from this address as proxies, and waits for a PROXY
/// header.
fn has_proxy(listener: &Listener, from: IpAddr) -> bool {
    let from = from.to_canonical();
    listener.proxies.iter().any(|proxy| proxy.0.contains(&from))
}

/// Why there was no session.
enum Unreached {
    /// There is no address to try.
    Nowhere(String),
    /// No address answers.
    Nobody(String),
}

/// What is needed to make connections.
pub(super) struct Ports<'a> {
    pub(super) config: &'a Config,
    pub(super) dns: &'a Arc<Dns>,
    pub(super) inspector: &'a Inspector,
    pub(super) limit: Duration,
}

impl Ports<'_> {
    /// Checks whether an SMTP session with any host of the target is possible.
    pub(super) async fn outbound(&self, target: &Target) -> Finding {
        match self.first(slice::from_ref(target), TlsUse::Never).await {
            Ok(endpoint) => Finding::ok(PORT, format!("{endpoint} accepts an SMTP session")),
            Err(Unreached::Nowhere(why)) => {
                Finding::warn(PORT, format!("no address to connect to: {why}"))
            }
            Err(Unreached::Nobody(why)) => {
                let advice = "ask your provider to open port 25, or set a smarthost";
                Finding::fail(PORT, format!("mail cannot be sent: {why}; {advice}"))
            }
        }
    }

    /// Checks whether an SMTP session with any host of the smarthost is possible, with TLS as in
    /// its route.
    pub(super) async fn smarthost(&self, smarthost: &Smarthost) -> Finding {
        match self.first(&smarthost.targets, smarthost.tls).await {
            Ok(endpoint) => Finding::ok(SMARTHOST, format!("{endpoint} accepts an SMTP session")),
            Err(Unreached::Nowhere(why) | Unreached::Nobody(why)) => {
                let advice = "check host, port and tls of its [[route]], and that no firewall \
                              blocks the connection";
                Finding::fail(SMARTHOST, format!("mail cannot be sent: {why}; {advice}"))
            }
        }
    }

    /// Returns the first endpoint of the targets with which a session is possible.
    async fn first(&self, targets: &[Target], tls: TlsUse) -> Result<String, Unreached> {
        let (mut endpoints, mut problems) = (Vec::new(), Vec::new());
        for target in targets {
            match target.endpoints(self.dns, self.config).await {
                Ok(found) => endpoints.extend(found.into_iter().take(MAX_ENDPOINTS)),
                Err(reason) => problems.push(reason.to_string()),
            }
        }
        if endpoints.is_empty() {
            return Err(Unreached::Nowhere(problems.join("; ")));
        }
        // All endpoints together may take as long as one check.
        let look = self.look(self.limit / u32::try_from(endpoints.len() + 1).unwrap_or(u32::MAX));
        for endpoint in &endpoints {
            let (host, address) = (&endpoint.host, endpoint.address);
            match look.at(address, host, tls).await {
                Ok(_) => return Ok(format!("{host} ({address})")),
                Err(reason) => problems.push(reason.to_string()),
            }
        }
        Err(Unreached::Nobody(problems.join("; ")))
    }

    /// Checks each of our own listeners from this machine.
    pub(super) async fn listeners(&self, listeners: &[Listener]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for listener in listeners {
            // A Unix socket has no certificate.
            let Some(bound) = listener.address.0.tcp() else {
                continue;
            };
            // A connection to an address of this machine comes from the same address.
            findings.push(if has_proxy(listener, reachable(bound).ip()) {
                let text = "not checked: this machine is one of its proxies";
                Finding::info(LISTENER, format!("{bound}: {text}"))
            } else {
                self.listener(bound, listener.role).await
            });
        }
        findings
    }

    async fn listener(&self, bound: SocketAddr, role: Role) -> Finding {
        let tls = match role {
            Role::Mx | Role::Submission => TlsUse::IfOffered,
            Role::Submissions => TlsUse::Active,
        };
        let look = self.look(self.limit);
        let handshake = look.at(reachable(bound), &self.config.hostname, tls).await;
        judge(bound, role, handshake, now())
    }

    fn look(&self, limit: Duration) -> TlsInspection<'_> {
        TlsInspection {
            inspector: self.inspector,
            hostname: &self.config.hostname,
            limit,
        }
    }
}

/// Returns an address at which a listener on all addresses can be reached from this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

fn judge(
    bound: SocketAddr,
    role: Role,
    handshake: Result<Option<Handshake>, InspectionError>,
    now: SystemTime,
) -> Finding {
    // Other mail servers accept any certificate, but mail programs of users do not.
    let bad = match role {
        Role::Mx => Finding::warn,
        Role::Submission | Role::Submissions => Finding::fail,
    };
    let handshake = match handshake {
        Ok(Some(handshake)) => handshake,
        Ok(None) => {
            return bad(
                LISTENER,
                format!("{bound} offers no TLS: set tls.certificate"),
            );
        }
        Err(why) => return Finding::fail(LISTENER, format!("{bound}: {why}; is relayd running?")),
    };
    if let Some(flaw) = handshake.flaws.first() {
        return bad(
            LISTENER,
            format!("{bound}: its certificate is not verified: {flaw}"),
        );
    }
    let Some(own) = handshake.chain.first() else {
        return bad(LISTENER, format!("{bound}: its certificate cannot be read"));
    };
    let until = date(own.not_after);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if own.not_after < since.as_secs().saturating_add(RENEWAL) {
        return Finding::warn(
            LISTENER,
            format!("{bound}: its certificate expires on {until}"),
        );
    }
    let names = own.names.join(" ");
    Finding::ok(
        LISTENER,
        format!("{bound}: a certificate for {names}, valid until {until}"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::probe::{End, Endpoint};
    use relay_testkit::{Certificate, FakeMx};
    use std::io::Write;

    #[tokio::test]
    async fn port_25_is_open_if_a_server_accepts_a_session() {
        let mx = FakeMx::start().await;
        let (config, dns) = (Config::default(), Dns::new(&[]));
        let inspector = Inspector::new(None).expect("authorities");
        let ports = Ports {
            config: &config,
            dns: &dns,
            inspector: &inspector,
            limit: relay_testkit::DEADLINE,
        };
        let target = mx.address().to_string().parse().expect("a target");
        assert_eq!(ports.outbound(&target).await.level, Level::Ok);
        mx.on("connect", "554 5.7.1 go away");
        let refused = ports.outbound(&target).await;
        assert!(refused.level == Level::Fail && refused.text.contains("go away"));
        drop(mx);
        assert_eq!(ports.outbound(&target).await.level, Level::Fail);
    }

    #[tokio::test]
    async fn a_certificate_must_have_the_hostname_and_not_expire_soon() {
        let names = ["mx.test"];
        let (good, old) = (Certificate::for_names(&names), Certificate::expired(&names));
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let authorities = good.pem() + &old.pem();
        file.write_all(authorities.as_bytes()).expect("written");
        let inspector = Inspector::new(Some(file.path())).expect("authorities");
        let dns = Dns::new(&[]);
        let mx = FakeMx::start().await;
        for (certificate, hostname, role, level) in [
            (Some(&good), "mx.test", Role::Submission, Level::Ok),
            (Some(&good), "other.test", Role::Submission, Level::Fail),
            (Some(&good), "other.test", Role::Mx, Level::Warn),
            (Some(&old), "mx.test", Role::Submission, Level::Fail),
            (Some(&good), "mx.test", Role::Submissions, Level::Ok),
        ] {
            match certificate {
                Some(certificate) if role == Role::Submissions => mx.begin_with_tls(certificate),
                Some(certificate) => mx.offer_tls(certificate),
                None => {}
            }
            let config = Config {
                hostname: hostname.to_owned(),
                ..Config::default()
            };
            let ports = Ports {
                config: &config,
                dns: &dns,
                inspector: &inspector,
                limit: relay_testkit::DEADLINE,
            };
            let finding = ports.listener(mx.address(), role).await;
            assert_eq!(finding.level, level, "{finding:?}");
        }
    }

    #[test]
    fn a_listener_without_tls_or_without_an_answer_is_reported() {
        let bound = "[::]:25".parse().expect("an address");
        let refused = InspectionError::Ended {
            endpoint: Endpoint {
                host: "mx.test".to_owned(),
                address: bound,
            },
            end: End::Refused("554 no".to_owned()),
        };
        for (role, handshake, level) in [
            (Role::Mx, Ok(None), Level::Warn),
            (Role::Submission, Ok(None), Level::Fail),
            (Role::Mx, Err(refused), Level::Fail),
        ] {
            let finding = judge(bound, role, handshake, UNIX_EPOCH);
            assert_eq!(finding.level, level, "{finding:?}");
        }
        assert_eq!(reachable(bound).to_string(), "[::1]:25");
    }
}
