//! One attempt for recipients with the same next hop: tries hosts until each recipient has an
//! outcome.

use std::sync::Arc;

use relay_message::Attempt;
use relay_smtp::client::{Answer, Envelope, Trouble};
use relay_smtp::{Outcome, Peer, Recipient, Verdict};
use tokio::time::Instant;

use crate::alarms::Alarms;
use crate::broken_tls::BrokenTls;
use crate::classify::{Cause, Hop, classify, more_hopeful};
use crate::config::Config;
use crate::connection::{ConnectError, Connection, Connector, Reports, TransactionError};
use crate::deadline::after;
use crate::dns::Dns;
use crate::events;
use crate::login::SessionLogin;
use crate::mx::{self, Exchangers, Target};
use crate::policy::{Destination, TlsPolicy, TlsRule};
use crate::pool::Pool;
use crate::pool_key::PoolKey;
use crate::route::{NextHop, Route};
use crate::secrets::{SecretUnavailable, Secrets};
use crate::tls::Trust;

/// The most connections that one attempt opens.
const MAX_CONNECTIONS: usize = 12;

/// The configuration and the shared parts that one attempt uses.
#[derive(Debug, Clone)]
pub(crate) struct AttemptContext {
    pub(crate) config: Arc<Config>,
    pub(crate) dns: Arc<Dns>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) policy: Arc<dyn TlsPolicy>,
    pub(crate) state: Arc<RemoteState>,
}

/// The state that lives longer than one attempt.
#[derive(Debug, Default)]
pub(crate) struct RemoteState {
    pub(crate) pool: Arc<Pool>,
    pub(crate) broken_tls: BrokenTls,
    pub(crate) secrets: Secrets,
    pub(crate) alarms: Alarms,
}

pub(crate) struct AttemptState<'a> {
    context: &'a AttemptContext,
    attempt: &'a Attempt,
    next: &'a NextHop<'a>,
    hop: Hop,
    destination: Arc<str>,
    /// The indices of the attempt's recipients that have no outcome yet.
    pending: Vec<usize>,
    outcomes: Vec<(usize, Outcome)>,
    /// The most hopeful failure so far, for recipients that no host answers for.
    trouble: Option<Outcome>,
    connections_left: usize,
    /// No new host is tried after this instant.
    until: Instant,
    alarmed: bool,
}

/// Makes one attempt for the recipients at these indices and returns an outcome for each.
pub(crate) async fn attempt(
    context: &AttemptContext,
    attempt: &Attempt,
    recipients: Vec<usize>,
    next: &NextHop<'_>,
) -> Vec<(usize, Outcome)> {
    let mut attempt = AttemptState {
        context,
        attempt,
        next,
        hop: match next {
            NextHop::Smarthost(_) => Hop::Smarthost,
            NextHop::Literal(_) | NextHop::Mx(_) => Hop::Recipient,
        },
        destination: next.destination(),
        outcomes: Vec::with_capacity(recipients.len()),
        pending: recipients,
        trouble: None,
        connections_left: MAX_CONNECTIONS,
        until: after(context.config.command_timeout.saturating_mul(2)),
        alarmed: false,
    };
    match next {
        NextHop::Smarthost(route) => attempt.by_route(route).await,
        NextHop::Literal(address) => {
            let target = mx::literal(*address, &context.config);
            attempt.try_found(target).await;
        }
        NextHop::Mx(domain) => attempt.by_mx(domain).await,
    }
    attempt.finish()
}

