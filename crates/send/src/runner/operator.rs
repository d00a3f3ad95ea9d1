//! Applies the operator's verbs to single messages: first in the store, then in the schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_control::{Verb, VerbResult};
use relay_message::{Deliver, Message, QueueId, QueueStore, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Runner;
use crate::action::Action;
use crate::active_message::Owed;
use crate::clock::Clock;
use crate::completion::{Changed, Completion, ReadyAction, Reported, Return};
use crate::context::{Context, STORE_PAUSE};
use crate::events;
use crate::recipients::Work;

/// Messages that the store changes at once, in one sync, before the schedule does. With more of
/// them a client's message would wait longer for its own sync.
const PAGE: usize = 250;
/// Messages that are returned to their senders at once. Each keeps its report in memory until it is
/// recorded.
const RETURNS: usize = 50;
/// Messages on which the store may fail before the verb stops.
const PROBLEMS: usize = 100;

/// The result for each message, ordered by id.
type LookedUp = BTreeMap<QueueId, Result<Option<Work>, StoreError>>;

impl<S: QueueStore, D: Deliver, C: Clock> Context<S, D, C> {
    async fn apply(
        self: Arc<Self>,
        action: Action,
        ids: Vec<QueueId>,
        answer: oneshot::Sender<VerbResult>,
    ) {
        let mut result = VerbResult::default();
        let page = match action {
            Action::Operator(Verb::Bounce) => RETURNS,
            _ => PAGE,
        };
        for page in ids.chunks(page) {
            self.apply_to_page(action, page, &mut result).await;
            if result.problems.len() > PROBLEMS {
                break;
            }
        }
        let _ = answer.send(result);
    }

    async fn apply_to_page(
        self: &Arc<Self>,
        action: Action,
        page: &[QueueId],
        result: &mut VerbResult,
    ) {
        let mut all_work = Vec::with_capacity(page.len());
        for (id, found) in self.look_up_all(action, page).await {
            match found {
                Ok(work) => all_work.extend(work),
                Err(reason) => result.problems.push(format!("{id}: {reason}")),
            }
        }
        let (changed, told) = oneshot::channel();
        let (returns, mut returned) = mpsc::unbounded_channel();
        let _ = self.completions.send(Completion::ActionReady(ReadyAction {
            action,
            all_work,
            changed,
            returns,
        }));
        let changed = told.await.unwrap_or_default();
        result.changed += changed.at_once + changed.pending;
        result.pending += changed.pending;
        // Ends when every message has been reported or released.
        while let Some(end) = returned.recv().await {
            match end {
                Return::Done(Reported::Told) => result.changed += 1,
                Return::Done(Reported::Untold) => {
                    result.changed += 1;
                    result.untold += 1;
                }
                Return::Done(Reported::Nothing) => {}
                Return::Stuck(id, reason) => {
                    let problem = format!("{id}: {reason}; tried again until relayd stops");
                    result.problems.push(problem);
                }
            }
        }
    }

    async fn look_up_all(self: &Arc<Self>, action: Action, ids: &[QueueId]) -> LookedUp {
        let mut running = JoinSet::new();
        for &id in ids {
            let context = Arc::clone(self);
            running.spawn(async move { (id, context.look_up(action, id).await) });
        }
        running.join_all().await.into_iter().collect()
    }

    /// Returns the work on a message; `None` if it is gone or nothing is changed.
    async fn look_up(&self, action: Action, id: QueueId) -> Result<Option<Work>, StoreError> {
        let message = match action {
            Action::Operator(Verb::Retry | Verb::Bounce) | Action::Reread => {
                self.store.get(id).await?
            }
            Action::Operator(Verb::Hold) => self.set_held(id, true).await?,
            Action::Operator(Verb::Release) => self.set_held(id, false).await?,
            Action::Operator(Verb::Delete) => self.store.delete(id).await?,
            Action::HoldNew => self.hold_new(id).await,
        };
        let Some(mut message) = message else {
            return Ok(None);
        };
        match action {
            Action::Operator(Verb::Retry) | Action::Reread => {}
            // The jobs that it would have if it were not held are to be withdrawn.
            Action::Operator(Verb::Bounce | Verb::Hold | Verb::Release | Verb::Delete)
            | Action::HoldNew => message.held = false,
        }
        Ok(Some(Work::of(&message, &*self.deliver)))
    }

    /// Returns the message if this changed anything.
    async fn set_held(&self, id: QueueId, held: bool) -> Result<Option<Message>, StoreError> {
        let result = self.store.set_held(id, held).await?;
        Ok(result.filter(|r| r.changed).map(|r| r.message))
    }

    /// Repeats until the store holds the message, as it is not scheduled before.
    async fn hold_new(&self, id: QueueId) -> Option<Message> {
        loop {
            match self.store.set_held(id, true).await {
                Ok(held) => return held.map(|held| held.message),
                Err(e) if !e.is_transient() => return None,
                Err(e) => {
                    events::store_error("holding", id, &e);
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }
}

impl<S, D, C> Runner<S, D, C>
where
    S: QueueStore,
    D: Deliver,
    C: Clock + Clone,
{
    pub(super) fn apply_verb(
        &mut self,
        verb: Verb,
        ids: Vec<QueueId>,
        answer: oneshot::Sender<VerbResult>,
    ) {
        // A dropped answer means that nothing was done.
        if self.ending.is_none() {
            let context = Arc::clone(&self.context);
            let action = Action::Operator(verb);
            self.verbs.spawn(context.apply(action, ids, answer));
        }
    }

    /// Applies an action that no operator has asked for. No answer is sent, and a shutdown aborts
    /// it.
    pub(super) fn apply_own(&mut self, action: Action, ids: Vec<QueueId>) {
        let (nobody, _) = oneshot::channel();
        let context = Arc::clone(&self.context);
        self.tasks.spawn(context.apply(action, ids, nobody));
    }

    pub(super) fn finish_action(&mut self, ready: ReadyAction) {
        let mut changed = Changed::default();
        let (action, returns) = (ready.action, ready.returns);
        for work in ready.all_work {
            let id = work.id;
            let is_changed = match action {
                Action::Operator(Verb::Retry) => self.retry(work),
                Action::Operator(Verb::Bounce) => self.give_back(&work, &returns, &mut changed),
                Action::Operator(Verb::Hold | Verb::Delete) | Action::HoldNew => {
                    self.withdraw(&work)
                }
                Action::Operator(Verb::Release) | Action::Reread => self.release(work),
            };
            if is_changed {
                events::operator(action, id);
            }
            let is_bounce = action == Action::Operator(Verb::Bounce);
            changed.at_once += u64::from(is_changed && !is_bounce);
        }
        let _ = ready.changed.send(changed);
    }

    /// It may not have been read from the queue yet.
    fn retry(&mut self, work: Work) -> bool {
        let (id, arrived) = (work.id, work.arrived);
        let destinations: Vec<_> = work.jobs.iter().map(|s| s.destination.clone()).collect();
        if !self.active_messages.contains_key(&id) {
            self.enter(work);
        }
        let mut is_changed = false;
        for destination in &destinations {
            is_changed |= self.schedule.retry_job(id, arrived, destination);
        }
        is_changed
    }

    fn withdraw(&mut self, work: &Work) -> bool {
        let (id, arrived) = (work.id, work.arrived);
        for destination_work in &work.jobs {
            self.schedule
                .withdraw(id, arrived, &destination_work.destination);
        }
        true
    }

    fn release(&mut self, work: Work) -> bool {
        if let Some(active) = self.active_messages.get_mut(&work.id) {
            active.was_released = true;
            return true;
        }
        self.retry(work);
        true
    }

    fn give_back(
        &mut self,
        work: &Work,
        returns: &mpsc::UnboundedSender<Return>,
        changed: &mut Changed,
    ) -> bool {
        self.withdraw(work);
        let active = self.active_messages.entry(work.id).or_default();
        let is_new = !active.is_returned();
        if is_new {
            active.owed = Owed::Return;
            if active.jobs.is_empty() {
                active.returns = Some(returns.clone());
            } else {
                changed.pending += 1;
            }
            self.conclude(work.id);
        }
        is_new
    }
}
