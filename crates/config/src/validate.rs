//! Checks that concern several keys.

mod dkim;
mod inbound;
mod limits;
mod rewrite;

use std::net::SocketAddr;

use crate::error::ConfigError;
use crate::key_path::{KeyStep, key};
use crate::networks;
use crate::schema::{self, given};
use crate::strict::Strict;
use crate::values::ListenAddress;

impl Strict<'_> {
    /// Refuses keys that contradict each other.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let queue = &self.file.queue;
        if queue.retry_unit.0 > queue.retry_max_interval.0 {
            let interval = humantime::format_duration(queue.retry_max_interval.0);
            let reason = format!(
                "{} is longer than queue.retry_max_interval, {interval}",
                humantime::format_duration(queue.retry_unit.0),
            );
            let path = [key("queue"), key("retry_unit")];
            return Err(self.source.error_at(&path, reason));
        }
        self.no_open_relay()?;
        self.tls()?;
        self.listeners()?;
        self.dkim()?;
        self.inbound()?;
        self.rewrite()?;
        self.limits()
    }

    /// Refuses a certificate without a key, and a key without a certificate.
    fn tls(&self) -> Result<(), ConfigError> {
        let tls = &self.file.tls;
        let error =
            |name, reason: &str| Err(self.source.error_at(&[key("tls"), key(name)], reason));
        match (given(&tls.certificate).is_some(), given(&tls.key).is_some()) {
            (true, false) => error("certificate", "needs tls.key"),
            (false, true) => error("key", "needs tls.certificate"),
            (false, false) if !tls.extra.is_empty() => error(
                "extra",
                "needs tls.certificate and tls.key, for clients that ask for no name",
            ),
            _ => Ok(()),
        }
    }

    /// Refuses an open relay unless a second key requests it.
    fn no_open_relay(&self) -> Result<(), ConfigError> {
        let relay = &self.file.relay;
        let everyone = networks::internet(&relay.networks);
        match everyone {
            Some(index) if !relay.open => {
                let path = [key("relay"), key("networks"), KeyStep::Index(index)];
                let reason = format!(
                    "\"{}\" makes an open relay that anyone may send through: \
                     name your own networks, or set relay.open = true",
                    relay.networks[index].0
                );
                Err(self.source.error_at(&path, reason))
            }
            _ => Ok(()),
        }
    }

    fn listeners(&self) -> Result<(), ConfigError> {
        let listeners = &self.file.listener;
        if listeners.is_empty() {
            let reason = "nothing to listen on: add a [[listener]]";
            return Err(self.source.error_at(&[key("listener")], reason));
        }
        for (index, listener) in listeners.iter().enumerate() {
            let address = &listener.address.0;
            let same = |other: &schema::Listener| other.address.0 == *address;
            let path = |name| [key("listener"), KeyStep::Index(index), key(name)];
            let any_port = address.tcp().is_some_and(|address| address.port() == 0);
            if !any_port && listeners[..index].iter().any(same) {
                let reason = format!("another [[listener]] already has {address}");
                return Err(self.source.error_at(&path("address"), reason));
            }
            if let Some(wildcard) = address.tcp().and_then(|a| covering(a, listeners)) {
                let reason = format!(
                    "{wildcard} already covers {address}: \
                     remove one of them, or name each address instead of {wildcard}"
                );
                return Err(self.source.error_at(&path("address"), reason));
            }
            if let ListenAddress::Unix(_) = address {
                self.unix(index, listener)?;
                continue;
            }
            let has_certificate = given(&self.file.tls.certificate).is_some();
            if listener.role == schema::Role::Submissions && !has_certificate {
                let reason = "\"submissions\" is TLS from the first byte: \
                    set tls.certificate and tls.key";
                return Err(self.source.error_at(&path("role"), reason));
            }
        }
        Ok(())
    }

    /// Refuses keys that have no meaning for a Unix socket: it needs no TLS, and the system identifies its client.
    fn unix(&self, index: usize, listener: &schema::Listener) -> Result<(), ConfigError> {
        let error = |name, reason: &str| {
            let path = [key("listener"), KeyStep::Index(index), key(name)];
            Err(self.source.error_at(&path, reason))
        };
        if listener.role == schema::Role::Submissions {
            return error(
                "role",
                "\"submissions\" is TLS, which a Unix socket has no use for: \
                 make it \"submission\"",
            );
        }
        if !listener.proxies.is_empty() {
            return error("proxies", "a Unix socket cannot have proxies");
        }
        Ok(())
    }
}

/// Returns the listener on all addresses that covers this address and port. `[::]` covers IPv4 as well, unless
/// another listener has `0.0.0.0` with the same port.
fn covering(address: SocketAddr, listeners: &[schema::Listener]) -> Option<SocketAddr> {
    let (ip, port) = (address.ip(), address.port());
    let mut wildcards = listeners
        .iter()
        .filter_map(|listener| listener.address.0.tcp())
        .filter(|other| other.port() == port && other.ip().is_unspecified());
    let covers = |other: &SocketAddr| other.is_ipv6() || ip.is_ipv4();
    if port == 0 || ip.is_unspecified() {
        None
    } else {
        wildcards.find(covers)
    }
}
