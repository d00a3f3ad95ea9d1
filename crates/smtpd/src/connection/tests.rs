//! Tests a connection over a pipe, with a paused clock that skips idle time.

mod handshake;
mod login;

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use relay_dkim::{
    Algorithm, Canonicalization, GeneratedKey, HeaderList, PrivateKey, Signer, SigningEntry,
};
use relay_queue::MemoryStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::auth::{AuthLimits, NoTemporaryRelay};
use crate::config::Limits;
use crate::relay::RelayRules;
use crate::rewrite::Rewriting;

/// A pipe that reports each write.
struct Reporting {
    pipe: DuplexStream,
    writes: mpsc::UnboundedSender<String>,
}

impl AsyncRead for Reporting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(context, buffer)
    }
}

impl AsyncWrite for Reporting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.pipe).poll_write(context, octets))?;
        let text = String::from_utf8_lossy(&octets[..written]).into_owned();
        // The test may have ended already.
        let _ = self.writes.send(text);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

/// The client's end of the pipe, the writes of the server, and the session.
struct World {
    client: DuplexStream,
    writes: mpsc::UnboundedReceiver<String>,
    shared: Arc<SharedState<MemoryStore>>,
    session: JoinHandle<()>,
}

/// A client that may relay.
const FRIEND: Client = Client {
    id: ClientId::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
    address_known: true,
    role: Role::Mx,
};

fn config() -> ServerConfig {
    ServerConfig {
        hostname: "relay.test".into(),
        postmaster: "ann@relay.test".parse().expect("an address"),
        relay: RelayRules {
            networks: vec!["192.0.2.1/32".parse().expect("a network")],
            ..RelayRules::default()
        },
        limits: Limits::default(),
        tls: None,
        users: None,
        temporary_relay: Arc::new(NoTemporaryRelay),
        auth: AuthLimits::default(),
        rewriting: Rewriting::default(),
        signer: Arc::default(),
        inbound: None,
    }
}

fn shared() -> Arc<SharedState<MemoryStore>> {
    Arc::new(SharedState {
        store: Arc::new(MemoryStore::new()),
        accepted: Arc::new(|_| {}),
        buffers: BufferPool::default(),
        authenticator: Authenticator::new(),
        signing_pool: Arc::new(SigningPool::new()),
        stopping: CancellationToken::new(),
        ending: CancellationToken::new(),
    })
}

fn start() -> World {
    session(shared(), Arc::new(config()), FRIEND, Channel::Clear)
}

/// Starts a session on such a channel, over any kind of pipe.
fn session(
    shared: Arc<SharedState<MemoryStore>>,
    config: Arc<ServerConfig>,
    client: Client,
    channel: Channel,
) -> World {
    let (end, pipe) = duplex(1024 * 1024);
    let (sender, writes) = mpsc::unbounded_channel();
    let stream = Reporting {
        pipe,
        writes: sender,
    };
    let mut connection = Connection::new(Arc::clone(&shared), config, client, stream);
    let settings = connection.config.settings(client.submits_mail());
    connection.session = ServerSession::new(settings, channel, clock::now().into_std());
    World {
        client: end,
        writes,
        shared,
        session: tokio::spawn(connection.run()),
    }
}

impl World {
    async fn send(&mut self, octets: &[u8]) {
        self.client
            .write_all(octets)
            .await
            .expect("room in the pipe");
    }

    /// Returns the next write of the server, or `None` when the session is over.
    async fn write(&mut self) -> Option<String> {
        self.writes.recv().await
    }
}

