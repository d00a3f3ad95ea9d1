//! Puts messages into the schedule: from the queue on disk, from clients, and again when the
//! configuration, the routes or the clock have changed.

use std::sync::Arc;
use std::time::SystemTime;

use relay_message::{Deliver, Message, QueueStore};

use super::{CLOCK_CHECK, Runner};
use crate::action::Action;
use crate::active_message::{ActiveMessage, Owed};
use crate::bounce::Reporter;
use crate::clock::Clock;
use crate::config::Config;
use crate::context::Context;
use crate::job::{Due, Wait};
use crate::recipients::Work;
use crate::scan::{self, Page};

impl<S, D, C> Runner<S, D, C>
where
    S: QueueStore,
    D: Deliver,
    C: Clock + Clone,
{
    pub(super) fn take_in(&mut self, page: Page) {
        page.all_work.into_iter().for_each(|work| self.enter(work));
        if !page.to_hold.is_empty() {
            self.apply_own(Action::HoldNew, page.to_hold);
        }
        if page.is_last {
            self.pages = None;
            self.schedule.all_inserted();
        }
    }

    /// Takes in a report that has entered the queue. The operator's rules apply to it as to any
    /// mail.
    pub(super) fn take_report(&mut self, message: &Message) {
        if self.holds.hold(message) {
            self.apply_own(Action::HoldNew, vec![message.id]);
            return;
        }
        let work = Work::of(message, &*self.context.deliver);
        self.enter(work);
    }

    /// Schedules the jobs of a message, and the report that a crash may have prevented.
    pub(super) fn enter(&mut self, work: Work) {
        let (id, owes_report) = (work.id, work.owes_report);
        self.schedule_jobs(work);
        if owes_report && !self.active_messages.contains_key(&id) {
            let active = ActiveMessage {
                owed: Owed::Report,
                ..ActiveMessage::default()
            };
            self.active_messages.insert(id, active);
            self.conclude(id);
        }
    }

    /// Schedules the jobs of a message. Returns whether there were any.
    pub(super) fn schedule_jobs(&mut self, work: Work) -> bool {
        let now = self.now();
        let (id, arrived, any) = (work.id, work.arrived, !work.jobs.is_empty());
        for destination_work in work.jobs {
            let due = match destination_work.due {
                // Mail arrives in the future only if the clock was set back.
                Due::At(at) if at == arrived => Due::At(at.min(now)),
                Due::At(at) => Due::At(self.config.retry.plausible(at, now)),
                Due::Recovery { .. } => destination_work.due,
            };
            let wait = Wait {
                id,
                arrived,
                due,
                owes_notice: destination_work.delay_notice.is_owed(&self.config.reports),
            };
            self.schedule.insert(wait, &destination_work.destination);
            if let Some(active) = self.active_messages.get_mut(&id) {
                active.scheduled.push(destination_work.destination);
            }
        }
        any
    }

    pub(super) fn reconfigure(&mut self, config: Config) {
        self.context = Arc::new(Context {
            store: Arc::clone(&self.context.store),
            deliver: Arc::clone(&self.context.deliver),
            clock: self.context.clock.clone(),
            policy: config.retry,
            reporter: Reporter::new(&config),
            reports: config.reports,
            signer: config.signer.clone(),
            quotas: Arc::clone(&self.context.quotas),
            completions: self.context.completions.clone(),
        });
        self.config = config;
        self.read_anew();
    }

    /// Reads the queue again if the clock was set back, as earlier times are now too far ahead.
    pub(super) fn notice_clock(&mut self, now: SystemTime) {
        if now + CLOCK_CHECK < self.latest {
            self.read_anew();
        }
        self.latest = now;
    }

    /// Forgets the waiting jobs and reads them from the store again, under the current rules.
    fn read_anew(&mut self) {
        self.schedule.forget_waiting();
        self.schedule.configure(self.config.limits(), self.now());
        self.read_queue();
    }

    pub(super) fn read_queue(&mut self) {
        let Context { store, deliver, .. } = &*self.context;
        let (store, deliver) = (Arc::clone(store), Arc::clone(deliver));
        self.pages = Some(scan::start(store, deliver, self.holds.clone()));
    }
}
