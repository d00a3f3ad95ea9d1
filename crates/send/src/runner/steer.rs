//! What the operator wants of single messages: first the store is asked, then the schedule.

use std::sync::Arc;

use relay_queue::{QueueId, QueueStore, Recipient, StoreError};
use tokio::sync::oneshot;

use super::Runner;
use crate::attempt::Context;
use crate::clock::Clock;
use crate::deliver::Deliver;
use crate::handle::{Steered, Verb};
use crate::news::{News, Steering};
use crate::recipients::Todo;

impl<S: QueueStore, D: Deliver, C: Clock> Context<S, D, C> {
    async fn steer(
        self: Arc<Self>,
        verb: Verb,
        ids: Vec<QueueId>,
        answer: oneshot::Sender<Steered>,
    ) {
        let (mut todos, mut problems) = (Vec::new(), Vec::new());
        for id in ids {
            match self.look_up(verb, id).await {
                Ok(todo) => todos.extend(todo),
                Err(problem) => problems.push((id, problem)),
            }
        }
        let _ = self.news.send(News::Steered(Steering {
            verb,
            todos,
            problems,
            answer,
        }));
    }

    /// What a message needs; `None` if it is not there.
    async fn look_up(&self, verb: Verb, id: QueueId) -> Result<Option<Todo>, StoreError> {
        let Some(mut message) = self.store.get(id).await? else {
            return Ok(None);
        };
        if verb == Verb::Bounce {
            message.held = false;
        }
        let destination = |r: &Recipient| self.deliver.destination(&message.sender, &r.address);
        Ok(Some(Todo::of(&message, destination)))
    }
}

impl<S, D, C> Runner<S, D, C>
where
    S: QueueStore,
    D: Deliver,
    C: Clock + Clone,
{
    pub(super) fn steer(
        &mut self,
        verb: Verb,
        ids: Vec<QueueId>,
        answer: oneshot::Sender<Steered>,
    ) {
        let context = Arc::clone(&self.context);
        self.tasks.spawn(context.steer(verb, ids, answer));
    }

    pub(super) fn steered(&mut self, steering: Steering) {
        let mut changed = 0;
        for todo in steering.todos {
            let is_changed = match steering.verb {
                Verb::Retry => self.retry(&todo),
                Verb::Bounce => self.give_back(&todo),
            };
            changed += usize::from(is_changed);
        }
        let _ = steering.answer.send(Steered {
            changed,
            problems: steering.problems,
        });
    }

    fn retry(&mut self, todo: &Todo) -> bool {
        let mut is_changed = false;
        for stop in &todo.jobs {
            is_changed |= self
                .schedule
                .retry_job(todo.id, todo.arrived, &stop.destination);
        }
        is_changed
    }

    fn give_back(&mut self, todo: &Todo) -> bool {
        for stop in &todo.jobs {
            self.schedule
                .withdraw(todo.id, todo.arrived, &stop.destination);
        }
        let flight = self.flights.entry(todo.id).or_default();
        let is_new = !flight.is_returned;
        flight.is_returned = true;
        self.conclude(todo.id);
        is_new
    }
}
