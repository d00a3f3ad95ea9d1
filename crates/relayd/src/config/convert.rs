//! Converts the configuration to that of each part of the relay.

use std::sync::Arc;

use relay_smtpd::{AuthLimits, ListenerAddress, NoTemporaryRelay, Role};

use super::Config;

impl Config {
    /// Returns the configuration of the server, without the values that are read from files of
    /// their own: certificates, keys, users and temporary permissions.
    pub fn smtpd(&self) -> relay_smtpd::ServerConfig {
        relay_smtpd::ServerConfig {
            hostname: self.hostname.as_str().into(),
            postmaster: self.postmaster.clone(),
            relay: self.relay.clone(),
            limits: self.limits,
            tls: None,
            users: None,
            temporary_relay: Arc::new(NoTemporaryRelay),
            auth: AuthLimits {
                lockout: self.auth.lockout,
            },
            rewriting: self.rewriting.clone(),
            signer: Arc::default(),
            inbound: None,
        }
    }

    /// Returns the configuration of deliveries. An MX that leads to one of these listeners is this
    /// relay itself.
    pub fn remote(&self, listeners: &[(ListenerAddress, Role)]) -> relay_remote::Config {
        let bound = listeners.iter().filter_map(|(address, _)| address.tcp());
        relay_remote::Config {
            own_addresses: bound.collect(),
            ..self.delivery.clone()
        }
    }

    /// Returns the configuration of the schedule, without the keys that sign its reports.
    pub fn send(&self) -> relay_send::Config {
        relay_send::Config {
            hostname: self.hostname.clone(),
            postmaster: self.postmaster.clone(),
            retry: self.retry,
            concurrency: self.concurrency,
            reports: self.reports,
            signer: None,
            standing_rules: relay_send::StandingRules::default(),
        }
    }
}
