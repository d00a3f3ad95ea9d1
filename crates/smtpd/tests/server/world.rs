//! A server on real sockets, with a queue of any kind, and its clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use relay_queue::{Body, Message, QueueStore};
use relay_smtpd::{AuthLimits, Config, Limits, ListenerConfig, NoGrants, RelayRules, Role, Server};
use relay_testkit::DEADLINE;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
pub(crate) const FRIEND: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A server that runs until it is told to stop.
pub(crate) struct World<S> {
    pub(crate) store: Arc<S>,
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<Mutex<Vec<Message>>>,
    pub(crate) config: watch::Sender<Arc<Config>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

pub(crate) fn config() -> Config {
    Config {
        hostname: "relay.test".into(),
        postmaster: "ann@relay.test".parse().expect("an address"),
        relay: RelayRules {
            networks: vec!["127.0.0.1/32".parse().expect("a network")],
            domains: vec!["local.test".parse().expect("a domain")],
            bad_senders: vec!["@bad.test".parse().expect("a sender")],
        },
        limits: Limits::default(),
        tls: None,
        users: None,
        grants: Arc::new(NoGrants),
        auth: AuthLimits::default(),
    }
}

pub(crate) fn start<S: QueueStore>(store: S, config: Config) -> World<S> {
    let any_port = ListenerConfig {
        address: SocketAddr::from((FRIEND, 0)),
        role: Role::Mx,
        proxies: Vec::new(),
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
    pub(crate) async fn connect(&self, from: Ipv4Addr) -> Client {
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
    pub(crate) async fn greeted(&self, from: Ipv4Addr) -> Client {
        let mut client = self.connect(from).await;
        assert!(client.reply().await.starts_with("220 relay.test"));
        assert!(client.command("EHLO client.test").await.starts_with("250"));
        client
    }

    pub(crate) async fn stopped(self) {
        self.shutdown.cancel();
        soon(self.running).await.expect("a clean end");
    }
}

pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    pub(crate) async fn send(&mut self, octets: &[u8]) {
        soon(self.0.get_mut().write_all(octets))
            .await
            .expect("a live connection");
    }

    /// A whole reply; empty at the end of the connection.
    pub(crate) async fn reply(&mut self) -> String {
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

    pub(crate) async fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// MAIL, RCPT and DATA, up to the 354.
    pub(crate) async fn begin(&mut self, recipient: &str) {
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

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

/// Head and body of a message in the store.
pub(crate) async fn content<S: QueueStore>(store: &S, message: &Message) -> (String, Vec<u8>) {
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
