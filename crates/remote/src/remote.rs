//! The entry to the crate: jobs in, outcomes out.

use std::sync::{Arc, Mutex, PoisonError};

use relay_smtp::{ForwardPath, Outcome, ReversePath};
use tokio::sync::watch;

use crate::attempt::{Means, attempt};
use crate::config::Config;
use crate::content::Content;
use crate::dns::Dns;
use crate::pool::Pool;
use crate::route::{NextHop, next_hop};

/// One message for some recipients, who should share a destination.
#[derive(Debug)]
pub struct Job {
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO.
    pub recipients: Vec<ForwardPath>,
    /// `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// `SMTPUTF8`.
    pub utf8: bool,
    /// Octets of head and body.
    pub size: u64,
    /// The bytes.
    pub content: Content,
}

/// Delivers messages; one for the whole process.
#[derive(Debug)]
pub struct Remote {
    config: watch::Receiver<Arc<Config>>,
    dns: Mutex<Arc<Dns>>,
    pool: Arc<Pool>,
}

impl Remote {
    /// Over the configuration of the moment, whatever it will be.
    pub fn new(config: watch::Receiver<Arc<Config>>) -> Self {
        let dns = Dns::new(&config.borrow().dns_servers);
        Self {
            config,
            dns: Mutex::new(dns),
            pool: Arc::default(),
        }
    }

    /// What this recipient's mail waits in line for, by the configuration of the moment.
    pub fn destination(&self, sender: &ReversePath, recipient: &ForwardPath) -> Arc<str> {
        next_hop(&self.config.borrow(), sender, recipient).destination()
    }

    /// One attempt: one outcome for each recipient, in order.
    ///
    /// If the configuration has come between recipients that shared a destination, each goes its own
    /// way, one way after the other.
    pub async fn deliver(&self, job: Job) -> Vec<Outcome> {
        let means = self.means();
        let mut ways: Vec<(NextHop<'_>, Vec<usize>)> = Vec::new();
        for (i, recipient) in job.recipients.iter().enumerate() {
            let way = next_hop(&means.config, &job.sender, recipient);
            match ways.iter_mut().find(|(w, _)| *w == way) {
                Some((_, recipients)) => recipients.push(i),
                None => ways.push((way, vec![i])),
            }
        }
        let mut outcomes = Vec::with_capacity(job.recipients.len());
        for (way, recipients) in ways {
            outcomes.extend(attempt(&means, &job, recipients, &way).await);
        }
        outcomes.sort_unstable_by_key(|(i, _)| *i);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn means(&self) -> Means {
        let config = Arc::clone(&self.config.borrow());
        let mut dns = self.dns.lock().unwrap_or_else(PoisonError::into_inner);
        if !dns.asks(&config.dns_servers) {
            *dns = Dns::new(&config.dns_servers);
        }
        Means {
            config,
            dns: Arc::clone(&dns),
            pool: Arc::clone(&self.pool),
        }
    }
}
