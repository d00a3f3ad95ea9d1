//! Decides from the record of a message what to do for its recipients, without I/O.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use relay_message::{
    Deliver, DestinationKey, Message, Origin, QueueId, QueuedRecipient, RecipientChange,
    RecipientState,
};
use relay_smtp::{EnhancedStatus, Outcome, Reply, ReversePath, Stage, Verdict};

use crate::config::ReportPolicy;
use crate::destination::Feedback;
use crate::job::{Due, Task};
use crate::retry::RetryPolicy;

/// The most recipients in one transaction (RFC 5321 §4.5.3.1.8: every server must accept so many).
const RECIPIENTS: usize = 100;

/// The work on a message: attempts at destinations, and perhaps a report.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: QueueId,
    pub(crate) arrived: SystemTime,
    pub(crate) jobs: Vec<DestinationWork>,
    /// Whether a failure has not been reported yet.
    pub(crate) owes_report: bool,
    /// Whether the message has left the queue.
    pub(crate) is_gone: bool,
}

/// The work on a message at one destination.
#[derive(Debug)]
pub(crate) struct DestinationWork {
    pub(crate) destination: DestinationKey,
    pub(crate) due: Due,
    pub(crate) delay_notice: DelayNotice,
}

/// Whether the sender gets a delay notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DelayNotice {
    /// The notice was sent or is not wanted, or there is no sender.
    Nothing,
    /// The sender did not say, so the configuration decides.
    ByDefault,
    /// The sender asked for it.
    Asked,
}

impl DelayNotice {
    pub(crate) fn of(message: &Message, recipient: &QueuedRecipient) -> Self {
        let is_report = message.origin != Origin::Client || message.sender == ReversePath::Null;
        if is_report || recipient.delay_told || !recipient.to.notify.on_delay(true) {
            Self::Nothing
        } else if recipient.to.notify.on_delay(false) {
            Self::Asked
        } else {
            Self::ByDefault
        }
    }

    pub(crate) fn is_owed(self, reports: &ReportPolicy) -> bool {
        match self {
            Self::Nothing => false,
            Self::ByDefault => reports.delay_notice.is_some(),
            Self::Asked => true,
        }
    }
}

impl Work {
    /// Returns the work on a message. There is none on a held message.
    pub(crate) fn of(message: &Message, deliver: &impl Deliver) -> Self {
        let waits = message.recipients.iter().filter_map(|recipient| {
            let due = due(recipient, message.arrived).filter(|_| !message.held)?;
            Some(DestinationWork {
                destination: deliver.destination_of(message, recipient),
                due: Due::At(due),
                delay_notice: DelayNotice::of(message, recipient),
            })
        });
        Self {
            id: message.id,
            arrived: message.arrived,
            jobs: jobs(waits),
            owes_report: owes_report(message),
            is_gone: false,
        }
    }
}

/// Returns when a recipient is tried again according to its record, or `None` if it is settled.
pub(crate) fn due(recipient: &QueuedRecipient, arrived: SystemTime) -> Option<SystemTime> {
    match recipient.state {
        RecipientState::Queued => Some(arrived),
        RecipientState::Deferred { next_attempt } => Some(next_attempt),
        RecipientState::Done | RecipientState::Failed { .. } => None,
    }
}

/// Whether a failure is to be reported now.
pub(crate) fn owes_report(message: &Message) -> bool {
    !message.held && unreported(message).next().is_some()
}

/// Returns the recipients whose failure has not been reported, with their indices.
pub(crate) fn unreported(message: &Message) -> impl Iterator<Item = (usize, &QueuedRecipient)> {
    let unreported = RecipientState::Failed { reported: false };
    let rows = message.recipients.iter().enumerate();
    rows.filter(move |(_, r)| r.state == unreported)
}

/// Returns one job for each destination, due when its first recipient is.
pub(crate) fn jobs(
    all_destinations: impl Iterator<Item = DestinationWork>,
) -> Vec<DestinationWork> {
    let mut jobs: Vec<DestinationWork> = Vec::new();
    let mut places: HashMap<DestinationKey, usize> = HashMap::new();
    for destination_work in all_destinations {
        if let Some(&at) = places.get(&destination_work.destination) {
            jobs[at].due = jobs[at].due.earlier(destination_work.due);
            jobs[at].delay_notice = jobs[at].delay_notice.max(destination_work.delay_notice);
        } else {
            places.insert(destination_work.destination.clone(), jobs.len());
            jobs.push(destination_work);
        }
    }
    jobs
}

/// Returns the recipients for which a delay notice is due now. One notice covers all destinations.
pub(crate) fn untold(
    message: &Message,
    taken: &BTreeSet<usize>,
    reports: &ReportPolicy,
) -> Vec<usize> {
    let rows = message.recipients.iter().enumerate();
    let untold = rows.filter(|(index, recipient)| {
        let waits = due(recipient, message.arrived).is_some() && !taken.contains(index);
        waits && DelayNotice::of(message, recipient).is_owed(reports)
    });
    untold.map(|(index, _)| index).collect()
}

