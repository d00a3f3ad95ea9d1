//! The server on real sockets, with a queue in memory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use relay_queue::{Body, FaultyStore, MemoryStore, Message, QueueStore, SledStore, StoreConfig};
use relay_smtp::server;
use relay_smtpd::{BindError, Config, Limits, ListenerConfig, RelayRules, Role, Server};
use relay_testkit::DEADLINE;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const FRIEND: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A server that runs until it is told to stop.
struct World<S> {
    store: Arc<S>,
    address: SocketAddr,
    accepted: Arc<Mutex<Vec<Message>>>,
    config: watch::Sender<Arc<Config>>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

fn config() -> Config {
    Config {
        hostname: "relay.test".into(),
        postmaster: "ann@relay.test".parse().expect("an address"),
        relay: RelayRules {
            networks: vec!["127.0.0.1/32".parse().expect("a network")],
            domains: vec!["local.test".parse().expect("a domain")],
            bad_senders: vec!["@bad.test".parse().expect("a sender")],
        },
        limits: Limits::default(),
    }
}

fn start<S: QueueStore>(store: S, config: Config) -> World<S> {
    let any_port = ListenerConfig {
        address: SocketAddr::from((FRIEND, 0)),
        role: Role::Mx,
    };
    let server = Server::bind(&[any_port]).expect("a free port");
    let address = server.addresses()[0];
    let store = Arc::new(store);
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let (config, receiver) = watch::channel(Arc::new(config));
    let shutdown = CancellationToken::new();
    let sink = Arc::clone(&accepted);
    let running = tokio::spawn(server.run(
        Arc::clone(&store),
        receiver,
        Arc::new(move |message| sink.lock().expect("no panic").push(message)),
        shutdown.clone(),
    ));
    World {
        store,
        address,
        accepted,
        config,
        shutdown,
        running,
    }
}

impl<S: QueueStore> World<S> {
    async fn connect(&self, from: Ipv4Addr) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind(SocketAddr::from((from, 0)))
            .expect("a loopback address");
        let stream = soon(socket.connect(self.address))
            .await
            .expect("a connection");
        Client(BufReader::new(stream))
    }

    /// A client that has said EHLO.
    async fn greeted(&self, from: Ipv4Addr) -> Client {
        let mut client = self.connect(from).await;
        assert!(client.reply().await.starts_with("220 relay.test"));
        assert!(client.command("EHLO client.test").await.starts_with("250"));
        client
    }

