//! A job whose message is claimed, how long its attempt takes, and what happens if that panics.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use relay_message::{Attempt, Content, Message, Progress};
use relay_smtp::{Outcome, Stage, Verdict};

use crate::events::{self, Delays};
use crate::job::Job;
use crate::progress::ProgressRecord;
use crate::recipients;

/// A job with its claimed message and the recipients reserved for it.
pub(crate) struct ClaimedJob<'a> {
    pub(crate) job: &'a Job,
    pub(crate) delivery: u64,
    pub(crate) message: &'a Message,
    /// The recipients, by their index in the record.
    pub(crate) mine: &'a [usize],
}

impl ClaimedJob<'_> {
    pub(crate) fn attempt(&self, content: Content, progress: Arc<dyn Progress>) -> Attempt {
        let message = self.message;
        let mine = self.mine.iter().map(|&i| &message.recipients[i]);
        Attempt {
            id: message.id,
            delivery: self.delivery,
            sender: message.sender.clone(),
            recipients: mine.map(|r| r.to.clone()).collect(),
            dsn: message.dsn.clone(),
            eight_bit: message.eight_bit,
            utf8: message.utf8,
            size: message.size,
            content,
            progress,
        }
    }

    /// Returns the recipients whose delivery this relay reports to the sender, because the peer
    /// makes no reports.
    pub(crate) fn relayed(&self, outcomes: &[Outcome], progress: &ProgressRecord) -> Vec<usize> {
        let rows = self.mine.iter().zip(outcomes).enumerate();
        let relayed = rows.filter(|(place, (index, outcome))| {
            let recipient = &self.message.recipients[**index];
            outcome.verdict == Verdict::Delivered
                && recipient.to.notify.on_success()
                && !progress.is_passed_on(*place)
        });
        relayed.map(|(_, (index, _))| *index).collect()
    }

    pub(crate) fn log(&self, outcomes: &[Outcome], times: &Times, ended: SystemTime) {
        let message = self.message;
        for (&i, outcome) in self.mine.iter().zip(outcomes) {
            let recipient = &message.recipients[i];
            let due = recipients::due(recipient, message.arrived).unwrap_or(message.arrived);
            let waited = times.waited(message.arrived, due);
            let delays = times.delays(waited, outcome.stage, ended);
            let to = recipient.to.path.as_str();
            events::delivery(self.delivery, message, to, outcome, delays);
        }
    }
}

/// When one attempt began, and its progress.
pub(crate) struct Times {
    began: SystemTime,
    pub(crate) progress: Arc<ProgressRecord>,
}

impl Times {
    pub(crate) fn new(began: SystemTime) -> Self {
        Self {
            began,
            progress: Arc::new(ProgressRecord::new()),
        }
    }

    /// Returns the time until the recipient was due, and the time from then until the attempt
    /// began.
    fn waited(&self, arrived: SystemTime, due: SystemTime) -> (Duration, Duration) {
        // A forced attempt is not due yet.
        let due = due.min(self.began);
        (between(arrived, due), between(due, self.began))
    }

    /// Splits the attempt into connecting and transmitting. If no session was reported ready, the
    /// stage decides: an attempt that ended before MAIL had none, and a later one used an open
    /// session.
    fn delays(&self, waited: (Duration, Duration), stage: Stage, ended: SystemTime) -> Delays {
        let attempt = between(self.began, ended);
        let otherwise = if had_session(stage) {
            Duration::ZERO
        } else {
            attempt
        };
        let connecting = self.progress.until_connected().unwrap_or(otherwise);
        let connecting = connecting.min(attempt);
        Delays {
            deferred: waited.0,
            in_line: waited.1,
            connecting,
            transmitting: attempt.saturating_sub(connecting),
        }
    }
}

fn had_session(stage: Stage) -> bool {
    match stage {
        Stage::Route
        | Stage::Connect
        | Stage::Greeting
        | Stage::Hello
        | Stage::Tls
        | Stage::Auth => false,
        Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Message => true,
    }
}

fn between(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

/// Returns the outcomes of the attempt, or none if it panics. A bug that one message triggers must
/// not stop other messages, nor the expiry of this one.
pub(crate) async fn unless_it_panics(attempt: impl Future<Output = Vec<Outcome>>) -> Vec<Outcome> {
    let mut attempt = pin!(attempt);
    let guarded = poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(context)))
            .unwrap_or(Poll::Ready(Vec::new()))
    });
    guarded.await
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn delays_split_at_the_due_time_the_start_and_the_session() {
        let times = Times::new(at(1_750));
        tokio::time::sleep(Duration::from_millis(5_400)).await;
        times.progress.connected();
        let waited = times.waited(at(0), at(1_690));
        let delays = times.delays(waited, Stage::Rcpt, at(7_330));
        assert_eq!(delays.to_string(), "1.69/0.06/5.40/0.18");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_reached_mail_had_a_session_even_if_none_was_reported() {
        let times = Times::new(at(0));
        for (stage, expected) in [
            (Stage::Connect, "0.00/0.00/30.00/0.00"),
            (Stage::Auth, "0.00/0.00/30.00/0.00"),
            (Stage::Mail, "0.00/0.00/0.00/30.00"),
            (Stage::Message, "0.00/0.00/0.00/30.00"),
        ] {
            let delays = times.delays(times.waited(at(0), at(0)), stage, at(30_000));
            assert_eq!(delays.to_string(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_forced_attempt_counts_no_time_in_the_wait_queue() {
        let times = Times::new(at(2_000));
        let waited = times.waited(at(0), at(400_000));
        let delays = times.delays(waited, Stage::Message, at(2_000));
        assert_eq!(delays.to_string(), "2.00/0.00/0.00/0.00");
    }
}
