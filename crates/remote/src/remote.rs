//! The entry point of the crate: it takes jobs and returns outcomes.

use std::sync::{Arc, Mutex, PoisonError};

use relay_message::{Attempt, Deliver, DestinationKey};
use relay_smtp::{ForwardPath, Outcome, ReversePath};
use tokio::sync::watch;

use crate::alarms::Alarm;
use crate::attempt::{self, AttemptContext, RemoteState};
use crate::config::Config;
use crate::dns::Dns;
use crate::policy::{AsConfigured, TlsPolicy};
use crate::preview::Preview;
use crate::route::{NextHop, next_hop};
use crate::tls::Trust;

/// Delivers messages. A process needs only one.
#[derive(Debug)]
pub struct Remote {
    config: watch::Receiver<Arc<Config>>,
    policy: Arc<dyn TlsPolicy>,
    current: Mutex<Current>,
    state: Arc<RemoteState>,
}

/// The parts that depend on the configuration.
#[derive(Debug)]
struct Current {
    config: Arc<Config>,
    dns: Arc<Dns>,
    trust: Arc<Trust>,
}

impl Remote {
    /// Creates it with a configuration that may change at any time, and with TLS as configured.
    pub fn new(config: watch::Receiver<Arc<Config>>) -> Self {
        Self::with_policy(config, Arc::new(AsConfigured))
    }

    /// Creates it with another TLS policy.
    pub fn with_policy(config: watch::Receiver<Arc<Config>>, policy: Arc<dyn TlsPolicy>) -> Self {
        let current = Current::new(Arc::clone(&config.borrow()));
        Self {
            config,
            policy,
            current: Mutex::new(current),
            state: Arc::default(),
        }
    }

    /// Shows where mail would go with the current configuration and DNS.
    pub async fn preview(&self, sender: &ReversePath, recipient: &ForwardPath) -> Preview {
        let context = self.context();
        Preview::make(
            &context.config,
            &context.dns,
            &*context.policy,
            sender,
            recipient,
        )
        .await
    }

    /// The smarthosts that need the operator, those with the oldest problem first.
    pub fn alarms(&self) -> Vec<Alarm> {
        let config = self.config.borrow();
        self.state
            .alarms
            .retain(|name| config.routes.iter().any(|r| **r.name() == *name));
        self.state.alarms.list()
    }

    /// The resolver of the current configuration, for other lookups.
    pub fn dns(&self) -> Arc<Dns> {
        self.context().dns
    }

    /// Closes all idle connections with QUIT and keeps none from now on. Call it at the end of the
    /// program, when no delivery is running. It returns within a few seconds, no matter what the
    /// peers do.
    pub async fn close(&self) {
        self.state.pool.close().await;
    }

    fn context(&self) -> AttemptContext {
        let config = Arc::clone(&self.config.borrow());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current.config, &config) {
            current.become_new(config);
            let routes = &current.config.routes;
            self.state.secrets.retain(|credentials| {
                let known = routes.iter().filter_map(|r| r.credentials());
                known.into_iter().any(|c| **c == *credentials)
            });
        }
        AttemptContext {
            config: Arc::clone(&current.config),
            dns: Arc::clone(&current.dns),
            trust: Arc::clone(&current.trust),
            policy: Arc::clone(&self.policy),
            state: Arc::clone(&self.state),
        }
    }
}

impl Deliver for Remote {
    fn destination(&self, sender: &ReversePath, recipient: &ForwardPath) -> DestinationKey {
        let config = self.config.borrow();
        let hop = next_hop(&config.routes, &config.hostname, sender, recipient);
        DestinationKey(hop.destination())
    }

    /// If the configuration has changed so that the recipients no longer share a destination, each
    /// destination gets an attempt of its own, one after the other.
    async fn deliver(&self, attempt: Attempt) -> Vec<Outcome> {
        let context = self.context();
        let mut ways: Vec<(NextHop<'_>, Vec<usize>)> = Vec::new();
        for (i, recipient) in attempt.recipients.iter().enumerate() {
            let way = next_hop(
                &context.config.routes,
                &context.config.hostname,
                &attempt.sender,
                &recipient.path,
            );
            match ways.iter_mut().find(|(w, _)| *w == way) {
                Some((_, recipients)) => recipients.push(i),
                None => ways.push((way, vec![i])),
            }
        }
        let mut outcomes = Vec::with_capacity(attempt.recipients.len());
        for (way, recipients) in ways {
            outcomes.extend(attempt::attempt(&context, &attempt, recipients, &way).await);
        }
        outcomes.sort_unstable_by_key(|(i, _)| *i);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

impl Current {
    fn new(config: Arc<Config>) -> Self {
        Self {
            dns: Dns::new(&config.dns_servers),
            trust: Arc::new(Trust::new(config.ca_file.clone())),
            config,
        }
    }

    /// Keeps the DNS cache if the servers are configured and have not changed. The authorities are
    /// read again, because their file may have changed under the same name.
    fn become_new(&mut self, config: Arc<Config>) {
        if !self.dns.is_good_for(&config.dns_servers) {
            self.dns = Dns::new(&config.dns_servers);
        }
        self.trust = Arc::new(Trust::new(config.ca_file.clone()));
        self.config = config;
    }
}