    async fn stopped(self) {
        self.shutdown.cancel();
        soon(self.running).await.expect("a clean end");
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn send(&mut self, octets: &[u8]) {
        soon(self.0.get_mut().write_all(octets))
            .await
            .expect("a live connection");
    }

    /// A whole reply; empty at the end of the connection.
    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            // A reset is an end, too.
            let read = soon(self.0.read_line(&mut line)).await.unwrap_or(0);
            reply.push_str(&line);
            if read == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    async fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// MAIL, RCPT and DATA, up to the 354.
    async fn begin(&mut self, recipient: &str) {
        for (line, code) in [
            ("MAIL FROM:<app@sender.test>", "250"),
            (&format!("RCPT TO:<{recipient}>"), "250"),
            ("DATA", "354"),
        ] {
            let reply = self.command(line).await;
            assert!(reply.starts_with(code), "{line}: {reply}");
        }
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

/// Head and body of a message in the store.
async fn content<S: QueueStore>(store: &S, message: &Message) -> (String, Vec<u8>) {
    let (claim, _) = store
        .claim(message.id)
        .await
        .expect("a store")
        .expect("a message");
    let content = store.open(claim).await.expect("its content");
    store.release(claim);
    let Body::Inline(body) = content.body else {
        panic!("the memory store keeps bodies in memory");
    };
    let head = String::from_utf8(content.head.into()).expect("a header in UTF-8");
    (head, body.into())
}

#[tokio::test]
async fn an_accepted_message_is_in_the_queue_as_it_was_sent() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(FRIEND).await;
    client.begin("user@dest.test").await;
    let reply = client.command("Subject: t\r\n\r\n..hello\r\n.").await;

    let message = world.accepted.lock().expect("no panic")[0].clone();
    assert_eq!(reply, format!("250 2.0.0 ok queued as {}\r\n", message.id));
    assert_eq!(message.sender.as_str(), "app@sender.test");
    let (head, body) = content(&*world.store, &message).await;
    assert_eq!(body, b"Subject: t\r\n\r\n.hello\r\n");
    for part in [
        "client.test",
        "[127.0.0.1]",
        "relay.test",
        "ESMTP",
        &message.id.to_string(),
    ] {
        assert!(head.contains(part), "{part} in {head}");
    }
    assert!(head.starts_with("Received: ") && head.ends_with("+0000\r\n"));
    world.stopped().await;
}

#[tokio::test]
async fn a_first_line_that_is_no_field_never_joins_our_trace_header() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(FRIEND).await;
    for (first, own_header) in [
        (" forged-folding by=evil", false),
        ("hello world", false),
        ("Subject: t", true),
    ] {
        client.begin("user@dest.test").await;
        let reply = client.command(&format!("{first}\r\n.")).await;
        assert!(reply.starts_with("250"), "{reply}");
        let message = world.accepted.lock().expect("no panic").pop();
        let (head, body) = content(&*world.store, &message.expect("a message")).await;
        assert_eq!(body, format!("{first}\r\n").as_bytes());
        let end = if own_header {
            "+0000\r\n"
        } else {
            "+0000\r\n\r\n"
        };
        assert!(head.ends_with(end), "{first}: {head:?}");
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_large_message_passes_unchanged() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(FRIEND).await;
    client.begin("user@dest.test").await;
    let body = [
        &b"Subject: t\r\n\r\n"[..],
        &b"0123456789abcdef\r\n".repeat(200_000),
    ]
    .concat();
    client.send(&body).await;
    assert!(client.command(".").await.starts_with("250"));
    let message = world.accepted.lock().expect("no panic")[0].clone();
    assert!(content(&*world.store, &message).await.1 == body);
    world.stopped().await;
}

#[tokio::test]
async fn a_pipelined_session_is_answered_in_order() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.connect(FRIEND).await;
    client
        .send(
            b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@dest.test>\r\nDATA\r\n\
              Subject: t\r\n\r\nhello\r\n.\r\nNOOP\r\nQUIT\r\n",
        )
        .await;
    for code in ["220", "250", "250", "250", "354", "250", "250", "221"] {
        assert!(client.reply().await.starts_with(code), "{code}");
    }
    assert_eq!(client.reply().await, "");
    assert_eq!(world.store.count(), 1);
    world.stopped().await;
}

#[tokio::test]
async fn a_stranger_reaches_our_domains_and_the_postmaster_only() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.greeted(STRANGER).await;
    let refused = "553 5.7.1 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)\r\n";
    assert!(
        client
            .command("MAIL FROM:<x@bad.test>")
            .await
            .starts_with("553 5.7.1")
    );
    assert!(
        client
            .command("MAIL FROM:<x@evil.test>")
            .await
            .starts_with("250")
    );
    assert_eq!(client.command("RCPT TO:<user@dest.test>").await, refused);
    assert_eq!(client.command("RCPT TO:<user@[127.0.0.1]>").await, refused);
    assert_eq!(
        client.command("RCPT TO:<@local.test:user@dest.test>").await,
        refused
    );
    assert_eq!(
        client.command("RCPT TO:<postmaster@other.test>").await,
        refused
    );
    for ours in [
        "user@LOCAL.test",
        "user%dest.test@local.test",
        "Postmaster",
        "postmaster@relay.test",
    ] {
        let reply = client.command(&format!("RCPT TO:<{ours}>")).await;
        assert!(reply.starts_with("250"), "{ours}: {reply}");
    }
    assert!(client.command("DATA").await.starts_with("354"));
    assert!(client.command(".").await.starts_with("250"));
    let message = world.accepted.lock().expect("no panic")[0].clone();
    let to: Vec<_> = message
        .recipients
        .iter()
        .map(|r| r.address.as_str())
        .collect();
    assert_eq!(
        to,
        [
            "user@LOCAL.test",
            "user%dest.test@local.test",
            "ann@relay.test",
            "ann@relay.test"
        ]
    );
    world.stopped().await;
}

