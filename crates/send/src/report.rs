//! Reports to senders. A report enters the queue in the batch that records what it reports.

use std::sync::Arc;

use bytes::Bytes;
use relay_failpoint as failpoint;
use relay_message::{
    Body, Claim, Content, Deliver, Message, QueueId, QueueStore, QueuedRecipient, RecipientChange,
    RecipientState, StoreError,
};
use relay_smtp::Outcome;
use tokio::task;

use crate::active_message::MessageClaim;
use crate::attempt::claimed_job::ClaimedJob;
use crate::bounce::{Addressee, MAX_HEADERS, MAX_WHOLE, Notice, Original, ReportKind, wants_whole};
use crate::clock::Clock;
use crate::completion::{Completion, NotifyOnDrop, Reported};
use crate::context::Context;
use crate::draft::{Draft, Report};
use crate::events::{self, NoReportReason};
use crate::recipients;
use crate::sign::signed;

/// The most octets of an original in a report while the disk has only its reserve left, which
/// reports use up.
const SCARCE_HEADERS: usize = 2 * 1024;

/// The contents of a report that is to be made.
struct ReportRequest<'a> {
    kind: ReportKind,
    recipients: Vec<&'a QueuedRecipient>,
    /// Why the destination is in back-off.
    trouble: Option<&'a Outcome>,
    /// Whether the operator has ordered it.
    is_ordered: bool,
}

impl<'a> ReportRequest<'a> {
    fn of(kind: ReportKind, recipients: Vec<&'a QueuedRecipient>) -> Self {
        Self {
            kind,
            recipients,
            trouble: None,
            is_ordered: false,
        }
    }
}

impl<S: QueueStore, D: Deliver, C: Clock> Context<S, D, C> {
    /// Reports the failures that are not reported yet, and settles them in the same batch. If the
    /// message is `returned`, recipients that are not settled fail too.
    pub(crate) async fn report(
        self: Arc<Self>,
        id: QueueId,
        message_claim: Arc<MessageClaim>,
        returned: bool,
    ) {
        let last = NotifyOnDrop::new(
            &self.completions,
            Completion::Reported(id, Reported::Nothing),
        );
        let reported = loop {
            match self.try_report(id, &message_claim, returned).await {
                Ok(reported) => break reported,
                Err(StoreError::ClaimLost(_)) => {
                    events::claim_lost(id);
                    break Reported::Nothing;
                }
                Err(e) if !e.is_transient() => break Reported::Nothing,
                Err(e) => {
                    events::store_error("reporting the failure of", id, &e);
                    self.stuck(id, &e).await;
                }
            }
        };
        last.notify(Completion::Reported(id, reported));
    }

    async fn try_report(
        &self,
        id: QueueId,
        message_claim: &MessageClaim,
        returned: bool,
    ) -> Result<Reported, StoreError> {
        let Some((claim, mut message)) = message_claim.read(&*self.store, id).await? else {
            return Ok(Reported::Nothing);
        };
        let mut changes = Vec::new();
        if returned {
            changes = recipients::give_back(&message, self.clock.now());
            message.apply(changes.clone());
        }
        let failed = recipients::unreported(&message).map(|(index, _)| index);
        changes.extend(failed.map(|index| RecipientChange {
            index,
            state: RecipientState::Failed { reported: true },
            attempt: None,
        }));
        if changes.is_empty() {
            return Ok(Reported::Nothing);
        }
        let report = self.failure_report(claim, &message, returned).await?;
        let reported = match &report {
            Some(_) => Reported::Told,
            None => Reported::Untold,
        };
        let draft = Draft {
            changes,
            report,
            told_of_delay: Vec::new(),
        };
        failpoint::point("reporting");
        self.settle(claim, &message, draft).await?;
        message_claim.settled();
        Ok(reported)
    }

    /// Makes the report of all failures that are not reported yet.
    async fn failure_report(
        &self,
        claim: Claim,
        message: &Message,
        returned: bool,
    ) -> Result<Option<Report>, StoreError> {
        let wanted = recipients::unreported(message).filter(|(_, r)| r.to.notify.on_failure());
        let request = ReportRequest {
            is_ordered: returned,
            ..ReportRequest::of(
                ReportKind::Failed,
                wanted.map(|(_, recipient)| recipient).collect(),
            )
        };
        let report = self.make(claim, message, request).await?;
        if let Err(reason) = &report {
            events::discard(message, *reason);
        }
        Ok(report.ok())
    }

