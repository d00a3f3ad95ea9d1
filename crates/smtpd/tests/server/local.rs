//! A Unix socket: the system identifies the users of this machine.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use relay_queue::MemoryStore;
use relay_smtpd::{
    Limits, ListenerAddress, ListenerConfig, Role, Server, ServerConfig, TlsSettings,
};
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::accounts::{Accounts, How};
use crate::log::Log;
use crate::under_tls::tls;
use crate::world::{Client, World, config, content, run, soon, start_on};

/// A server with a Unix socket in its own directory.
struct Local {
    world: World<MemoryStore>,
    path: PathBuf,
    /// The user that runs this test.
    uid: u32,
    _dir: TempDir,
}

fn local(role: Role, config: ServerConfig) -> Local {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("submit.sock");
    let listeners = [ListenerConfig {
        address: ListenerAddress::Unix(path.clone()),
        role,
        proxies: Vec::new(),
    }];
    Local {
        world: start_on(MemoryStore::new(), config, &listeners),
        path,
        uid: fs::metadata(dir.path()).expect("a directory").uid(),
        _dir: dir,
    }
}

async fn connect(path: &Path) -> Client<UnixStream> {
    let connected = soon(UnixStream::connect(path)).await;
    Client::over(connected.expect("a connection"))
}

#[tokio::test]
async fn a_user_of_this_machine_may_relay_and_is_named_by_its_uid() {
    for role in [Role::Mx, Role::Submission] {
        let log = Log::kept();
        let local = local(role, config());
        let mut client = connect(&local.path).await;
        client.greet().await;
        client.submit("Subject: t\r\n\r\nhello").await;
        let (head, _) = content(&*local.world.store, &local.world.last()).await;
        let uid = local.uid;
        let from = format!("Received: from client.test (uid={uid})\r\n");
        assert!(head.starts_with(&from), "{head}");
        assert!(head.contains("Message-ID: <"), "missing fields are added");
        log.has(&["info msg", &format!("client [uid={uid}]")]).await;
        local.world.stopped().await;
    }
}

#[tokio::test]
async fn auth_is_offered_and_accepted_without_tls_and_starttls_is_not() {
    let accounts = Accounts::with("app", "s3cret");
    let config = ServerConfig {
        tls: Some(tls(TlsSettings::default())),
        users: Some(accounts as _),
        ..config()
    };
    let local = local(Role::Submission, config);
    for how in How::ALL {
        let mut client = connect(&local.path).await;
        let offer = client.greet().await;
        assert!(offer.contains("AUTH PLAIN LOGIN SCRAM-SHA-256"), "{offer}");
        assert!(!offer.contains("STARTTLS"), "{offer}");
        let reply = client.log_in(how, "app", "s3cret").await;
        assert!(reply.starts_with("235 2.7.0"), "{how:?}: {reply}");
        client.submit("Subject: t\r\n\r\nhello").await;
        let (head, _) = content(&*local.world.store, &local.world.last()).await;
        assert!(head.contains("with ESMTPA id"), "{head}");
    }
    local.world.stopped().await;
}

#[tokio::test]
async fn a_bad_sender_is_refused_for_a_user_of_this_machine_too() {
    let local = local(Role::Submission, config());
    let mut client = connect(&local.path).await;
    client.greet().await;
    client.expect("MAIL FROM:<x@bad.test>", "553 5.7.1").await;
    local.world.stopped().await;
}

#[tokio::test]
async fn the_sessions_of_one_user_are_limited() {
    let limits = Limits {
        connections_per_client: 1,
        ..Limits::default()
    };
    let local = local(Role::Submission, ServerConfig { limits, ..config() });
    let mut first = connect(&local.path).await;
    first.greet().await;
    let reply = connect(&local.path).await.reply().await;
    assert!(reply.starts_with("421 4.7.0"), "{reply}");
    local.world.stopped().await;
}

#[tokio::test]
async fn any_user_may_connect_and_the_socket_is_removed_with_the_server() {
    let local = local(Role::Submission, config());
    let mode = fs::metadata(&local.path).expect("a socket").permissions();
    assert_eq!(mode.mode() & 0o777, 0o666);
    local.world.stopped().await;
    assert!(!local.path.exists());
}

#[tokio::test]
async fn a_socket_in_use_is_reported_and_a_stale_one_is_replaced() {
    let local = local(Role::Submission, config());
    let again = [ListenerConfig {
        address: ListenerAddress::Unix(local.path.clone()),
        role: Role::Mx,
        proxies: Vec::new(),
    }];
    let refused = Server::bind(&again).expect_err("in use");
    let told = refused.to_string();
    let place = format!("unix:{}: in use", local.path.display());
    assert!(told.contains(&place), "{told}");

    let left = local.path.with_extension("left");
    drop(std::os::unix::net::UnixListener::bind(&left).expect("a socket"));
    let listeners = [ListenerConfig {
        address: ListenerAddress::Unix(left),
        ..again[0].clone()
    }];
    let server = Server::bind(&listeners).expect("no process listens on it");
    assert_eq!(server.addresses(), [listeners[0].address.clone()]);
    local.world.stopped().await;
}

/// Sends these lines from a blocking client and returns one reply for each.
fn converse(stream: std::os::unix::net::UnixStream, lines: &[String]) -> Vec<String> {
    let mut stream = BufReader::new(stream);
    let mut replies = Vec::new();
    let mut hear = |stream: &mut BufReader<_>| loop {
        let mut line = String::new();
        // A reset also ends the connection.
        let read = stream.read_line(&mut line).unwrap_or(0);
        if read == 0 || line.as_bytes().get(3) != Some(&b'-') {
            return replies.push(line);
        }
    };
    hear(&mut stream);
    for line in lines {
        let said = write!(stream.get_mut(), "{line}\r\n");
        said.expect("the server reads");
        hear(&mut stream);
    }
    replies
}

#[tokio::test]
async fn a_local_session_needs_no_listener_and_allows_more_recipients() {
    let mut limits = Limits::default();
    limits.session.recipients = 1;
    let server = Server::bind(&[]).expect("nothing to bind");
    let local_sessions = server.local_sessions();
    let world = run(
        server,
        MemoryStore::new(),
        ServerConfig { limits, ..config() },
    );
    let opened = local_sessions.open(4711, 2).expect("a pair of sockets");
    let lines = [
        "EHLO client.test",
        "MAIL FROM:<a@b.test>",
        "RCPT TO:<c@d.test>",
        "RCPT TO:<e@d.test>",
        "DATA",
        "Subject: t\r\n\r\nhello\r\n.",
    ]
    .map(str::to_owned);
    let talk = tokio::task::spawn_blocking(move || converse(opened, &lines));
    let replies = soon(talk).await.expect("no panic");
    let codes: Vec<_> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "250", "354", "250"]);
    let (head, _) = content(&*world.store, &world.last()).await;
    assert!(
        head.starts_with("Received: from client.test (uid=4711)"),
        "{head}"
    );

    world.stopped().await;
    let late = local_sessions.open(4711, 2).expect("a pair of sockets");
    let talk = tokio::task::spawn_blocking(move || converse(late, &[]));
    assert_eq!(soon(talk).await.expect("no panic"), [""]);
}
