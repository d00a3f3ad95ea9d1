//! One attempt for recipients that go the same way: host after host, until each has an outcome.

use std::sync::Arc;

use relay_smtp::client::{Answer, Envelope, Trouble};
use relay_smtp::{Outcome, Peer, Recipient, Verdict};
use tokio::time::Instant;

use crate::Job;
use crate::alarms::Alarms;
use crate::broken_tls::BrokenTls;
use crate::classify::{Finding, Hop, judge, worse_hope};
use crate::config::Config;
use crate::connection::{Broken, Connection, Dial, NoConnection, Reports};
use crate::dns::Dns;
use crate::events;
use crate::limits::after;
use crate::login::Login;
use crate::mx::{self, Exchangers, Target};
use crate::policy::{Destination, TlsPolicy, TlsRule};
use crate::pool::Pool;
use crate::route::{NextHop, Route};
use crate::secrets::{NoSecret, Secrets};
use crate::terms::Terms;
use crate::tls::Trust;

/// Connections that one attempt may open.
const MAX_CONNECTIONS: usize = 12;

/// What an attempt works with.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub(crate) config: Arc<Config>,
    pub(crate) dns: Arc<Dns>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) policy: Arc<dyn TlsPolicy>,
    pub(crate) kept: Arc<Kept>,
}

/// What lasts from attempt to attempt.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) pool: Arc<Pool>,
    pub(crate) broken_tls: BrokenTls,
    pub(crate) secrets: Secrets,
    pub(crate) alarms: Alarms,
}

pub(crate) struct Attempt<'a> {
    means: &'a Means,
    job: &'a Job,
    next: &'a NextHop<'a>,
    hop: Hop,
    destination: Arc<str>,
    /// Recipients without outcome, as indices into the job's.
    pending: Vec<usize>,
    outcomes: Vec<(usize, Outcome)>,
    /// What stood in the way so far.
    trouble: Option<Outcome>,
    connections_left: usize,
    /// No new host is tried after this.
    until: Instant,
    alarmed: bool,
}

/// Makes one attempt for the recipients at these indices: an outcome for each.
pub(crate) async fn attempt(
    means: &Means,
    job: &Job,
    recipients: Vec<usize>,
    next: &NextHop<'_>,
) -> Vec<(usize, Outcome)> {
    let mut attempt = Attempt {
        means,
        job,
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
        until: after(means.config.command_timeout.saturating_mul(2)),
        alarmed: false,
    };
    match next {
        NextHop::Smarthost(route) => attempt.by_route(route).await,
        NextHop::Literal(address) => {
            let target = mx::literal(*address, &means.config);
            attempt.try_found(target).await;
        }
        NextHop::Mx(domain) => attempt.by_mx(domain).await,
    }
    attempt.finish()
}

