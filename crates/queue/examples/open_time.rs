//! Measures how long a full queue takes to open:
//! `cargo run --release -p relay-queue --example open_time -- DIR COUNT`.
//!
//! Fills the state directory DIR with COUNT small messages if it does not exist, closes it, opens
//! it again, reads every record once and audits the queue.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use relay_message::{Envelope, QueueStore, Spool, StoreError};
use relay_queue::{SledStore, StoreConfig};
use relay_smtp::ForwardPath;
use relay_smtp::dsn::DsnRequest;
use tokio::task::JoinSet;

/// Clients that commit at the same time.
const CLIENTS: usize = 256;
/// Records of one scan.
const PAGE: usize = 1000;

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures"
)]
async fn main() -> Result<(), StoreError> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(count)) = (arguments.next(), arguments.next()) else {
        println!("usage: open_time DIR COUNT");
        return Ok(());
    };
    let count = count.parse().unwrap_or(1_000_000);
    let config = StoreConfig {
        state_dir: PathBuf::from(dir),
        min_free: 0,
        inline_body: 4096,
    };
    let report = |what: &str, since: Instant| {
        println!("{what}: {:.2} s", since.elapsed().as_secs_f64());
        Instant::now()
    };
    let start = Instant::now();
    if !config.state_dir.exists() {
        let store = Arc::new(SledStore::open(&config)?);
        fill(&store, count).await?;
        store.close().await?;
    }
    let start = report("filled", start);
    let store = SledStore::open(&config)?;
    let start = report("opened", start);
    let read = read_all(&store).await?;
    let start = report(&format!("read {read} of {count}"), start);
    let audit = store.audit().await?;
    report(&format!("audited, {} queued", audit.queued), start);
    Ok(())
}

async fn fill(store: &Arc<SledStore>, count: usize) -> Result<(), StoreError> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let store = Arc::clone(store);
        clients.spawn(async move {
            for n in (client..count).step_by(CLIENTS) {
                enqueue(&store, n).await?;
            }
            Ok::<(), StoreError>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client does not panic")?;
    }
    Ok(())
}

async fn enqueue(store: &SledStore, n: usize) -> Result<(), StoreError> {
    let path = format!("user{n}@dest{}.test", n % 1000).parse::<ForwardPath>();
    let envelope = Envelope {
        sender: "app@sender.test".parse().expect("an address"),
        recipients: vec![path.expect("an address").into()],
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
    };
    let mut spool = store.begin()?;
    spool.write(b"\r\nhello\r\n").await?;
    let arrived = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let head = Bytes::from_static(b"Received: from client.test by relay.test\r\n");
    store.commit(spool, envelope, arrived, head).await?;
    Ok(())
}

async fn read_all(store: &SledStore) -> Result<usize, StoreError> {
    let (mut read, mut after) = (0, None);
    loop {
        let page = store.scan(after, PAGE).await?;
        read += page.len();
        match page.last() {
            Some(last) => after = Some(last.id),
            None => return Ok(read),
        }
    }
}
