//! Smarthosts that the operator must look after.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay_smtp::Outcome;
use tokio::time::Instant;

use crate::events;

/// A smarthost that cannot be used until somebody mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What its mail waits in line for.
    pub destination: Arc<str>,
    /// Since the first time.
    pub age: Duration,
    /// What happened last, on one line.
    pub text: String,
}

/// The alarms that stand, one for each route at most.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    active: Mutex<HashMap<Arc<str>, ActiveAlarm>>,
    /// Whether there is any; asked at every delivery.
    any: AtomicBool,
}

#[derive(Debug)]
struct ActiveAlarm {
    since: Instant,
    text: String,
}

impl Alarms {
    /// Raises it, or says what keeps it standing.
    pub(crate) fn raise(&self, destination: &Arc<str>, outcome: &Outcome) {
        events::smarthost_trouble(destination, outcome);
        let mut active = self.active();
        let alarm = active
            .entry(Arc::clone(destination))
            .or_insert_with(|| ActiveAlarm {
                since: Instant::now(),
                text: String::new(),
            });
        alarm.text = outcome.text();
        self.any.store(true, Ordering::Release);
    }

    /// Mail goes that way again.
    pub(crate) fn clear(&self, destination: &Arc<str>) {
        if self.any.load(Ordering::Acquire) {
            let mut active = self.active();
            active.remove(destination);
            self.any.store(!active.is_empty(), Ordering::Release);
        }
    }

    /// Forgets those of routes that are no more.
    pub(crate) fn retain(&self, is_route: impl Fn(&str) -> bool) {
        let mut active = self.active();
        active.retain(|destination, _| is_route(destination));
        self.any.store(!active.is_empty(), Ordering::Release);
    }

    /// Those that stand, the oldest first.
    pub(crate) fn list(&self) -> Vec<Alarm> {
        let mut alarms: Vec<_> = self
            .active()
            .iter()
            .map(|(destination, alarm)| Alarm {
                destination: Arc::clone(destination),
                age: alarm.since.elapsed(),
                text: alarm.text.clone(),
            })
            .collect();
        alarms.sort_by_key(|alarm| std::cmp::Reverse(alarm.age));
        alarms
    }

    fn active(&self) -> MutexGuard<'_, HashMap<Arc<str>, ActiveAlarm>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
