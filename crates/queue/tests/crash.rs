//! Crashes a process that uses a queue at each named point. Everything that it acknowledged must be
//! in the queue afterwards.
//!
//! The test runs itself as that process. It prints a line for each answer.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use relay_message::{
    Body, Claim, Envelope, Message, NewMessage, Origin, QueueId, QueueStore, RecipientChange,
    RecipientState, Settlement, Spool,
};
use relay_queue::{SledStore, StoreConfig};
use relay_smtp::ForwardPath;
use relay_smtp::dsn::DsnRequest;

/// Bodies of up to this many octets are stored in the journal.
const INLINE: usize = 1000;
/// The points that a process reaches often if there is no damage.
const POINTS: [&str; 6] = [
    "body-synced",
    "directory-synced",
    "appending",
    "appended",
    "synced",
    "told",
];
/// The points that it reaches once.
const RARE_POINTS: [&str; 4] = [
    "segment-written",
    "segment-named",
    "checkpoint",
    "checkpoint-written",
];

fn config(state_dir: &Path) -> StoreConfig {
    StoreConfig {
        state_dir: state_dir.to_owned(),
        min_free: 0,
        inline_body: INLINE,
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn envelope(recipients: usize) -> Envelope {
    let path = |n| format!("user{n}@dest.test").parse::<ForwardPath>();
    let to = (0..recipients).map(|n| path(n).expect("an address").into());
    Envelope {
        sender: "app@sender.test".parse().expect("an address"),
        recipients: to.collect(),
        eight_bit: false,
        utf8: false,
        dsn: DsnRequest::default(),
    }
}

/// Returns the body of a message. No two are alike.
fn body(id: QueueId, is_large: bool) -> Vec<u8> {
    let times = if is_large { 200 } else { 1 };
    format!("{id}\r\n").repeat(times).into_bytes()
}

/// Prints the line for an answer: the operation and the message.
fn print_answer(what: &str, id: QueueId) {
    println!("{what} {id}");
}

/// The process that crashes, unless it does not reach its point often enough.
#[tokio::test]
#[ignore = "run by the other tests, as a process of its own"]
async fn child() {
    let Some(dir) = std::env::var_os("RELAY_CRASH_DIR") else {
        return;
    };
    let store = SledStore::open(&config(Path::new(&dir))).expect("opens");
    for n in 0..6 {
        let is_large = n % 2 == 0;
        let kept = commit(&store, 1, is_large).await;
        print_answer("accepted", kept.id);
        let message = commit(&store, 2, is_large).await;
        print_answer("accepted", message.id);
        let claim = claim(&store, message.id).await;
        print_answer("settling", message.id);
        let settled = store.settle(claim, changes(&[0])).await;
        assert!(settled.expect("settled").is_some());
        let mut last = changes(&[1]);
        let report = report(&store, is_large);
        let id = report.id;
        last.bounces.push(report);
        print_answer("leaving", message.id);
        let left = store.settle(claim, last).await.expect("settled");
        assert!(left.is_none(), "the last settlement removes the message");
        print_answer("left", message.id);
        print_answer("accepted", id);
        let doomed = commit(&store, 3, is_large).await;
        print_answer("leaving", doomed.id);
        store.delete(doomed.id).await.expect("deleted");
        print_answer("left", doomed.id);
    }
    println!("done");
}

async fn commit(store: &SledStore, recipients: usize, is_large: bool) -> Message {
    let mut spool = store.begin().expect("a spool");
    let body = body(spool.id(), is_large);
    spool.write(&body).await.expect("written");
    let head = Bytes::from_static(b"head");
    let committed = store.commit(spool, envelope(recipients), at(1), head).await;
    committed.expect("committed")
}

async fn claim(store: &SledStore, id: QueueId) -> Claim {
    let claimed = store.claim(id).await.expect("claimed");
    claimed.expect("it is there").0
}

fn changes(done: &[usize]) -> Settlement {
    let change = |&index: &usize| RecipientChange {
        index,
        state: RecipientState::Done,
        attempt: None,
    };
    Settlement {
        recipients: done.iter().map(change).collect(),
        ..Settlement::default()
    }
}

fn report(store: &SledStore, is_large: bool) -> NewMessage {
    let id = store.next_id();
    NewMessage {
        id,
        origin: Origin::Bounce,
        envelope: envelope(1),
        arrived: at(2),
        head: Bytes::from_static(b"head"),
        body: body(id, is_large).into(),
    }
}

/// Returns the lines of the process, and whether it ended normally.
fn run(dir: &Path, crash_at: &str) -> (Vec<(String, QueueId)>, bool) {
    run_with(dir, "RELAY_CRASH_AT", crash_at)
}

fn run_with(dir: &Path, variable: &str, value: &str) -> (Vec<(String, QueueId)>, bool) {
    let test = std::env::current_exe().expect("a test is a program");
    let output = Command::new(test)
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(variable, value)
        .env("RELAY_CRASH_DIR", dir)
        .stderr(Stdio::null())
        .output();
    let said = String::from_utf8(output.expect("it runs").stdout).expect("text");
    let lines = said.lines().filter_map(|line| {
        let (what, id) = line.split_once(' ')?;
        Some((what.to_owned(), id.parse().ok()?))
    });
    (lines.collect(), said.lines().any(|line| line == "done"))
}

/// Returns the messages that must be in the queue, and those that may be, because the process
/// crashed during the operation.
#[derive(Debug, Default)]
struct Ledger {
    queued: BTreeMap<QueueId, bool>,
    last: Option<(String, QueueId)>,
}

impl Ledger {
    fn of(said: &[(String, QueueId)]) -> Self {
        let mut ledger = Self::default();
        for (what, id) in said {
            match what.as_str() {
                "accepted" => drop(ledger.queued.insert(*id, true)),
                "left" => drop(ledger.queued.remove(id)),
                _ => {}
            }
        }
        ledger.last = said.last().cloned();
        // The removal may be done or not.
        if let Some((what, id)) = &ledger.last
            && what == "leaving"
        {
            ledger.queued.insert(*id, false);
        }
        ledger
    }
}

async fn check(dir: &Path, said: &[(String, QueueId)], when: &str) {
    let ledger = Ledger::of(said);
    let store = SledStore::open(&config(dir)).expect("opens");
    let found = store.scan(None, usize::MAX).await.expect("scanned");
    for (id, must) in &ledger.queued {
        let is_there = found.iter().any(|message| message.id == *id);
        assert!(is_there || !must, "{when}: {id} is lost");
    }
    let unknown = |message: &&Message| !ledger.queued.contains_key(&message.id);
    // A message that was entering at the crash: a new one, or the report of one that was leaving.
    assert!(found.iter().filter(unknown).count() <= 1, "{when}");
    let mut files = Vec::new();
    for message in &found {
        let claim = claim(&store, message.id).await;
        let content = store.open(claim).await.expect("undamaged");
        let bytes = match content.body {
            Body::Inline(bytes) => bytes.to_vec(),
            Body::File { mut file, length } => {
                files.push(message.id.to_string());
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).expect("readable");
                assert_eq!(bytes.len() as u64, length, "{when}");
                bytes
            }
        };
        let is_large = bytes.len() > INLINE;
        assert!(bytes == body(message.id, is_large), "{when}");
    }
    let mut left: Vec<String> = std::fs::read_dir(dir.join("mess"))
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    left.sort();
    assert_eq!(left, files, "{when}: files of messages, and no others");
    let audit = store.audit().await.expect("audited");
    assert!(audit.is_balanced(), "{when}: {audit:?}");
    let count = |what: &str| said.iter().filter(|(said, _)| said == what).count() as u64;
    let (came, went) = (
        audit.books.accepted + audit.books.reports,
        audit.books.delivered + audit.books.discarded,
    );
    // Each of them had at least one recipient.
    assert!(
        came >= count("accepted") && went >= count("left"),
        "{when}: {audit:?}"
    );
    assert_eq!(store.count_damaged(), 0, "{when}");
    store.close().await.expect("closed");
}

#[tokio::test]
async fn everything_acknowledged_survives_a_crash_at_any_point() {
    for point in POINTS {
        let mut crashes = 0;
        for times in [1, 2, 3, 4, 5, 7, 10] {
            let dir = tempfile::tempdir().expect("a directory");
            let crash_at = format!("{point}:{times}");
            let (said, ended) = run(dir.path(), &crash_at);
            check(dir.path(), &said, &crash_at).await;
            crashes += u32::from(!ended);
        }
        assert!(crashes > 3, "{point} has been reached");
    }
}

#[tokio::test]
async fn everything_acknowledged_survives_a_crash_while_a_segment_or_a_checkpoint_is_written() {
    for point in RARE_POINTS {
        let dir = tempfile::tempdir().expect("a directory");
        let (said, ended) = run(dir.path(), point);
        assert!(!ended, "{point} has been reached");
        check(dir.path(), &said, point).await;
    }
}

#[tokio::test]
async fn the_process_ends_normally_without_a_crash_point() {
    let dir = tempfile::tempdir().expect("a directory");
    let (said, ended) = run(dir.path(), "nowhere");
    assert!(ended, "{said:?}");
    check(dir.path(), &said, "no crash").await;
}

#[tokio::test]
async fn a_message_is_set_aside_at_the_next_start_after_a_crash_during_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (said, _) = run(dir.path(), "nowhere");
    let large = std::fs::read_dir(dir.path().join("mess"))
        .expect("a directory")
        .flatten()
        .next();
    std::fs::remove_file(large.expect("a body file").path()).expect("removed");
    let (_, ended) = run(dir.path(), "kept-aside");
    assert!(!ended, "it died");
    let store = SledStore::open(&config(dir.path())).expect("opens");
    let audit = store.audit().await.expect("audited");
    assert!(
        audit.is_balanced() && audit.books.set_aside == 1,
        "{audit:?}"
    );
    let queued = Ledger::of(&said).queued.len() as u64;
    assert_eq!(store.count(), queued - 1);
}

#[tokio::test]
async fn a_damaged_message_that_cannot_be_moved_is_set_aside_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    run(dir.path(), "nowhere");
    let mut files = std::fs::read_dir(dir.path().join("mess")).expect("a directory");
    let large = files.next().expect("a body file").expect("an entry").path();
    std::fs::write(&large, "cut").expect("written");
    let (_, ended) = run_with(dir.path(), "RELAY_FAIL_AT", "aside-rename");
    assert!(
        ended && large.exists(),
        "it blocks nothing, and nothing is half done"
    );
    let store = SledStore::open(&config(dir.path())).expect("opens");
    let audit = store.audit().await.expect("audited");
    assert!(
        audit.is_balanced() && audit.books.set_aside == 1,
        "{audit:?}"
    );
    assert!(!large.exists() && store.count_damaged() == 1);
}
