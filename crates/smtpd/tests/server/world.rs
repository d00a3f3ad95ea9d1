//! A server on real sockets, with a queue of any kind, and its clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use relay_message::{Body, Message, QueueStore};
use relay_smtpd::{
    AuthLimits, Limits, ListenerAddress, ListenerConfig, NoTemporaryRelay, RelayRules, Rewriting,
    Role, Server, ServerConfig,
};
use relay_testkit::DEADLINE;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A client that may not relay.
pub(crate) const EXTERNAL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// A client that may relay.
pub(crate) const FRIEND: Ipv4Addr = Ipv4Addr::LOCALHOST;

const ROLES: [Role; 3] = [Role::Mx, Role::Submission, Role::Submissions];

/// A server with a listener for each role, which runs until it is stopped.
pub(crate) struct World<S> {
    pub(crate) store: Arc<S>,
    addresses: Vec<SocketAddr>,
    pub(crate) accepted: Arc<Mutex<Vec<Message>>>,
    pub(crate) config: watch::Sender<Arc<ServerConfig>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

pub(crate) fn config() -> ServerConfig {
    ServerConfig {
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
        temporary_relay: Arc::new(NoTemporaryRelay),
        auth: AuthLimits::default(),
        rewriting: Rewriting::default(),
        signer: Arc::default(),
        inbound: None,
    }
}

pub(crate) fn start<S: QueueStore>(store: S, config: ServerConfig) -> World<S> {
    start_behind(store, config, None)
}

/// A server with a trusted proxy for every listener.
pub(crate) fn start_behind<S: QueueStore>(
    store: S,
    config: ServerConfig,
    proxy: Option<Ipv4Addr>,
) -> World<S> {
    let listeners = ROLES.map(|role| ListenerConfig {
        address: SocketAddr::from((FRIEND, 0)).into(),
        role,
        proxies: proxy
            .map(|proxy| std::net::IpAddr::from(proxy).into())
            .into_iter()
            .collect(),
    });
    start_on(store, config, &listeners)
}

/// A server with these listeners.
pub(crate) fn start_on<S: QueueStore>(
    store: S,
    config: ServerConfig,
    listeners: &[ListenerConfig],
) -> World<S> {
    run(Server::bind(listeners).expect("free ports"), store, config)
}

/// Runs this server.
pub(crate) fn run<S: QueueStore>(server: Server, store: S, config: ServerConfig) -> World<S> {
    let addresses = server
        .addresses()
        .iter()
        .filter_map(ListenerAddress::tcp)
        .collect();
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
        addresses,
        accepted,
        config,
        shutdown,
        running,
    }
}

impl<S: QueueStore> World<S> {
    /// The address of the listener for this role.
    pub(crate) fn address(&self, role: Role) -> SocketAddr {
        let place = ROLES.iter().position(|&other| other == role);
        self.addresses[place.expect("a listener for each role")]
    }

    pub(crate) async fn connect(&self, from: Ipv4Addr) -> Client {
        self.connect_to(Role::Mx, from).await
    }

    pub(crate) async fn connect_to(&self, role: Role, from: Ipv4Addr) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        let local = SocketAddr::from((from, 0));
        socket.bind(local).expect("a loopback address");
        let connecting = socket.connect(self.address(role));
        Client::over(soon(connecting).await.expect("a connection"))
    }

    /// A client that has sent EHLO.
    pub(crate) async fn greeted(&self, from: Ipv4Addr) -> Client {
        self.greeted_at(Role::Mx, from).await
    }

    /// A client in clear that has sent EHLO.
    pub(crate) async fn greeted_at(&self, role: Role, from: Ipv4Addr) -> Client {
        let mut client = self.connect_to(role, from).await;
        client.greet().await;
        client
    }

    /// Returns the last message that was accepted.
    pub(crate) fn last(&self) -> Message {
        let accepted = self.accepted.lock().expect("no panic");
        accepted.last().expect("a message").clone()
    }

    pub(crate) async fn stopped(self) {
        self.shutdown.cancel();
        soon(self.running).await.expect("a clean end");
    }
}

/// A client over any kind of connection.
pub(crate) struct Client<T = TcpStream>(pub(crate) BufReader<T>);

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    pub(crate) fn over(stream: T) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        let sent = async {
            self.0.get_mut().write_all(octets).await?;
            self.0.get_mut().flush().await
        };
        soon(sent).await.expect("a live connection");
    }

    /// Reads a complete reply. It is empty at the end of the connection.
    pub(crate) async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            // A reset also ends the connection.
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

    /// Sends a command and checks the beginning of its reply.
    pub(crate) async fn expect(&mut self, line: &str, start: &str) {
        let reply = self.command(line).await;
        assert!(reply.starts_with(start), "{line}: {reply}");
    }

    /// Reads the greeting and sends EHLO. Returns the offered extensions.
    pub(crate) async fn greet(&mut self) -> String {
        let greeting = self.reply().await;
        assert!(greeting.starts_with("220 relay.test"), "{greeting}");
        self.hello().await
    }

    /// Sends EHLO. Returns the offered extensions.
    pub(crate) async fn hello(&mut self) -> String {
        let offer = self.command("EHLO client.test").await;
        assert!(offer.starts_with("250-relay.test"), "{offer}");
        offer
    }

    /// Sends MAIL, RCPT and DATA, up to the 354.
    pub(crate) async fn begin(&mut self, recipient: &str) {
        self.expect("MAIL FROM:<app@sender.test>", "250").await;
        self.expect(&format!("RCPT TO:<{recipient}>"), "250").await;
        self.expect("DATA", "354").await;
    }

    /// Sends a whole message to another domain.
    pub(crate) async fn submit(&mut self, text: &str) {
        self.begin("user@dest.test").await;
        self.expect(&format!("{text}\r\n."), "250").await;
    }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

/// Returns the head and the body of a message in the store.
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