/// Returns the recipients of a task: at the destination, not `taken` by another task, and due
/// unless the task overrides that. If one transaction is too small, those that have waited longest
/// go first.
pub(crate) fn choose(
    message: &Message,
    task: &Task,
    is_here: impl Fn(&QueuedRecipient) -> bool,
    taken: &BTreeSet<usize>,
    is_due: impl Fn(SystemTime) -> bool,
) -> Vec<usize> {
    let rows = message.recipients.iter().enumerate();
    let mut chosen: Vec<(SystemTime, usize)> = rows
        .filter(|(index, _)| !taken.contains(index))
        .filter_map(|(index, r)| Some((due(r, message.arrived)?, index, r)))
        .filter(|&(due, _, r)| match (task, &r.state) {
            (Task::Attempt, RecipientState::Deferred { .. }) => is_due(due),
            _ => true,
        })
        .filter(|(_, _, r)| is_here(r))
        .map(|(due, index, _)| (due, index))
        .collect();
    chosen.sort_unstable();
    chosen.truncate(RECIPIENTS);
    let mut chosen: Vec<usize> = chosen.into_iter().map(|(_, index)| index).collect();
    chosen.sort_unstable();
    chosen
}

/// Returns the outcome for a recipient for which the attempt gave none, which is a bug of this
/// relay.
pub(crate) fn without_outcome() -> Outcome {
    Outcome {
        verdict: Verdict::Deferred,
        status: EnhancedStatus::transient(3, 0),
        stage: Stage::Message,
        peer: None,
        reply: None,
        detail: "a fault in this relay ended the attempt".into(),
    }
}

/// Returns the changes of recipients after an attempt that ended at `now`, with one outcome each.
pub(crate) fn changes(
    message: &Message,
    mine: &[usize],
    outcomes: Vec<Outcome>,
    policy: &RetryPolicy,
    now: SystemTime,
) -> Vec<RecipientChange> {
    let is_too_old = now >= policy.expiry(message.arrived);
    // One time for all of them, so that they share a transaction again.
    let next_attempt = policy.next_attempt(message.arrived, now, fastrand::f64());
    let state = |outcome: &Outcome| match outcome.verdict {
        Verdict::Delivered => RecipientState::Done,
        Verdict::Failed => RecipientState::Failed { reported: false },
        Verdict::Deferred if is_too_old => RecipientState::Failed { reported: false },
        Verdict::Deferred if waits_for_destination(outcome) => {
            RecipientState::Deferred { next_attempt: now }
        }
        Verdict::Deferred => RecipientState::Deferred { next_attempt },
    };
    mine.iter()
        .zip(outcomes)
        .map(|(&index, outcome)| RecipientChange {
            index,
            state: state(&outcome),
            attempt: Some((now, outcome)),
        })
        .collect()
}

/// Returns the changes that expire recipients whose destination is in `trouble`.
pub(crate) fn expire(
    message: &Message,
    mine: &[usize],
    trouble: &Outcome,
    now: SystemTime,
) -> Vec<RecipientChange> {
    mine.iter()
        .map(|&index| RecipientChange {
            index,
            state: RecipientState::Failed { reported: false },
            // The outcome of the recipient's own last attempt explains more than another message's
            // trouble.
            attempt: match message.recipients[index].last() {
                Some(_) => None,
                None => Some((now, trouble.clone())),
            },
        })
        .collect()
}

/// Returns the changes that fail every recipient that is not settled, as the operator has ordered.
/// The last reply is kept for the report.
pub(crate) fn give_back(message: &Message, now: SystemTime) -> Vec<RecipientChange> {
    let rows = message.recipients.iter().enumerate();
    rows.filter_map(|(index, recipient)| {
        due(recipient, message.arrived)?;
        let last = recipient.last().map(|(_, outcome)| outcome);
        let outcome = Outcome {
            verdict: Verdict::Failed,
            status: EnhancedStatus::permanent(0, 0),
            stage: last.map_or(Stage::Route, |outcome| outcome.stage),
            peer: last.and_then(|outcome| outcome.peer.clone()),
            reply: last.and_then(|outcome| outcome.reply.clone()),
            detail: "returned by the operator of this relay".into(),
        };
        Some(RecipientChange {
            index,
            state: RecipientState::Failed { reported: false },
            attempt: Some((now, outcome)),
        })
    })
    .collect()
}

/// Returns what a recipient waits for in the schedule after its attempt.
pub(crate) fn due_after(
    recipient: &QueuedRecipient,
    arrived: SystemTime,
    policy: &RetryPolicy,
) -> Option<Due> {
    let due = due(recipient, arrived)?;
    match recipient.last() {
        Some((since, outcome)) if due == *since && waits_for_destination(outcome) => {
            let otherwise = policy.next_attempt(arrived, *since, fastrand::f64());
            Some(Due::Recovery {
                since: *since,
                otherwise,
            })
        }
        _ => Some(Due::At(due)),
    }
}

