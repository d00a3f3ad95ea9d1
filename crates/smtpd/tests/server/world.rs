//! A server on real sockets, with a queue of any kind, and its clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use relay_message::{Body, Message, QueueStore};
use relay_smtpd::{
    Address, AuthLimits, Limits, ListenerConfig, NoTemporaryRelay, RelayRules, Rewriting, Role,
    Server, ServerConfig,
};
use relay_testkit::DEADLINE;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Who may not relay.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// Who may.
pub(crate) const FRIEND: Ipv4Addr = Ipv4Addr::LOCALHOST;

const ROLES: [Role; 3] = [Role::Mx, Role::Submission, Role::Submissions];

/// A server that runs until it is told to stop, with a listener for each role.
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

/// With a proxy before every listener.
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

/// With these listeners.
pub(crate) fn start_on<S: QueueStore>(
    store: S,
    config: ServerConfig,
    listeners: &[ListenerConfig],
) -> World<S> {
    run(Server::bind(listeners).expect("free ports"), store, config)
}

/// This one.
pub(crate) fn run<S: QueueStore>(server: Server, store: S, config: ServerConfig) -> World<S> {
    let addresses = server.addresses().iter().filter_map(Address::tcp).collect();
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
    /// Where the listener for this role is.
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

    /// A client that has said EHLO.
    pub(crate) async fn greeted(&self, from: Ipv4Addr) -> Client {
        self.greeted_at(Role::Mx, from).await
    }

    /// A client in clear that has said EHLO.
    pub(crate) async fn greeted_at(&self, role: Role, from: Ipv4Addr) -> Client {
        let mut client = self.connect_to(role, from).await;
        client.greet().await;
        client
    }

    /// The message that was accepted last.
    pub(crate) fn last(&self) -> Message {
        let accepted = self.accepted.lock().expect("no panic");
        accepted.last().expect("a message").clone()
    }

    pub(crate) async fn stopped(self) {
        self.shutdown.cancel();
        soon(self.running).await.expect("a clean end");
    }
}

/// A client, over whatever carries it.
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

    /// A command, and how its reply must begin.
    pub(crate) async fn expect(&mut self, line: &str, start: &str) {
        let reply = self.command(line).await;
        assert!(reply.starts_with(start), "{line}: {reply}");
    }

    /// Hears the greeting and says EHLO; what is offered.
    pub(crate) async fn greet(&mut self) -> String {
        let greeting = self.reply().await;
        assert!(greeting.starts_with("220 relay.test"), "{greeting}");
        self.hello().await
    }

    /// Says EHLO; what is offered.
    pub(crate) async fn hello(&mut self) -> String {
        let offer = self.command("EHLO client.test").await;
        assert!(offer.starts_with("250-relay.test"), "{offer}");
        offer
    }

    /// MAIL, RCPT and DATA, up to the 354.
    pub(crate) async fn begin(&mut self, recipient: &str) {
        self.expect("MAIL FROM:<app@sender.test>", "250").await;
        self.expect(&format!("RCPT TO:<{recipient}>"), "250").await;
        self.expect("DATA", "354").await;
    }

    /// A whole message to somewhere else.
    pub(crate) async fn submit(&mut self, text: &str) {
        self.begin("user@dest.test").await;
        self.expect(&format!("{text}\r\n."), "250").await;
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