    /// Makes the delay notice for these recipients.
    pub(crate) async fn notice(
        &self,
        claim: Claim,
        claimed: &ClaimedJob<'_>,
        trouble: Option<&Outcome>,
    ) -> Result<Draft, StoreError> {
        let ClaimedJob { message, mine, .. } = claimed;
        let until = self.policy.expiry(message.arrived);
        let rows = mine.iter().map(|&i| &message.recipients[i]).collect();
        let request = ReportRequest {
            trouble,
            ..ReportRequest::of(ReportKind::Delayed { until }, rows)
        };
        let report = self.make(claim, message, request).await?;
        Ok(Draft {
            changes: Vec::new(),
            report: report.ok(),
            told_of_delay: mine.to_vec(),
        })
    }

    /// Makes the notice that a host which makes no reports has accepted the message for the
    /// recipients at `relayed`.
    pub(crate) async fn relay_notice(
        &self,
        claim: Claim,
        message: &Message,
        changes: &[RecipientChange],
        relayed: &[usize],
    ) -> Result<Option<Report>, StoreError> {
        if relayed.is_empty() {
            return Ok(None);
        }
        let mut message = message.clone();
        message.apply(changes.to_vec());
        let rows = relayed.iter().map(|&i| &message.recipients[i]).collect();
        let request = ReportRequest::of(ReportKind::Relayed, rows);
        let report = self.make(claim, &message, request).await?;
        Ok(report.ok())
    }

    /// Makes a report, or returns the reason for making none.
    async fn make(
        &self,
        claim: Claim,
        message: &Message,
        request: ReportRequest<'_>,
    ) -> Result<Result<Report, NoReportReason>, StoreError> {
        let ReportRequest {
            kind,
            recipients,
            trouble,
            is_ordered,
        } = request;
        if !self.reporter.has_addressee(message, kind) {
            return Ok(Err(NoReportReason::NoSender));
        }
        if recipients.is_empty() {
            return Ok(Err(NoReportReason::NotWanted));
        }
        let now = self.clock.now();
        let quota = match kind {
            ReportKind::Failed => &self.quotas.failures,
            ReportKind::Delayed { .. } | ReportKind::Relayed => &self.quotas.notices,
        };
        let permit = match self.reporter.addressee(message) {
            // The operator knows how many reports they order.
            Addressee::Sender(_) if is_ordered => Some(quota.permit(None)),
            Addressee::Sender(to) | Addressee::Postmaster(to) => {
                quota.take(&to, self.reports.per_sender, now)
            }
            Addressee::Nobody => return Ok(Err(NoReportReason::NoSender)),
        };
        let Some(permit) = permit else {
            return Ok(Err(NoReportReason::TooMany));
        };
        let octets = self.original(claim, message, kind).await?;
        let is_whole = wants_whole(message, kind) && octets.len() as u64 == message.size;
        let notice = Notice {
            message,
            kind,
            recipients,
            trouble,
            original: if is_whole {
                Original::Whole(&octets)
            } else {
                Original::Start(&octets)
            },
        };
        let Some(message) = self.reporter.report(self.store.next_id(), &notice, now) else {
            return Ok(Err(NoReportReason::NoSender));
        };
        let message = signed(self.signer.clone(), message, now).await;
        Ok(Ok(Report::new(message, permit)))
    }

    /// Reads the beginning of the message, or all of it if the disk has more left than its reserve.
    /// A body that cannot be read is left out, because a report without it is better than none. A
    /// relay notice does without the message on any transient error, because the delivery that it
    /// reports must be recorded.
    async fn original(
        &self,
        claim: Claim,
        message: &Message,
        kind: ReportKind,
    ) -> Result<Vec<u8>, StoreError> {
        let limit = if self.store.has_room(0).is_err() {
            SCARCE_HEADERS
        } else if wants_whole(message, kind) {
            MAX_WHOLE
        } else {
            MAX_HEADERS
        };
        match self.store.open(claim).await {
            Ok(content) => Ok(read_start(content, limit).await),
            Err(e) if !e.is_transient() => Err(e),
            Err(e) if kind == ReportKind::Relayed || matches!(e, StoreError::Io { .. }) => {
                events::store_error("opening", message.id, &e);
                Ok(Vec::new())
            }
            Err(e) => Err(e),
        }
    }
}

/// Reads up to `limit` octets of a message.
async fn read_start(content: Content, limit: usize) -> Vec<u8> {
    let mut octets = content.head[..content.head.len().min(limit)].to_vec();
    let rest = limit - octets.len();
    match content.body {
        Body::Inline(body) => octets.extend_from_slice(&body[..body.len().min(rest)]),
        Body::File { file, length } => {
            let read = task::spawn_blocking(move || read_file(&file, length.min(rest as u64)));
            octets.extend_from_slice(&read.await.unwrap_or_default());
        }
    }
    octets
}

fn read_file(file: &std::fs::File, length: u64) -> Bytes {
    use std::io::Read;
    let mut start = Vec::new();
    match file.take(length).read_to_end(&mut start) {
        Ok(_) => start.into(),
        Err(_) => Bytes::new(),
    }
}
