//! Fills a queue through the store as fast as possible.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use relay_message::{Envelope, QueueStore, Spool};
use relay_queue::{SledStore, StoreConfig};
use relay_smtp::ForwardPath;
use relay_smtp::dsn::DsnRequest;
use tokio::task::JoinSet;

/// The sender of the mail in the queue. No other mail has this sender.
pub const SENDER: &str = "queued@sender.test";
/// The number of writers that commit at the same time.
const WRITERS: usize = 256;

/// The mail to put into the queue.
#[derive(Debug, Clone, Copy)]
pub struct Mail {
    pub messages: usize,
    pub destinations: usize,
    /// The octets of each body.
    pub body: usize,
}

/// Returns the domain of a destination.
pub fn domain(number: usize) -> String {
    format!("dest{number}.test")
}

pub async fn fill(state_dir: &Path, mail: Mail) {
    let config = StoreConfig {
        state_dir: state_dir.to_owned(),
        min_free: 0,
        inline_body: 8 * 1024,
    };
    let store = Arc::new(SledStore::open(&config).expect("a new queue"));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for number in (writer..mail.messages).step_by(WRITERS) {
                enqueue(&store, number, mail).await;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer does not panic");
    }
    store.close().await.expect("it closes");
}

async fn enqueue(store: &SledStore, number: usize, mail: Mail) {
    let to = format!("user{number}@{}", domain(number % mail.destinations));
    let to: ForwardPath = to.parse().expect("an address");
    let envelope = Envelope {
        sender: SENDER.parse().expect("an address"),
        recipients: vec![to.into()],
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
    };
    let mut spool = store.begin().expect("an open queue");
    let body = super::load::message(mail.body);
    spool.write(&body).await.expect("room");
    let head = Bytes::from_static(b"Received: from client.test by relay.test\r\n");
    let committed = store.commit(spool, envelope, now(), head).await;
    committed.expect("a commit");
}

#[expect(clippy::disallowed_methods, reason = "the time of this arrival")]
fn now() -> SystemTime {
    SystemTime::now()
}
