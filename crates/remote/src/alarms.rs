//! Smarthosts that have a problem only the operator can solve.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay_smtp::Outcome;
use tokio::time::Instant;

use crate::events;

/// A smarthost that cannot be used until the operator fixes a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The destination of the mail that waits for it.
    pub destination: Arc<str>,
    /// The time since the alarm was raised.
    pub age: Duration,
    /// The last failure, on one line.
    pub text: String,
}

/// The active alarms, at most one for each route.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    active: Mutex<HashMap<Arc<str>, ActiveAlarm>>,
    /// Whether any alarm is active. Every delivery checks it, so it needs no lock.
    any: AtomicBool,
}

#[derive(Debug)]
struct ActiveAlarm {
    since: Instant,
    text: String,
}

impl Alarms {
    /// Raises an alarm, or updates the text of an active one.
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

    /// Ends the alarm after a successful delivery.
    pub(crate) fn clear(&self, destination: &Arc<str>) {
        if self.any.load(Ordering::Acquire) {
            let mut active = self.active();
            active.remove(destination);
            self.any.store(!active.is_empty(), Ordering::Release);
        }
    }

    /// Removes the alarms of routes that no longer exist.
    pub(crate) fn retain(&self, is_route: impl Fn(&str) -> bool) {
        let mut active = self.active();
        active.retain(|destination, _| is_route(destination));
        self.any.store(!active.is_empty(), Ordering::Release);
    }

    /// The active alarms, the oldest first.
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