#[tokio::test]
async fn new_rules_hold_for_new_sessions() {
    let world = start(MemoryStore::new(), config());
    let mut old = world.greeted(STRANGER).await;
    let mut open = config();
    open.relay
        .networks
        .push("127.0.0.9/32".parse().expect("a network"));
    world.config.send(Arc::new(open)).expect("a running server");
    let mut new = world.greeted(STRANGER).await;
    for (client, code) in [(&mut old, "553"), (&mut new, "250")] {
        client.command("MAIL FROM:<a@b.test>").await;
        assert!(
            client
                .command("RCPT TO:<u@dest.test>")
                .await
                .starts_with(code),
            "{code}"
        );
    }
    world.stopped().await;
}

#[tokio::test]
async fn a_store_that_fails_is_451_and_nothing_stays() {
    let world = start(FaultyStore::new(MemoryStore::new()), config());
    let mut client = world.greeted(FRIEND).await;
    // Large enough that its content is passed on in several writes before its end.
    let body = "0123456789abcdef\r\n".repeat(20_000);
    let mut failures = 0;
    for n in 0.. {
        world.store.fail_after(n);
        client.command("MAIL FROM:<a@b.test>").await;
        client.command("RCPT TO:<u@dest.test>").await;
        let data = client.command("DATA").await;
        let reply = if data.starts_with("354") {
            client.command(&format!("Subject: t\r\n\r\n{body}.")).await
        } else {
            data
        };
        assert!(
            client.command("RSET").await.starts_with("250"),
            "the session lives"
        );
        if world.store.is_armed() {
            assert!(reply.starts_with("250 2.0.0 ok queued as "), "{reply}");
            break;
        }
        failures += 1;
        assert_eq!(reply, "451 4.3.0 qqt failure (#4.3.0)\r\n");
        assert_eq!(
            (
                world.store.count(),
                world.accepted.lock().expect("no panic").len()
            ),
            (0, 0)
        );
    }
    assert!(failures >= 4, "begin, two writes and commit have failed");
    world.store.fail_after(u64::MAX);
    assert_eq!(world.store.count(), 1);
    world.stopped().await;
}

#[tokio::test]
async fn a_refused_message_gives_its_disk_back_before_its_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(&StoreConfig {
        state_dir: directory.path().to_owned(),
        min_free: 0,
        inline_body: 4096,
    });
    let mut small = config();
    small.limits.session.message_size = 200_000;
    let world = start(store.expect("a store"), small);
    let mut client = world.greeted(FRIEND).await;
    client.begin("user@dest.test").await;
    let mess = directory.path().join("mess");
    for (files, body) in [(1, 6_000), (0, 12_000)] {
        client.send(&b"0123456789abcdef\r\n".repeat(body)).await;
        let written = async {
            while std::fs::read_dir(&mess).expect("the spool").count() != files {
                tokio::task::yield_now().await;
            }
        };
        soon(written).await;
    }
    assert!(client.command(".").await.starts_with("552 5.3.4"));
    world.stopped().await;
}

#[tokio::test]
async fn sessions_are_limited_per_client_and_in_all() {
    let mut few = config();
    few.limits.connections = 3;
    few.limits.connections_per_client = 2;
    let world = start(MemoryStore::new(), few);
    let first = world.greeted(FRIEND).await;
    let _second = world.greeted(FRIEND).await;
    let refused = world.connect(FRIEND).await.reply().await;
    assert!(
        refused.starts_with("421 4.7.0 sorry, too many connections from"),
        "{refused}"
    );
    let _third = world.greeted(STRANGER).await;
    let refused = world.connect(STRANGER).await.reply().await;
    assert!(
        refused.starts_with("421 4.7.0 sorry, too many connections are"),
        "{refused}"
    );
    drop(first);
    // The server learns of the close in its own time.
    let greeted = async {
        while !world.connect(FRIEND).await.reply().await.starts_with("220") {
            tokio::task::yield_now().await;
        }
    };
    soon(greeted).await;
    world.stopped().await;
}

