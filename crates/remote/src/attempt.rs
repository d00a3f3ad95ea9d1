//! One attempt for recipients that go the same way: host after host, until each has an outcome.

use std::net::SocketAddr;
use std::sync::Arc;

use relay_smtp::client::{Answer, Envelope};
use relay_smtp::{ForwardPath, Outcome, Peer};
use tokio::time::Instant;

use crate::Job;
use crate::classify::{Finding, Hop, judge, worse_hope};
use crate::config::Config;
use crate::connection::{Broken, Connection};
use crate::dns::Dns;
use crate::events;
use crate::limits::after;
use crate::mx::{self, Exchangers, Target};
use crate::pool::Pool;
use crate::route::{NextHop, Route, RouteHost};

/// Connections that one attempt may open.
const MAX_CONNECTIONS: usize = 12;

/// What an attempt works with.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub(crate) config: Arc<Config>,
    pub(crate) dns: Arc<Dns>,
    pub(crate) pool: Arc<Pool>,
}

pub(crate) struct Attempt<'a> {
    means: &'a Means,
    job: &'a Job,
    hop: Hop,
    route: Arc<str>,
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
        hop: match next {
            NextHop::Smarthost(_) => Hop::Smarthost,
            NextHop::Literal(_) | NextHop::Mx(_) => Hop::Recipient,
        },
        route: next.destination(),
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
            let target = match host {
                RouteHost::Address(address) => Ok(Target {
                    host: address.to_string(),
                    addresses: vec![SocketAddr::new(*address, route.port())],
                }),
                RouteHost::Name(name) => {
                    mx::smarthost(&self.means.dns, name, route.port(), self.means.config.ip).await
                }
            };
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
            for target in group {
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

    /// All addresses of a host; first over a connection that is open already.
    async fn try_target(&mut self, target: Target) {
        let Target {
            host,
            mut addresses,
        } = target;
        if let Some(mut connection) = self.means.pool.take(&addresses) {
            connection.now_for(&host);
            let used = connection.peer().address;
            addresses.retain(|a| *a != used);
            if self.transact(connection).await == Line::WasDead {
                addresses.insert(0, used);
            }
        }
        for address in addresses {
            if self.is_over() {
                return;
            }
            self.connections_left -= 1;
            let peer = Peer {
                host: host.clone(),
                address,
            };
            match Connection::open(peer.clone(), &self.means.config).await {
                Ok(connection) => drop(self.transact(connection).await),
                Err(finding) => self.note(finding, Some(peer)),
            }
        }
    }

    /// One transaction for all that are pending. Those who are left must go to another host.
    async fn transact(&mut self, mut connection: Connection) -> Line {
        let job = self.job;
        let recipients: Vec<&ForwardPath> =
            self.pending.iter().map(|&i| &job.recipients[i]).collect();
        let envelope = Envelope {
            sender: &job.sender,
            recipients: &recipients,
            size: job.size,
            eight_bit: job.eight_bit,
            utf8: job.utf8,
        };
        let result = connection.transact(&envelope, &job.content).await;
        let peer = connection.peer().clone();
        match result {
            Ok(answers) => {
                self.means.pool.put(connection, self.hop);
                self.settle(answers.into_iter().map(Some), &peer);
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
                self.settle(answers, &peer);
                self.note(finding, Some(peer));
                Line::Used
            }
        }
    }

    /// Gives each pending recipient the outcome of its answer, in order; those without stay.
    fn settle(&mut self, answers: impl IntoIterator<Item = Option<Answer>>, peer: &Peer) {
        let mut answers = answers.into_iter();
        for recipient in std::mem::take(&mut self.pending) {
            match answers.next().flatten() {
                Some(answer) => {
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
        if judgement.alarm && !self.alarmed {
            self.alarmed = true;
            events::smarthost_trouble(&self.route, &judgement.outcome);
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
