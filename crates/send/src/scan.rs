//! Reads the queue on disk into the schedule, a page at a time, as fast as the runner takes it.

use std::sync::Arc;

use relay_message::{Deliver, Message, QueueId, QueueStore};
use tokio::sync::mpsc;

use crate::context::STORE_PAUSE;
use crate::events;
use crate::hold_rules::HoldRules;
use crate::recipients::Work;

/// Records read at once.
const PAGE: usize = 1000;

/// The work on one page of records.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) all_work: Vec<Work>,
    /// Messages that a rule holds, and that were not held before the last process ended.
    pub(crate) to_hold: Vec<QueueId>,
    pub(crate) is_last: bool,
}

/// Starts reading; dropping the receiver ends it.
pub(crate) fn start<S: QueueStore, D: Deliver>(
    store: Arc<S>,
    deliver: Arc<D>,
    holds: HoldRules,
) -> mpsc::Receiver<Page> {
    let (pages, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut after = None;
        loop {
            // Reserve before the page is read, because its records soon go out of date.
            let Ok(room) = pages.reserve().await else {
                return;
            };
            match store.scan(after, PAGE).await {
                Ok(records) => {
                    let is_last = records.is_empty();
                    after = records.last().map(|message| message.id).or(after);
                    room.send(page(&records, is_last, &*deliver, &holds));
                    if is_last {
                        return;
                    }
                }
                Err(e) => {
                    events::scan_error(&e);
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    });
    receiver
}

fn page<D: Deliver>(records: &[Message], is_last: bool, deliver: &D, holds: &HoldRules) -> Page {
    let (to_hold, rest): (Vec<_>, Vec<_>) = records.iter().partition(|m| holds.hold(m));
    Page {
        all_work: rest.into_iter().map(|m| Work::of(m, deliver)).collect(),
        to_hold: to_hold.into_iter().map(|m| m.id).collect(),
        is_last,
    }
}