#[tokio::test]
async fn shutdown_ends_idle_sessions_and_waits_for_a_message() {
    let world = start(MemoryStore::new(), config());
    let mut idle = world.greeted(FRIEND).await;
    let mut busy = world.greeted(FRIEND).await;
    busy.begin("user@dest.test").await;
    busy.send(b"Subject: t\r\n\r\nhal").await;

    world.shutdown.cancel();
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    assert_eq!(idle.reply().await, "");
    assert!(!world.running.is_finished());
    assert!(busy.command("f\r\n.").await.starts_with("250"));
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    soon(world.running).await.expect("a clean end");
    assert_eq!(world.store.count(), 1);
    assert!(
        TcpStream::connect(world.address).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn what_is_sent_behind_quit_does_not_cost_the_client_its_reply() {
    let world = start(MemoryStore::new(), config());
    let mut client = world.connect(FRIEND).await;
    client
        .send(&[&b"QUIT\r\n"[..], &b"NOOP\r\n".repeat(20_000)].concat())
        .await;
    assert!(client.reply().await.starts_with("220"));
    assert!(client.reply().await.starts_with("221"));
    let end = soon(client.0.read_line(&mut String::new())).await;
    assert_eq!(end.expect("an end, no reset"), 0);
    drop(client);
    world.stopped().await;
}

#[tokio::test]
async fn a_client_that_floods_and_never_reads_is_let_go() {
    let mut patient = config();
    patient.limits.session = server::Limits {
        command_timeout: std::time::Duration::from_millis(200),
        ..server::Limits::default()
    };
    let world = start(MemoryStore::new(), patient);
    let mut client = world.connect(FRIEND).await;
    // It floods until the server has had enough of it.
    let flood = b"HELP\r\n".repeat(5_000);
    let flooded = async { while client.0.get_mut().write_all(&flood).await.is_ok() {} };
    soon(flooded).await;
    assert!(
        world
            .greeted(FRIEND)
            .await
            .command("NOOP")
            .await
            .starts_with("250")
    );
    world.stopped().await;
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_reason() {
    let any = |port| ListenerConfig {
        address: SocketAddr::from((FRIEND, port)),
        role: Role::Mx,
    };
    let first = Server::bind(&[any(0)]).expect("a free port");
    let taken = any(first.addresses()[0].port());
    let error = Server::bind(&[taken]).expect_err("the port is taken");
    let text = error.to_string();
    assert!(text.contains(&taken.address.to_string()), "{text}");
    assert!(
        text.contains("in use") && text.contains("[[listener]]"),
        "{text}"
    );
}

fn listener(address: &str, port: u16) -> ListenerConfig {
    let address: IpAddr = address.parse().expect("an address");
    ListenerConfig {
        address: SocketAddr::from((address, port)),
        role: Role::Mx,
    }
}

/// Two sockets on the port of one that has just been closed; again, if somebody was quicker.
fn bind_both(first: &str, second: &str) -> Result<Server, BindError> {
    let mut tried = (0..20).map(|_| {
        let free = Server::bind(&[listener("::", 0)]).expect("a free port");
        let port = free.addresses()[0].port();
        drop(free);
        Server::bind(&[listener(first, port), listener(second, port)])
    });
    let last = tried.next_back().expect("twenty");
    tried.find(Result::is_ok).unwrap_or(last)
}

#[tokio::test]
async fn both_wildcards_share_a_port() {
    let server = bind_both("::", "0.0.0.0").expect("one for each family");
    assert_eq!(server.addresses().len(), 2);
}

#[tokio::test]
async fn one_ipv4_address_never_turns_the_ipv6_wildcard_off_for_the_others() {
    for order in [("::", "127.0.0.1"), ("127.0.0.1", "::")] {
        let error = bind_both(order.0, order.1).expect_err("they overlap");
        assert!(error.to_string().contains("in use"), "{error}");
    }
}

#[tokio::test]
async fn the_ipv6_wildcard_takes_ipv4_as_well() {
    let wildcard = ListenerConfig {
        address: "[::]:0".parse().expect("an address"),
        role: Role::Mx,
    };
    let server = Server::bind(&[wildcard]).expect("a free port");
    let port = server.addresses()[0].port();
    let client = soon(TcpStream::connect((IpAddr::from(FRIEND), port))).await;
    assert!(client.is_ok());
}
