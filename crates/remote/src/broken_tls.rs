//! Hosts with broken TLS. They get mail in clear text for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a host is not offered TLS again.
const MEMORY: Duration = Duration::from_hours(1);
/// The most hosts that are remembered. A sender who picks many domains must not fill the memory.
const HOSTS: usize = 4096;

/// The hosts by their names in lower case, with the time when each is forgotten.
#[derive(Debug, Default)]
pub(crate) struct BrokenTls {
    until: Mutex<HashMap<String, Instant>>,
}

impl BrokenTls {
    /// Remembers that TLS with `host` has just failed.
    pub(crate) fn remember(&self, host: &str) {
        let now = Instant::now();
        let mut hosts = self.hosts();
        if hosts.len() >= HOSTS {
            hosts.retain(|_, until| *until > now);
        }
        if hosts.len() >= HOSTS {
            let oldest = hosts.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(host, _)| host.clone()) {
                hosts.remove(&oldest);
            }
        }
        hosts.insert(host.to_lowercase(), now + MEMORY);
    }

    /// Whether TLS with `host` failed within the last hour.
    pub(crate) fn knows(&self, host: &str) -> bool {
        let mut hosts = self.hosts();
        if hosts.is_empty() {
            return false;
        }
        let host = host.to_lowercase();
        match hosts.get(&host) {
            Some(until) if *until > Instant::now() => true,
            Some(_) => {
                hosts.remove(&host);
                false
            }
            None => false,
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_is_remembered_for_an_hour_in_any_case() {
        let broken = BrokenTls::default();
        assert!(!broken.knows("mx.test"));
        broken.remember("MX.test");
        tokio::time::advance(Duration::from_secs(59 * 60 + 59)).await;
        assert!(broken.knows("mx.TEST") && !broken.knows("mx2.test"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!broken.knows("mx.test"));
        assert!(broken.hosts().is_empty(), "expired entries are removed");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_host_is_forgotten_when_there_are_too_many() {
        let broken = BrokenTls::default();
        broken.remember("first.test");
        tokio::time::advance(Duration::from_secs(1)).await;
        for i in 0..HOSTS {
            broken.remember(&format!("mx{i}.test"));
        }
        assert_eq!(broken.hosts().len(), HOSTS);
        assert!(!broken.knows("first.test") && broken.knows("mx0.test"));
    }
}
