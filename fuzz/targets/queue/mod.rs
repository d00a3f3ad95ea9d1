//! A small queue to damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use relay_message::{Envelope, QueueId, QueueStore, Spool};
use relay_queue::{SledStore, StoreConfig};
use relay_smtp::ForwardPath;
use relay_smtp::dsn::DsnRequest;
use tempfile::TempDir;

pub const MESSAGES: usize = 12;

pub fn config(state_dir: &Path) -> StoreConfig {
    StoreConfig {
        state_dir: state_dir.to_owned(),
        min_free: 0,
        inline_body: 2000,
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// A closed queue. Most messages are in the journal, some have a file.
fn template() -> &'static TempDir {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        block_on(async {
            for part in 0..3 {
                let store = SledStore::open(&config(dir.path())).expect("opens");
                for n in 0..MESSAGES / 3 {
                    enqueue(&store, 40 + 700 * n + part).await;
                }
                store.close().await.expect("closes");
            }
        });
        dir
    })
}

async fn enqueue(store: &SledStore, length: usize) {
    let to: ForwardPath = "u@dest.test".parse().expect("an address");
    let envelope = Envelope {
        sender: "a@sender.test".parse().expect("an address"),
        recipients: vec![to.into()],
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
    };
    let mut spool = store.begin().expect("a spool");
    spool.write(&vec![b'x'; length]).await.expect("written");
    let arrived = std::time::UNIX_EPOCH;
    let committed = store.commit(spool, envelope, arrived, "head".into()).await;
    committed.expect("committed");
}

/// Returns a copy of the queue, and its files in order.
pub fn copy() -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut files = Vec::new();
    copy_all(template().path(), dir.path(), &mut files);
    files.sort();
    (dir, files)
}

fn copy_all(from: &Path, to: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).expect("made");
            copy_all(&entry.path(), &to, files);
        } else {
            fs::copy(entry.path(), &to).expect("copied");
            files.push(to);
        }
    }
}

/// Opens the queue, reads everything, and returns the sound messages. The books must balance.
pub fn sound(dir: &Path) -> Vec<QueueId> {
    block_on(async {
        let store = SledStore::open(&config(dir)).expect("opens");
        let messages = store.scan(None, 1000).await.expect("scanned");
        let mut sound = Vec::new();
        for message in messages {
            if let Ok(Some(_)) = store.content(message.id).await {
                sound.push(message.id);
            }
        }
        let audit = store.audit().await.expect("audited");
        assert!(audit.is_balanced(), "{audit:?}");
        store.close().await.expect("closes");
        sound
    })
}
