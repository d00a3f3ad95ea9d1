//! Reading the queue on disk into the schedule, a page at a time and no faster than it is taken in.

use std::sync::Arc;

use relay_queue::{Message, QueueStore, Recipient};
use tokio::sync::mpsc;

use crate::attempt::STORE_PAUSE;
use crate::deliver::Deliver;
use crate::events;
use crate::recipients::Todo;

/// Records that are read at once.
const PAGE: usize = 1000;

/// What one page of records asks for.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) todos: Vec<Todo>,
    pub(crate) is_last: bool,
}

/// Starts reading; dropping the receiver ends it.
pub(crate) fn start<S: QueueStore, D: Deliver>(
    store: Arc<S>,
    deliver: Arc<D>,
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
                    let is_last = records.len() < PAGE;
                    after = records.last().map(|message| message.id).or(after);
                    let todos = records.iter().map(|m| todo(m, &*deliver)).collect();
                    room.send(Page { todos, is_last });
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

fn todo<D: Deliver>(message: &Message, deliver: &D) -> Todo {
    let destination = |r: &Recipient| deliver.destination(&message.sender, &r.address);
    Todo::of(message, destination)
}
