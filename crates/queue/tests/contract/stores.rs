//! The stores on which the contract is tested, and helpers for the rules.

use std::future::Future;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use relay_message::{
    Body, Claim, Content, Envelope, Message, NewMessage, Origin, QueueStore, Recipient,
    RecipientChange, RecipientState, Settlement, Spool, StoreError,
};
use relay_queue::{MemoryStore, SledStore, StoreConfig};
use relay_smtp::dsn::DsnRequest;
use relay_smtp::{EnhancedStatus, ForwardPath, Outcome, Reply, Stage, Verdict};
use relay_testkit::FaultyStore;
use tempfile::TempDir;

/// Bodies of up to this many octets are stored in the journal.
pub const INLINE: usize = 4096;

/// A store on which a rule is tested.
pub trait Harness: Send + Sized {
    type Store: QueueStore;

    fn new() -> Self;

    fn store(&self) -> &Self::Store;

    /// Closes the store and opens it again. A store in memory stays as it is.
    fn reopen(&mut self) -> impl Future<Output = ()>;

    /// Names of the files in `mess/`.
    fn files(&self) -> Vec<String> {
        Vec::new()
    }

    /// The names of these files if this is the only message, and a large one.
    fn files_of(&self, _message: &Message) -> Vec<String> {
        Vec::new()
    }
}

/// A store, or a wrapper around it.
pub trait Around<S>: QueueStore {
    fn around(store: S) -> Self;
}

impl Around<MemoryStore> for MemoryStore {
    fn around(store: MemoryStore) -> Self {
        store
    }
}

impl Around<SledStore> for SledStore {
    fn around(store: SledStore) -> Self {
        store
    }
}

impl<S: QueueStore> Around<S> for FaultyStore<S> {
    fn around(store: S) -> Self {
        FaultyStore::new(store)
    }
}

/// A store in memory.
pub struct InMemory<S = MemoryStore>(S);

impl<S: Around<MemoryStore>> Harness for InMemory<S> {
    type Store = S;

    fn new() -> Self {
        Self(S::around(MemoryStore::new()))
    }

    fn store(&self) -> &S {
        &self.0
    }

    async fn reopen(&mut self) {}
}

/// A store on disk, in its own directory.
pub struct OnDisk<S = SledStore> {
    directory: TempDir,
    store: Option<S>,
}

impl<S: Around<SledStore>> OnDisk<S> {
    /// The state directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn in_mess(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join("mess").join(name)
    }

    /// Drops the store without closing it.
    pub fn drop_store(&mut self) {
        self.store = None;
    }

    pub async fn close(&mut self) {
        if let Some(store) = self.store.take() {
            store.close().await.expect("closes");
        }
    }

    pub fn open(&mut self) {
        let opened = SledStore::open(&config(self.path()));
        self.store = Some(S::around(opened.expect("opens")));
    }
}

/// Without a reserve on the disk.
pub fn config(state_dir: &Path) -> StoreConfig {
    StoreConfig {
        state_dir: state_dir.to_owned(),
        min_free: 0,
        inline_body: INLINE,
    }
}

impl<S: Around<SledStore>> Harness for OnDisk<S> {
    type Store = S;

    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut new = Self {
            directory,
            store: None,
        };
        new.open();
        new
    }

    fn store(&self) -> &S {
        self.store.as_ref().expect("it is open")
    }

    async fn reopen(&mut self) {
        self.close().await;
        self.open();
    }

    fn files(&self) -> Vec<String> {
        names(&self.path().join("mess"))
    }

    fn files_of(&self, message: &Message) -> Vec<String> {
        vec![message.id.to_string()]
    }
}

/// Names in a directory, in order.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Waits until `mess/` has exactly these files. A separate thread removes the others.
pub async fn files_become(harness: &impl Harness, expected: &[String]) {
    let same = async {
        while harness.files() != expected {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), same).await;
    assert!(waited.is_ok(), "{:?}, not {expected:?}", harness.files());
}

/// A time whose fraction a record can store.
pub fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// An envelope with this many recipients.
pub fn envelope(recipients: usize) -> Envelope {
    let path = |n| format!("user{n}@dest.test").parse::<ForwardPath>();
    let recipient = |n| Recipient::from(path(n).expect("an address"));
    Envelope {
        sender: "app@sender.test".parse().expect("an address"),
        recipients: (0..recipients).map(recipient).collect(),
        eight_bit: true,
        utf8: false,
        dsn: DsnRequest::default(),
    }
}

