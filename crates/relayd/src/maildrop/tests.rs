//! A maildrop, and a server with a queue in memory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use relay_maildrop::EnvelopeLine;
use relay_message::{Body, Message, QueueStore as _};
use relay_queue::MemoryStore;
use relay_smtpd::Server;
use relay_testkit::FaultyStore;
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::clock;
use crate::config::Config;

const DEADLINE: Duration = Duration::from_secs(20);

struct World {
    dir: TempDir,
    maildrop: Arc<Maildrop>,
    store: Arc<FaultyStore<MemoryStore>>,
    accepted: mpsc::UnboundedReceiver<Message>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

/// Creates a relay that reads its maildrop only on request. `limits` is a part of its
/// configuration.
fn world(limits: &str) -> World {
    world_where(limits, |_| ())
}

/// As above. `meanwhile` is called with the directory each time a message has entered the queue and
/// its session continues.
fn world_where(limits: &str, meanwhile: impl Fn(&Path) + Send + Sync + 'static) -> World {
    let dir = tempfile::tempdir().expect("a directory");
    let place = path(dir.path());
    let text = format!("hostname = \"relay.test\"\n[relay]\nnetworks = []\n[limits]\n{limits}");
    let config = Config::parse(Path::new("relayd.toml"), &text).expect("a configuration");
    let (_, config) = watch::channel(Arc::new(config.smtpd()));
    let server = Server::bind(&[]).expect("nothing to bind");
    let maildrop = Maildrop::open(dir.path(), server.local_sessions()).expect("a directory");
    let (store, shutdown) = (
        Arc::new(FaultyStore::new(MemoryStore::new())),
        CancellationToken::new(),
    );
    let (sender, accepted) = mpsc::unbounded_channel();
    let accept = Arc::new(move |message| {
        meanwhile(&place);
        sender.send(message).expect("a receiver");
    });
    let run = server.run(Arc::clone(&store), config, accept, shutdown.clone());
    World {
        dir,
        maildrop: Arc::new(maildrop),
        store,
        accepted,
        shutdown,
        server: tokio::spawn(run),
    }
}

fn line_to(recipients: usize) -> EnvelopeLine {
    let recipient = |n| format!("u{n}@dest.test").parse().expect("a recipient");
    let sender = "ann@ours.test".parse().expect("a sender");
    EnvelopeLine::new(sender, (0..recipients).map(recipient).collect())
}

impl World {
    fn put(&self, name: &str, content: &[u8]) {
        fs::write(path(self.dir.path()).join(name), content).expect("a file");
    }

    fn put_message(&self, name: &str, line: &EnvelopeLine, message: &str) {
        self.put(name, &[&line.encode(), message.as_bytes()].concat());
    }

    async fn look(&self) {
        let (maildrop, shutdown) = (Arc::clone(&self.maildrop), self.shutdown.clone());
        let looked = tokio::task::spawn_blocking(move || maildrop.look_through(&shutdown));
        let looked = timeout(DEADLINE, looked).await.expect("in time");
        looked.expect("no panic").expect("a directory");
    }

    /// Returns a message without the header fields that the server adds.
    async fn text(&self, message: &Message) -> String {
        let claimed = self.store.claim(message.id).await.expect("a store");
        let (claim, _) = claimed.expect("a message");
        let content = self.store.open(claim).await.expect("its content");
        let Body::Inline(body) = content.body else {
            panic!("the memory store keeps bodies in memory");
        };
        String::from_utf8(body.to_vec()).expect("text")
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join(directory)).expect("a directory");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    fn left(&self) -> Vec<String> {
        [self.names("maildrop-held"), self.names("maildrop")].concat()
    }