impl Attempt<'_> {
    async fn by_route(&mut self, route: &Route) {
        for host in route.hosts() {
            let (dns, config) = (&self.means.dns, &self.means.config);
            let target = mx::smarthost(dns, host, route.port(), config).await;
            self.try_found(target).await;
            if self.is_over() {
                return;
            }
        }
    }

    async fn by_mx(&mut self, domain: &str) {
        let mut exchangers = match Exchangers::of(&self.means.dns, domain).await {
            Ok(exchangers) => exchangers,
            Err(finding) => return self.note(finding, None),
        };
        while let Some(group) = exchangers.next(&self.means.dns, &self.means.config).await {
            for (_, target) in group.hosts {
                self.try_found(target).await;
                if self.is_over() {
                    return;
                }
            }
        }
    }

    async fn try_found(&mut self, found: Result<Target, Finding>) {
        match found {
            Ok(target) => self.try_target(target).await,
            // After hosts that could not be reached, to be next ourselves is no news.
            Err(Finding::Loop(_)) if self.trouble.is_some() => {}
            Err(finding) => self.note(finding, None),
        }
    }

    /// All addresses of a host, each over a connection that is open already if there is one.
    async fn try_target(&mut self, target: Target) {
        let Target { host, addresses } = target;
        let terms = self.terms(&host).await;
        for address in addresses {
            if self.is_over() {
                return;
            }
            if let Some(mut connection) = self.means.kept.pool.take(address, &terms) {
                connection.now_for(&host);
                if self.transact(connection).await == Line::Used {
                    continue;
                }
            }
            let peer = Peer {
                host: host.clone(),
                address,
                tls: None,
            };
            self.try_address(peer, &terms).await;
        }
    }

    async fn terms(&self, host: &str) -> Terms {
        let destination = match self.next {
            NextHop::Smarthost(route) => Destination::Smarthost { route, host },
            NextHop::Literal(_) => Destination::Exchanger { domain: host, host },
            NextHop::Mx(domain) => Destination::Exchanger { domain, host },
        };
        let rule = self.means.policy.rule(destination).await;
        Terms::new(destination, rule)
    }

    /// A new connection. TLS that breaks where clear text will do, and a kept token that is refused,
    /// are each worth another.
    async fn try_address(&mut self, peer: Peer, terms: &Terms) {
        loop {
            self.connections_left -= 1;
            let login = match self.login(terms, &peer).await {
                Ok(login) => login,
                Err(no_secret) => return self.note(Finding::NoSecret(no_secret), None),
            };
            match self.dial(peer.clone(), terms, login.as_ref()).await {
                Ok(connection) => {
                    self.transact(connection).await;
                    return;
                }
                Err(none) => {
                    let goes_on = self.learn(&none, terms, login.as_ref()).await;
                    if !goes_on || self.connections_left == 0 {
                        return self.note(none.finding, Some(none.peer));
                    }
                }
            }
        }
    }

    async fn login(&self, terms: &Terms, peer: &Peer) -> Result<Option<Login>, NoSecret> {
        match terms.credentials() {
            Some(of) => Login::new(&self.means.kept.secrets, of, peer)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    async fn dial(
        &self,
        peer: Peer,
        terms: &Terms,
        login: Option<&Login>,
    ) -> Result<Connection, NoConnection> {
        let in_clear =
            terms.rule == TlsRule::Opportunistic && self.means.kept.broken_tls.knows(&peer.host);
        let dial = Dial {
            config: &self.means.config,
            trust: &self.means.trust,
            rule: if in_clear { TlsRule::Clear } else { terms.rule },
            terms: terms.clone(),
            credentials: login.map(|login| login.credentials.clone()),
            peer,
        };
        let connection = dial.open().await?;
        if let Some(login) = login {
            let user = &login.credentials.user;
            events::auth(connection.peer(), user, connection.mechanism());
        }
        Ok(connection)
    }

    /// Draws from a failure what the next connection needs; whether there should be one at once.
    async fn learn(&self, none: &NoConnection, terms: &Terms, login: Option<&Login>) -> bool {
        let kept = &self.means.kept;
        if none.may_do_in_clear || matches!(none.finding, Finding::Tls(_)) {
            events::tls_failed(&none.peer, &none.finding.text(), none.may_do_in_clear);
        }
        if none.may_do_in_clear {
            kept.broken_tls.remember(&none.peer.host);
            return true;
        }
        match (&none.finding, terms.credentials(), login) {
            (Finding::Session(Trouble::AuthRefused(reply)), Some(of), Some(login)) => {
                let user = &login.credentials.user;
                let reason = reply.to_string();
                events::auth_failed(&none.peer, user, none.mechanism, &reason);
                kept.secrets.refused(of, login.secret()).await;
                login.was_kept && reply.is_permanent()
            }
            _ => false,
        }
    }

    /// One transaction for all that are pending. Those who are left must go to another host.
    async fn transact(&mut self, mut connection: Connection) -> Line {
        let job = self.job;
        job.observer.connected();
        let recipients: Vec<&Recipient> =
            self.pending.iter().map(|&i| &job.recipients[i]).collect();
        let envelope = Envelope {
            sender: &job.sender,
            recipients: &recipients,
            size: job.size,
            eight_bit: job.eight_bit,
            utf8: job.utf8,
            dsn: &job.dsn,
        };
        let result = connection.transact(&envelope, &job.content).await;
        let (peer, reports) = (connection.peer().clone(), connection.reports());
        match result {
            Ok(answers) => {
                self.means.kept.pool.put(connection, self.hop);
                self.settle(answers.into_iter().map(Some), &peer, reports);
                Line::Used
            }
            Err(Broken {
                stale: true,
                finding,
                ..
            }) if finding.is_worth_another_host() => Line::WasDead,
            Err(Broken {
                finding, answers, ..
            }) => {
                self.settle(answers, &peer, reports);
                self.note(finding, Some(peer));
                Line::Used
            }
        }
    }

    /// Gives each pending recipient the outcome of its answer, in order; those without stay.
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
                        self.job.observer.passed_on(recipient);
                    }
                    let outcome = self.judge(Finding::Answered(answer), Some(peer.clone()));
                    self.outcomes.push((recipient, outcome));
                }
                None => self.pending.push(recipient),
            }
        }
    }

    /// Keeps in mind what stood in the way of those who are pending, or makes it their outcome.
    fn note(&mut self, finding: Finding, peer: Option<Peer>) {
        let goes_on = finding.is_worth_another_host();
        let outcome = self.judge(finding, peer);
        if goes_on {
            self.trouble = Some(worse_hope(self.trouble.take(), outcome));
        } else {
            let settled = std::mem::take(&mut self.pending).into_iter();
            self.outcomes.extend(settled.map(|i| (i, outcome.clone())));
        }
    }

    fn judge(&mut self, finding: Finding, peer: Option<Peer>) -> Outcome {
        let judgement = judge(finding, self.hop, peer);
        let alarms = &self.means.kept.alarms;
        if judgement.alarm && !self.alarmed {
            self.alarmed = true;
            alarms.raise(&self.destination, &judgement.outcome);
        } else if judgement.outcome.verdict == Verdict::Delivered {
            alarms.clear(&self.destination);
        }
        judgement.outcome
    }

    fn is_over(&self) -> bool {
        self.pending.is_empty() || self.connections_left == 0 || Instant::now() > self.until
    }

    fn finish(mut self) -> Vec<(usize, Outcome)> {
        let left = match self.trouble.take() {
            Some(trouble) => trouble,
            None => judge(Finding::Untried, self.hop, None).outcome,
        };
        let pending = std::mem::take(&mut self.pending).into_iter();
        self.outcomes.extend(pending.map(|i| (i, left.clone())));
        self.outcomes
    }
}

/// What an attempt to use a connection came to, for the connection's own sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// The peer had hung up before we came: as if we had never tried.
    WasDead,
    Used,
}