impl AttemptState<'_> {
    async fn by_route(&mut self, route: &Route) {
        for host in route.hosts() {
            let (dns, config) = (&self.context.dns, &self.context.config);
            let target = mx::smarthost(dns, host, route.port(), config).await;
            self.try_found(target).await;
            if self.is_over() {
                return;
            }
        }
    }

    async fn by_mx(&mut self, domain: &str) {
        let mut exchangers = match Exchangers::of(&self.context.dns, domain).await {
            Ok(exchangers) => exchangers,
            Err(cause) => return self.note(cause, None),
        };
        while let Some(group) = exchangers
            .next(&self.context.dns, &self.context.config)
            .await
        {
            for (_, target) in group.hosts {
                self.try_found(target).await;
                if self.is_over() {
                    return;
                }
            }
        }
    }

    async fn try_found(&mut self, found: Result<Target, Cause>) {
        match found {
            Ok(target) => self.try_target(target).await,
            // A loop that shows up only after unreachable hosts adds nothing to their failures.
            Err(Cause::Loop(_)) if self.trouble.is_some() => {}
            Err(cause) => self.note(cause, None),
        }
    }

    /// Tries all addresses of a host. An idle connection to an address is used first.
    async fn try_target(&mut self, target: Target) {
        let Target { host, addresses } = target;
        let pool_key = self.pool_key(&host).await;
        for address in addresses {
            if self.is_over() {
                return;
            }
            if let Some(mut connection) = self.context.state.pool.take(address, &pool_key) {
                connection.now_for(&host);
                if self.transact(connection).await == ConnectionUse::Used {
                    continue;
                }
            }
            let peer = Peer {
                host: host.clone(),
                address,
                tls: None,
            };
            self.try_address(peer, &pool_key).await;
        }
    }

    async fn pool_key(&self, host: &str) -> PoolKey {
        let destination = match self.next {
            NextHop::Smarthost(route) => Destination::Smarthost { route, host },
            NextHop::Literal(_) => Destination::Exchanger { domain: host, host },
            NextHop::Mx(domain) => Destination::Exchanger { domain, host },
        };
        let rule = self.context.policy.rule(destination).await;
        PoolKey::new(destination, rule)
    }

    /// Opens a new connection. It tries once more in clear text if TLS broke and the policy allows
    /// that, and once more with a new secret if the host rejected a cached one.
    async fn try_address(&mut self, peer: Peer, pool_key: &PoolKey) {
        loop {
            self.connections_left -= 1;
            let login = match self.login(pool_key, &peer).await {
                Ok(login) => login,
                Err(unavailable) => return self.note(Cause::NoSecret(unavailable), None),
            };
            match self.connect(peer.clone(), pool_key, login.as_ref()).await {
                Ok(connection) => {
                    self.transact(connection).await;
                    return;
                }
                Err(none) => {
                    let goes_on = self.learn(&none, pool_key, login.as_ref()).await;
                    if !goes_on || self.connections_left == 0 {
                        return self.note(none.cause, Some(none.peer));
                    }
                }
            }
        }
    }

    async fn login(
        &self,
        pool_key: &PoolKey,
        peer: &Peer,
    ) -> Result<Option<SessionLogin>, SecretUnavailable> {
        match pool_key.credentials() {
            Some(of) => SessionLogin::new(&self.context.state.secrets, of, peer)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    async fn connect(
        &self,
        peer: Peer,
        pool_key: &PoolKey,
        login: Option<&SessionLogin>,
    ) -> Result<Connection, ConnectError> {
        let in_clear = pool_key.rule == TlsRule::Opportunistic
            && self.context.state.broken_tls.knows(&peer.host);
        let connector = Connector {
            config: &self.context.config,
            trust: &self.context.trust,
            rule: if in_clear {
                TlsRule::Clear
            } else {
                pool_key.rule
            },
            pool_key: pool_key.clone(),
            credentials: login.map(|login| login.credentials.clone()),
            peer,
        };
        let connection = connector.open().await?;
        if let Some(login) = login {
            let user = &login.credentials.user;
            events::auth(connection.peer(), user, connection.mechanism());
        }
        Ok(connection)
    }

    /// Records what a failure teaches for later connections. Returns whether to connect again at
    /// once.
    async fn learn(
        &self,
        none: &ConnectError,
        pool_key: &PoolKey,
        login: Option<&SessionLogin>,
    ) -> bool {
        let state = &self.context.state;
        if none.may_do_in_clear || matches!(none.cause, Cause::Tls(_)) {
            events::tls_failed(&none.peer, &none.cause.text(), none.may_do_in_clear);
        }
        if none.may_do_in_clear {
            state.broken_tls.remember(&none.peer.host);
            return true;
        }
        match (&none.cause, pool_key.credentials(), login) {
            (Cause::Session(Trouble::AuthRefused(reply)), Some(of), Some(login)) => {
                let user = &login.credentials.user;
                let reason = reply.to_string();
                events::auth_failed(&none.peer, user, none.mechanism, &reason);
                state.secrets.refused(of, login.secret()).await;
                login.was_cached && reply.is_permanent()
            }
            _ => false,
        }
    }

    /// Makes one transaction for all pending recipients. Those still pending afterwards need
    /// another host.
    async fn transact(&mut self, mut connection: Connection) -> ConnectionUse {
        let attempt = self.attempt;
        attempt.progress.connected();
        let recipients: Vec<&Recipient> = self
            .pending
            .iter()
            .map(|&i| &attempt.recipients[i])
            .collect();
        let envelope = Envelope {
            sender: &attempt.sender,
            recipients: &recipients,
            size: attempt.size,
            eight_bit: attempt.eight_bit,
            utf8: attempt.utf8,
            dsn: &attempt.dsn,
        };
        let result = connection.transact(&envelope, &attempt.content).await;
        let (peer, reports) = (connection.peer().clone(), connection.reports());
        match result {
            Ok(answers) => {
                self.context.state.pool.put(connection, self.hop);
                self.settle(answers.into_iter().map(Some), &peer, reports);
                ConnectionUse::Used
            }
            Err(TransactionError {
                stale: true, cause, ..
            }) if cause.tries_next_host() => ConnectionUse::Stale,
            Err(TransactionError { cause, answers, .. }) => {
                self.settle(answers, &peer, reports);
                self.note(cause, Some(peer));
                ConnectionUse::Used
            }
        }
    }

    /// Gives each pending recipient the outcome of its answer, in order. Recipients without an
    /// answer stay pending.
    fn settle(
        &mut self,
        answers: impl IntoIterator<Item = Option<Answer>>,
        peer: &Peer,
        reports: Reports,
    ) {
        let mut answers = answers.into_iter();
        for recipient in std::mem::take(&mut self.pending) {
            match answers.next().flatten() {
                Some(answer) => {
                    if matches!((&answer, reports), (Answer::Taken(_), Reports::ByPeer)) {
                        self.attempt.progress.passed_on(recipient);
                    }
                    let outcome = self.classify(Cause::Answered(answer), Some(peer.clone()));
                    self.outcomes.push((recipient, outcome));
                }
                None => self.pending.push(recipient),
            }
        }
    }

    /// Remembers the failure for the pending recipients, or makes it their outcome if no host can
    /// help.
    fn note(&mut self, cause: Cause, peer: Option<Peer>) {
        let goes_on = cause.tries_next_host();
        let outcome = self.classify(cause, peer);
        if goes_on {
            self.trouble = Some(more_hopeful(self.trouble.take(), outcome));
        } else {
            let settled = std::mem::take(&mut self.pending).into_iter();
            self.outcomes.extend(settled.map(|i| (i, outcome.clone())));
        }
    }

    fn classify(&mut self, cause: Cause, peer: Option<Peer>) -> Outcome {
        let classified = classify(cause, self.hop, peer);
        let alarms = &self.context.state.alarms;
        if classified.alarm && !self.alarmed {
            self.alarmed = true;
            alarms.raise(&self.destination, &classified.outcome);
        } else if classified.outcome.verdict == Verdict::Delivered {
            alarms.clear(&self.destination);
        }
        classified.outcome
    }

    fn is_over(&self) -> bool {
        self.pending.is_empty() || self.connections_left == 0 || Instant::now() > self.until
    }

    fn finish(mut self) -> Vec<(usize, Outcome)> {
        let left = match self.trouble.take() {
            Some(trouble) => trouble,
            None => classify(Cause::Untried, self.hop, None).outcome,
        };
        let pending = std::mem::take(&mut self.pending).into_iter();
        self.outcomes.extend(pending.map(|i| (i, left.clone())));
        self.outcomes
    }
}

/// The result of using a connection, as far as the connection is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionUse {
    /// The peer had closed the connection before the transaction began. This does not count as a
    /// try.
    Stale,
    Used,
}