#[tokio::test(start_paused = true)]
async fn the_replies_to_a_group_go_out_in_one_write() {
    let mut world = start();
    assert_eq!(
        world.write().await.as_deref(),
        Some("220 relay.test ESMTP\r\n")
    );
    world
        .send(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\n")
        .await;
    let group = "250 relay.test\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go ahead\r\n";
    assert_eq!(world.write().await.as_deref(), Some(group));
    world
        .send(b"Subject: t\r\n\r\nhello\r\n.\r\nNOOP\r\nQUIT\r\n")
        .await;
    let group = world.write().await.expect("a write");
    let codes: Vec<_> = group.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "221"], "{group}");
    assert_eq!(world.write().await, None);
    assert_eq!(world.shared.store.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_gets_421_after_the_timeout() {
    let mut world = start();
    world.write().await.expect("the greeting");
    let begin = clock::now();
    assert_eq!(
        world.write().await.as_deref(),
        Some("421 4.4.2 timeout (#4.4.2)\r\n")
    );
    assert_eq!(begin.elapsed().as_secs(), 300);
    assert_eq!(world.write().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_command_does_not_extend_the_timeout() {
    let mut world = start();
    world.write().await.expect("the greeting");
    let begin = clock::now();
    let told = loop {
        tokio::select! {
            write = world.writes.recv() => break write,
            () = tokio::time::sleep(Duration::from_mins(1)) => {}
        }
        world.send(b"x").await;
    };
    assert_eq!(told.as_deref(), Some("421 4.4.2 timeout (#4.4.2)\r\n"));
    assert_eq!(begin.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_dripping_message_times_out_and_a_slow_one_does_not() {
    for (piece, seconds) in [
        ("x\r\n".to_owned(), Some(600)),
        ("x\r\n".repeat(30_000), None),
    ] {
        let mut world = start();
        world.write().await.expect("the greeting");
        world
            .send(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\n\r\n")
            .await;
        world.write().await.expect("replies");
        let begin = clock::now();
        for _ in 0..20 {
            tokio::select! {
                write = world.writes.recv() => {
                    assert_eq!(write.as_deref(), Some("421 4.4.2 timeout (#4.4.2)\r\n"));
                    break;
                }
                () = tokio::time::sleep(Duration::from_mins(1)) => {}
            }
            world.send(piece.as_bytes()).await;
        }
        if let Some(seconds) = seconds {
            assert_eq!(begin.elapsed().as_secs(), seconds);
        } else {
            world.send(b".\r\n").await;
            let taken = world.write().await.expect("a reply");
            assert!(taken.starts_with("250 "), "{taken}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_message_gets_421_at_the_end_of_the_drain() {
    let mut world = start();
    world.write().await.expect("the greeting");
    world
        .send(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\nhal")
        .await;
    world.write().await.expect("replies");
    world.shared.stopping.cancel();
    let silence = timeout(Duration::from_mins(1), world.write()).await;
    assert!(silence.is_err(), "{silence:?}");
    world.shared.ending.cancel();
    let told = world.write().await.expect("a reply");
    assert!(told.starts_with("421 4.3.2 "), "{told}");
    assert_eq!(world.write().await, None);
    world.session.await.expect("a clean end");
    assert_eq!(world.shared.store.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_holds_no_buffer() {
    let mut world = start();
    world.write().await.expect("the greeting");
    world.send(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\n").await;
    world.write().await.expect("replies");
    world.send(b"RCPT").await;
    // Under this clock the sleep ends only when the session waits for the rest.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(&world.shared.buffers.take()[..4], b"RCPT");
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_within_a_message_leaves_nothing() {
    let mut world = start();
    world
        .send(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\nSubject: t\r\n\r\nhal")
        .await;
    drop(world.client);
    world.session.await.expect("a clean end");
    assert_eq!(world.shared.store.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_signed_is_not_accepted() {
    let key = GeneratedKey::generate(Algorithm::Ed25519).expect("a key");
    let entry = SigningEntry {
        domain: "b.test".parse().expect("a domain"),
        selector: "s".parse().expect("a selector"),
        key: PrivateKey::from_pem(key.pem().as_bytes()).expect("a key"),
        subdomains: false,
        headers: HeaderList::default(),
        body: Canonicalization::Relaxed,
        expire: None,
    };
    let config = ServerConfig {
        signer: Arc::new(Signer::new([entry]).expect("a table")),
        ..config()
    };
    let mut world = session(shared(), Arc::new(config), FRIEND, Channel::Clear);
    world.shared.signing_pool.end();
    world.write().await.expect("the greeting");
    for (domain, reply, queued) in [("b.test", "451 4.3.0 ", 0), ("c.test", "250 ", 1)] {
        world
            .send(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\n")
            .await;
        world.write().await.expect("replies");
        let message = format!("From: a@{domain}\r\n\r\nhello\r\n.\r\n");
        world.send(message.as_bytes()).await;
        let told = world.write().await.expect("a reply");
        assert!(told.starts_with(reply), "{told}");
        assert_eq!(world.shared.store.count(), queued);
    }
}

#[test]
fn a_full_disk_gives_452_and_other_errors_give_451() {
    let full = StoreError::NoRoom { min_free: 1 };
    assert_eq!(store_reply(&full), replies::no_room());
    let closed = StoreError::Closed {
        reason: String::new(),
    };
    assert_eq!(store_reply(&closed), replies::store_failed());
}

#[test]
fn an_idle_connection_is_small() {
    let size = size_of::<Connection<MemoryStore, tokio::net::TcpStream>>();
    assert!(size <= 512, "{size} octets");
}