    fn refused(&self) -> usize {
        self.names("maildrop-refused").len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_the_maildrop_is_queued_as_its_owner_s_and_removed() {
    let mut world = world("");
    let message = "Subject: t\r\nDate: d\r\nMessage-ID: <i>\r\n\r\n.hello\r\n.\r\n";
    world.put_message("new-1", &line_to(2), message);
    world.look().await;
    let taken = world.accepted.try_recv().expect("a message");
    assert_eq!(taken.sender.as_str(), "ann@ours.test");
    assert_eq!(taken.recipients.len(), 2);
    let claimed = world.store.claim(taken.id).await.expect("a store");
    let (claim, _) = claimed.expect("a message");
    let content = world.store.open(claim).await.expect("its content");
    let Body::Inline(body) = content.body else {
        panic!("the memory store keeps bodies in memory");
    };
    assert_eq!(body, message);
    let uid = fs::metadata(world.dir.path()).expect("a directory").uid();
    let head = String::from_utf8(content.head.into()).expect("text");
    let from = format!("Received: from localhost (uid={uid})\r\n");
    assert!(head.starts_with(&from), "{head}");
    assert!(world.left().is_empty() && world.refused() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_recipients_does_not_apply_to_the_maildrop() {
    let mut world = world("recipients = 1");
    world.put_message("new-1", &line_to(100), "Subject: t\r\n\r\n");
    world.look().await;
    let taken = world.accepted.try_recv().expect("a message");
    assert_eq!(taken.recipients.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_message_is_set_aside_and_never_tried_again() {
    let world = world("message_size = \"1000B\"");
    let place = path(world.dir.path());
    world.put("new-junk", b"Subject: t\n\nhello\n");
    world.put("stray", b"");
    world.put_message("new-large", &line_to(1), &"x".repeat(2000));
    world.put_message("new-bare", &line_to(1), "Subject: t\r\n\r\na\rb\r\n");
    symlink("/etc/hostname", place.join("new-link")).expect("a link");
    fs::create_dir(place.join("new-directory")).expect("a directory");
    mkfifoat(CWD, place.join("new-pipe"), Mode::RWXU).expect("a pipe");
    let elsewhere = world.dir.path().join("elsewhere");
    fs::write(&elsewhere, line_to(1).encode()).expect("a file");
    fs::hard_link(&elsewhere, place.join("new-hard")).expect("a name");
    world.look().await;
    assert!(world.left().is_empty(), "{:?}", world.left());
    // The client repairs a bare CR before it sends the message, so one of these is accepted. The
    // other message in the queue is a report of the one that is too large.
    assert_eq!((world.refused(), world.store.count()), (7, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_set_aside_is_reported_to_its_sender_but_a_report_is_not() {
    let mut world = world("message_size = \"1000B\"");
    let mut of_nobody = line_to(1);
    of_nobody.sender = "".parse().expect("the null sender");
    world.put_message("new-1", &line_to(1), &"x".repeat(2000));
    world.put_message("new-2", &of_nobody, &"x".repeat(2000));
    world.look().await;
    let report = world.accepted.try_recv().expect("a report");
    assert_eq!(report.sender.as_str(), "");
    let to = report.recipients.first().expect("a recipient");
    assert_eq!(to.to.path.as_str(), "ann@ours.test");
    let body = world.text(&report).await;
    assert!(body.contains("larger than limits.message_size"), "{body}");
    assert!(body.contains("<MAILER-DAEMON@relay.test>"), "{body}");
    assert!(world.accepted.try_recv().is_err());
    assert_eq!(world.refused(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_author_as_cron_writes_it_gets_the_domain_of_this_machine() {
    let mut world = world("");
    let message = "From: root (Cron Daemon)\r\nTo: ann\r\nSubject: t\r\n\r\n";
    world.put_message("new-1", &line_to(1), message);
    world.look().await;
    let taken = world.accepted.try_recv().expect("a message");
    let message = world.text(&taken).await;
    assert!(
        message.contains("From: root@relay.test (Cron Daemon)\r\nTo: ann@relay.test\r\n"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_file_is_left_alone_until_its_writer_must_be_dead() {
    let world = world("");
    world.put_message("tmp-new", &line_to(1), "");
    world.put_message("tmp-old", &line_to(1), "");
    let old = fs::File::options()
        .write(true)
        .open(path(world.dir.path()).join("tmp-old"));
    let long_ago = clock::now() - Duration::from_hours(37);
    old.and_then(|old| old.set_modified(long_ago))
        .expect("a file");
    world.look().await;
    assert_eq!(world.left(), ["tmp-new"]);
    assert_eq!((world.refused(), world.store.count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_queued_now_stays_and_delays_no_other() {
    let mut world = world("");
    world.store.fail_after(0);
    world.put_message("new-1", &line_to(1), "Subject: t\r\n\r\n");
    world.look().await;
    assert_eq!(
        (world.left(), world.refused()),
        (vec!["new-1".to_owned()], 0)
    );
    assert!(!world.store.is_armed());
    world.put_message("new-2", &line_to(2), "Subject: t\r\n\r\n");
    world.look().await;
    assert_eq!(world.left(), ["new-1"], "it is left alone for a while");
    assert_eq!(
        world
            .accepted
            .try_recv()
            .expect("a message")
            .recipients
            .len(),
        2
    );
    let memory = world.maildrop.memory.lock();
    memory.expect("no panic").waiting.clear();
    world.look().await;
    assert!(world.left().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_mail_and_cannot_be_moved_delays_nothing() {
    let mut world = world("");
    let refused = world.dir.path().join("maildrop-refused");
    fs::remove_dir(&refused).expect("a directory");
    fs::write(&refused, "").expect("a file");
    for n in 0..3 {
        world.put(&format!("stray-{n}"), b"");
        world.put_message(&format!("new-{n}"), &line_to(1), "Subject: t\r\n\r\n");
    }
    world.look().await;
    assert_eq!(world.left(), ["stray-0", "stray-1", "stray-2"]);
    assert!((0..3).all(|_| world.accepted.try_recv().is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_message_is_in_the_queue_is_only_removed() {
    let world = world("");
    let file = world.dir.path().join("maildrop-held/new-1");
    fs::write(file, line_to(1).encode()).expect("a file");
    let memory = world.maildrop.memory.lock();
    memory.expect("no panic").queued = Some("new-1".into());
    world.look().await;
    assert!(world.left().is_empty());
    assert_eq!(world.store.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_takes_the_name_of_a_message_during_its_session_delays_nothing() {
    let mut world = world_where("", |place| {
        // The owner of a file may do this.
        let _ = fs::rename(place.join("new-1"), place.join("tmp-1"));
        let _ = fs::create_dir(place.join("new-1"));
    });
    world.put_message("new-1", &line_to(1), "Subject: t\r\n\r\n");
    world.look().await;
    world.put_message("new-2", &line_to(2), "Subject: t\r\n\r\n");
    world.look().await;
    let mut taken = || world.accepted.try_recv().expect("a message");
    assert_eq!((taken().recipients.len(), taken().recipients.len()), (1, 2));
    assert!(world.accepted.try_recv().is_err(), "none comes twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_held_at_a_crash_is_queued_before_a_new_one_with_its_name() {
    let mut world = world("");
    let message = [line_to(2).encode().as_slice(), b"Subject: t\r\n\r\n"].concat();
    fs::write(world.dir.path().join("maildrop-held/new-1"), message).expect("a file");
    world.put_message("new-1", &line_to(1), "Subject: t\r\n\r\n");
    world.look().await;
    let mut taken = || world.accepted.try_recv().expect("a message");
    assert_eq!((taken().recipients.len(), taken().recipients.len()), (2, 1));
    assert!(world.left().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_loses_nothing() {
    let world = world("");
    world.put_message("new-1", &line_to(1), "Subject: t\r\n\r\n");
    world.shutdown.cancel();
    let World {
        server,
        maildrop,
        dir,
        ..
    } = world;
    timeout(DEADLINE, server)
        .await
        .expect("in time")
        .expect("a clean end");
    let looked =
        tokio::task::spawn_blocking(move || maildrop.look_through(&CancellationToken::new()));
    looked.await.expect("no panic").expect("a directory");
    assert!(dir.path().join("maildrop-held/new-1").exists());
}

#[tokio::test]
async fn every_user_may_write_to_the_maildrop_and_to_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    fs::create_dir_all(state.join("mess")).expect("a directory");
    fs::write(state.join("acl"), "").expect("a file");
    let set = |name: &str, mode| {
        fs::set_permissions(state.join(name), PermissionsExt::from_mode(mode)).expect("ours");
    };
    let mode = |name: &str| {
        let found = fs::metadata(state.join(name)).expect("it is there");
        found.permissions().mode() & 0o7777
    };
    set("", 0o700);
    set("mess", 0o755);
    set("acl", 0o644);
    let sessions = Server::bind(&[]).expect("nothing to bind").local_sessions();
    for _ in 0..2 {
        Maildrop::open(&state, sessions.clone()).expect("a directory");
        assert_eq!(mode("maildrop"), 0o1733);
        assert_eq!(mode("maildrop-held"), 0o700);
        assert_eq!(mode("maildrop-refused"), 0o700);
        assert_eq!((mode(""), mode("mess"), mode("acl")), (0o711, 0o700, 0o600));
    }
}