/// Returns what the outcomes of an attempt show about the destination.
pub(crate) fn feedback(outcomes: &[Outcome]) -> Feedback {
    match outcomes.first() {
        None => Feedback::Nothing,
        Some(first) if outcomes.iter().all(is_trouble) => Feedback::Trouble(first.clone().into()),
        Some(_) => Feedback::Answered,
    }
}

/// Whether a recipient waits for its destination, which has its own back-off. It does if the
/// attempt ended at MAIL or before, because such an outcome is about the destination and not about
/// one message. It also does after a 5xx at any stage by which the host refuses this relay and
/// no recipient.
fn waits_for_destination(outcome: &Outcome) -> bool {
    let refuses_us = outcome.reply.as_ref().is_some_and(Reply::is_permanent);
    outcome.verdict == Verdict::Deferred
        && match outcome.stage {
            Stage::Route
            | Stage::Connect
            | Stage::Greeting
            | Stage::Hello
            | Stage::Tls
            | Stage::Auth
            | Stage::Mail => true,
            Stage::Rcpt | Stage::Data | Stage::Message => refuses_us,
        }
}

/// Whether an outcome counts as trouble with the destination. A connection that breaks after MAIL
/// counts too, although the message itself may be the cause.
fn is_trouble(outcome: &Outcome) -> bool {
    let is_deferred = outcome.verdict == Verdict::Deferred;
    waits_for_destination(outcome) || (is_deferred && outcome.reply.is_none())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use relay_message::Envelope;
    use relay_smtp::dsn::DsnRequest;
    use relay_smtp::{ForwardPath, Recipient};

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        lifetime: Duration::from_hours(24),
        unit: Duration::from_secs(400),
        max_interval: Duration::from_hours(4),
    };

    fn message(recipients: usize) -> Message {
        let address = |n| format!("u{n}@far.test").parse().expect("a good address");
        let envelope = Envelope {
            sender: "me@home.test".parse().expect("a good address"),
            recipients: (0..recipients)
                .map(|n| Recipient::from(ForwardPath::Mailbox(address(n))))
                .collect(),
            eight_bit: false,
            utf8: false,
            dsn: DsnRequest::default(),
        };
        let id = QueueId::from_bits(1);
        Message::new(id, UNIX_EPOCH, Origin::Client, envelope, 1)
    }

    #[test]
    fn recipients_that_have_waited_longest_go_first_if_not_all_fit() {
        let mut message = message(150);
        for recipient in &mut message.recipients[..100] {
            recipient.state = RecipientState::Deferred {
                next_attempt: UNIX_EPOCH + Duration::from_hours(1),
            };
        }
        let taken = BTreeSet::from([120]);
        let chosen = choose(&message, &Task::Force, |_| true, &taken, |_| false);
        let expected: Vec<usize> = (0..51).chain(100..120).chain(121..150).collect();
        assert_eq!(chosen, expected);
        let due = choose(&message, &Task::Attempt, |_| true, &taken, |_| false);
        assert_eq!(due, (100..120).chain(121..150).collect::<Vec<_>>());
    }

    #[test]
    fn a_5xx_that_fails_no_recipient_is_trouble_with_the_destination_at_every_stage() {
        let at = UNIX_EPOCH + Duration::from_secs(1);
        for (code, is_trouble) in [(530, true), (535, true), (450, false)] {
            for stage in [Stage::Rcpt, Stage::Data, Stage::Message] {
                let outcome = Outcome {
                    stage,
                    reply: Some(Reply::received(code, None, vec!["no".to_owned()])),
                    ..without_outcome()
                };
                let said = feedback(std::slice::from_ref(&outcome));
                assert_eq!(matches!(said, Feedback::Trouble(_)), is_trouble, "{code}");
                let mut message = message(1);
                let recipient = &mut message.recipients[0];
                recipient.state = RecipientState::Deferred { next_attempt: at };
                recipient.history = vec![(at, outcome)];
                let due = due_after(recipient, UNIX_EPOCH, &POLICY);
                let for_recovery = matches!(due, Some(Due::Recovery { .. }));
                assert_eq!(for_recovery, is_trouble, "{code} at {stage}");
            }
        }
    }

    #[test]
    fn a_return_keeps_the_last_reply_and_leaves_settled_recipients_alone() {
        let mut message = message(3);
        message.recipients[0].state = RecipientState::Done;
        let mut outcome = without_outcome();
        outcome.stage = Stage::Rcpt;
        outcome.reply = Some(Reply::new(450, 2, 0, "later"));
        message.recipients[1].history = vec![(UNIX_EPOCH, outcome.clone())];
        let changes = give_back(&message, UNIX_EPOCH);
        let indices: Vec<usize> = changes.iter().map(|change| change.index).collect();
        assert_eq!(indices, [1, 2]);
        let (_, returned) = changes[0].attempt.as_ref().expect("a reason");
        assert_eq!(
            (&returned.reply, returned.stage),
            (&outcome.reply, Stage::Rcpt)
        );
        assert_eq!(returned.verdict, Verdict::Failed);
    }
}
