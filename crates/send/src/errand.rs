//! One attempt: what it is about, how long it takes, and what becomes of it if it panics.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::SystemTime;

use relay_queue::{Content, Message};
use relay_smtp::{Outcome, Verdict};

use crate::deliver::{Attempt, Progress};
use crate::events::{self, Delays};
use crate::recipients;
use crate::schedule::Job;

/// What one attempt is about.
pub(crate) struct Errand<'a> {
    pub(crate) job: &'a Job,
    pub(crate) delivery: u64,
    pub(crate) message: &'a Message,
    /// The recipients, by their place in the record.
    pub(crate) mine: &'a [usize],
}

impl Errand<'_> {
    pub(crate) fn attempt(&self, content: Content, progress: Progress) -> Attempt {
        let message = self.message;
        let mine = || self.mine.iter().map(|&i| &message.recipients[i]);
        Attempt {
            id: message.id,
            delivery: self.delivery,
            sender: message.sender.clone(),
            recipients: mine().map(|r| r.address.clone()).collect(),
            dsn: message.dsn.clone(),
            wishes: mine().map(|r| (r.notify, r.orcpt.clone())).collect(),
            eight_bit: message.eight_bit,
            utf8: message.utf8,
            size: message.size,
            content,
            progress,
        }
    }

    /// Recipients whose delivery the sender wants to hear of, from us: the peer makes no reports.
    pub(crate) fn relayed(&self, outcomes: &[Outcome], progress: &Progress) -> Vec<usize> {
        let rows = self.mine.iter().zip(outcomes).enumerate();
        let relayed = rows.filter(|(place, (index, outcome))| {
            let recipient = &self.message.recipients[**index];
            outcome.verdict == Verdict::Delivered
                && recipient.notify.on_success()
                && !progress.is_passed_on(*place)
        });
        relayed.map(|(_, (index, _))| *index).collect()
    }

    pub(crate) fn log(&self, outcomes: &[Outcome], times: &Times, ended: SystemTime) {
        let message = self.message;
        for (&i, outcome) in self.mine.iter().zip(outcomes) {
            let recipient = &message.recipients[i];
            let due = recipients::due(recipient, message.arrived).unwrap_or(message.arrived);
            let delays = times.delays(message.arrived, due, ended);
            let to = recipient.address.as_str();
            events::delivery(self.delivery, message, to, outcome, delays);
        }
    }
}

/// When one attempt began, and how it goes on.
pub(crate) struct Times {
    began: SystemTime,
    pub(crate) progress: Progress,
}

impl Times {
    pub(crate) fn new(began: SystemTime) -> Self {
        Self {
            began,
            progress: Progress::new(),
        }
    }

    fn delays(&self, arrived: SystemTime, due: SystemTime, ended: SystemTime) -> Delays {
        let from = |time: SystemTime, to: SystemTime| to.duration_since(time).unwrap_or_default();
        // What is forced is not due yet.
        let due = due.min(self.began);
        let attempt = from(self.began, ended);
        let until_connected = self.progress.until_connected();
        let connecting = until_connected.unwrap_or(attempt).min(attempt);
        Delays {
            deferred: from(arrived, due),
            in_line: from(due, self.began),
            connecting,
            transmitting: attempt.saturating_sub(connecting),
        }
    }
}

/// What the attempt gives, nothing if it panics: a fault that one message meets must not cost the
/// others their turn, nor the message its expiry.
pub(crate) async fn unless_it_panics(attempt: impl Future<Output = Vec<Outcome>>) -> Vec<Outcome> {
    let mut attempt = pin!(attempt);
    let guarded = poll_fn(|context| {
        let poll = || attempt.as_mut().poll(context);
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or(Poll::Ready(Vec::new()))
    });
    guarded.await
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn delays_part_at_the_due_time_the_begin_and_the_session() {
        let times = Times::new(at(1_750));
        tokio::time::sleep(Duration::from_millis(5_400)).await;
        times.progress.connected();
        let delays = times.delays(at(0), at(1_690), at(7_330));
        assert_eq!(delays.to_string(), "1.69/0.06/5.40/0.18");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_without_a_session_was_connecting_all_the_time() {
        let times = Times::new(at(0));
        let delays = times.delays(at(0), at(0), at(30_000));
        assert_eq!(delays.to_string(), "0.00/0.00/30.00/0.00");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forced_has_waited_in_no_line() {
        let times = Times::new(at(2_000));
        let delays = times.delays(at(0), at(400_000), at(2_000));
        assert_eq!(delays.to_string(), "2.00/0.00/0.00/0.00");
    }
}