/// Returns octets of all values, in no simple order.
pub fn octets(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Commits a message, written in pieces of 10,000 octets.
pub async fn commit<S: QueueStore>(
    store: &S,
    recipients: usize,
    head: &[u8],
    body: &[u8],
) -> Result<Message, StoreError> {
    let mut spool = store.begin()?;
    for piece in body.chunks(10_000) {
        spool.write(piece).await?;
    }
    let head = Bytes::copy_from_slice(head);
    store
        .commit(spool, envelope(recipients), at(1000), head)
        .await
}

/// A small message.
pub async fn enqueue<S: QueueStore>(store: &S) -> Message {
    let committed = commit(store, 1, b"Received: here\r\n", b"\r\nbody\r\n").await;
    committed.expect("committed")
}

/// A report.
pub fn bounce<S: QueueStore>(store: &S, body: Vec<u8>) -> NewMessage {
    let null = Envelope {
        sender: "".parse().expect("the null sender"),
        ..envelope(1)
    };
    NewMessage {
        id: store.next_id(),
        origin: Origin::Bounce,
        envelope: null,
        arrived: at(2000),
        head: Bytes::from_static(b"From: us\r\n"),
        body: body.into(),
    }
}

pub async fn claim<S: QueueStore>(store: &S, message: &Message) -> Claim {
    let claimed = store.claim(message.id).await.expect("claimed");
    let (claim, as_recorded) = claimed.expect("it is there");
    assert_eq!(&as_recorded, message);
    claim
}

/// An attempt for one recipient, with its outcome.
pub fn tried(index: usize, state: RecipientState, verdict: Verdict) -> RecipientChange {
    let status = match verdict {
        Verdict::Delivered => EnhancedStatus::success(0, 0),
        Verdict::Deferred => EnhancedStatus::transient(2, 0),
        Verdict::Failed => EnhancedStatus::permanent(1, 1),
    };
    let outcome = Outcome {
        verdict,
        status,
        stage: Stage::Rcpt,
        peer: None,
        reply: Some(Reply::received(
            450,
            None,
            vec!["as it\u{a0}pleases".into()],
        )),
        detail: String::new(),
    };
    RecipientChange {
        index,
        state,
        attempt: Some((at(3000), outcome)),
    }
}

pub fn done(index: usize) -> RecipientChange {
    tried(index, RecipientState::Done, Verdict::Delivered)
}

pub fn deferred(index: usize) -> RecipientChange {
    let next_attempt = at(4000);
    let state = RecipientState::Deferred { next_attempt };
    tried(index, state, Verdict::Deferred)
}

pub fn changes(recipients: Vec<RecipientChange>) -> Settlement {
    Settlement {
        recipients,
        ..Settlement::default()
    }
}

/// Every record, in order.
pub async fn all<S: QueueStore>(store: &S) -> Vec<Message> {
    store.scan(None, usize::MAX).await.expect("scanned")
}

/// The number of messages, of those without an attempt, and of damaged ones.
pub fn counts<S: QueueStore>(store: &S) -> (u64, u64, u64) {
    (store.count(), store.count_fresh(), store.count_damaged())
}

/// Checks that the books agree with the records.
pub async fn balanced<S: QueueStore>(store: &S) {
    let audit = store.audit().await.expect("audited");
    assert!(audit.is_balanced(), "{audit:?}");
    assert_eq!(audit.books, store.books());
    assert_eq!(audit.queued, audit.books.queued());
}

/// Reads head and body of a message under a new claim, which is then released.
pub async fn bytes_of<S: QueueStore>(store: &S, message: &Message) -> (Vec<u8>, Vec<u8>) {
    let claim = claim(store, message).await;
    let content = store.open(claim).await.expect("opened");
    store.release(claim);
    bytes(content)
}

pub fn bytes(content: Content) -> (Vec<u8>, Vec<u8>) {
    let body = match content.body {
        Body::Inline(body) => body.to_vec(),
        Body::File { mut file, length } => {
            assert_eq!(file.stream_position().expect("a position"), 0);
            let mut body = Vec::new();
            file.take(length).read_to_end(&mut body).expect("readable");
            body
        }
    };
    (content.head.to_vec(), body)
}
