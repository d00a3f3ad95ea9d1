//! Reading the queue on disk into the schedule, a page at a time and no faster than it is taken in.

use std::sync::Arc;

use relay_message::{Deliver, Message, QueueId, QueueStore};
use tokio::sync::mpsc;

use crate::context::STORE_PAUSE;
use crate::events;
use crate::hold::HoldRules;
use crate::recipients::Work;

/// Records that are read at once.
const PAGE: usize = 1000;

/// What one page of records asks for.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) all_work: Vec<Work>,
    /// What came in under a rule that holds it, and was not held before the end of the process.
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
            // Before the page is read: what has been read is out of date soon.
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
