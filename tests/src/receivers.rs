//! The hosts that a load's mail goes to.

use std::net::{IpAddr, Ipv4Addr};

use relay_testkit::{FakeDns, FakeMx};

use crate::ledger::{Arrivals, Fate};
use crate::{Ledger, Verdict};

const REFUSAL: &str = "550 5.1.1 no such user";

/// One host for each domain, and the senders' host.
#[derive(Debug)]
pub struct Receivers {
    now: FakeMx,
    later: FakeMx,
    gone: FakeMx,
    sender: FakeMx,
    dns: FakeDns,
}

impl Receivers {
    /// Starts the hosts. The one for later mail refuses it at first.
    pub async fn start() -> Self {
        let addresses = [2, 3, 4, 5].map(|n| IpAddr::from(Ipv4Addr::new(127, 0, 0, n)));
        let [now, later, gone, sender] = FakeMx::start_on(addresses).await;
        let dns = FakeDns::start().await;
        let domains = [Fate::Now, Fate::Later, Fate::Gone].map(Fate::domain);
        let domains = domains.into_iter().chain(["sender.test"]);
        for (domain, address) in domains.zip(addresses) {
            let host = format!("mx.{domain}");
            dns.set(domain, "MX", &[&format!("10 {host}")]);
            dns.set(&host, "A", &[&address.to_string()]);
        }
        gone.on("rcpt", REFUSAL);
        now.on(&format!("rcpt {}", Fate::Refused.tag()), REFUSAL);
        let receivers = Self {
            now,
            later,
            gone,
            sender,
            dns,
        };
        receivers.refuse_later();
        receivers
    }

    /// The configuration that a relay needs to find the hosts.
    pub fn config(&self) -> String {
        format!(
            "[delivery]\nport = {}\nrefuse_addresses = []\n[dns]\nservers = [\"{}\"]\n",
            self.now.address().port(),
            self.dns.address()
        )
    }

    /// Makes the host for later mail refuse it.
    pub fn refuse_later(&self) {
        self.later.on("connect", "421 4.3.2 not now");
    }

    /// Makes the host for later mail accept it from now on.
    pub fn take_later(&self) {
        self.later.behave();
    }

    /// Compares everything that arrived with what was acknowledged, and forgets both.
    pub fn judge(&self, ledger: &Ledger) -> Verdict {
        let mut arrivals = Arrivals::default();
        for (fate, host) in [(Fate::Now, &self.now), (Fate::Later, &self.later)] {
            for message in host.take_messages() {
                arrivals.deliver(fate.domain(), &message);
            }
        }
        for message in self.sender.take_messages() {
            arrivals.report(&message);
        }
        let refused = self.gone.take_messages();
        assert!(refused.is_empty(), "it accepts none: {refused:?}");
        ledger.close(&arrivals)
    }
}
