//! A receiving server that does as it is told, and remembers what it was sent.

mod auth;
mod session;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::rustls::ServerConfig;

use self::auth::User;
use self::session::Session;
use crate::{Certificate, DEADLINE};

/// What the server does at a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Says this; lines are parted by `\n`, their ends are added.
    Say(String),
    /// Says exactly these octets.
    Raw(Vec<u8>),
    /// Says this, then hangs up.
    SayAndDrop(String),
    /// Hangs up without a word.
    Drop,
    /// Never answers, and keeps the connection.
    Silence,
    /// Says these octets one by one, over and over, with this pause before each.
    Drip(Vec<u8>, Duration),
}

impl From<&str> for Step {
    fn from(reply: &str) -> Self {
        Self::Say(reply.to_owned())
    }
}

/// One message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The argument of MAIL FROM: `<a@b.test> SIZE=3`.
    pub mail: String,
    /// The arguments of the RCPT TO that were accepted.
    pub recipients: Vec<String>,
    /// The message without dot-stuffing and final dot.
    pub data: Vec<u8>,
    /// The same as it went over the wire, without the final dot.
    pub raw: Vec<u8>,
    /// Which connection it came over, counted from 1.
    pub connection: usize,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The name that the client asked for in its handshake (SNI).
    pub server_name: Option<String>,
    /// The mechanism by which the client had logged in.
    pub mechanism: Option<String>,
}

/// The server; it stops, and hangs up on everyone, when dropped.
///
/// Stages: `connect`, `ehlo`, `helo`, `starttls`, `handshake`, `auth`, `mail`, `rcpt`,
/// `rcpt user@dest.test`, `rcpt gone-` (an address that begins so, up to its first dash), `data`, `dot`, `rset`, `quit`. A stage that was told nothing answers as a
/// good server does.
#[derive(Debug)]
pub struct FakeMx {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct World {
    replies: HashMap<String, Vec<Step>>,
    delays: HashMap<String, Duration>,
    extensions: Vec<String>,
    tls: Option<TlsMode>,
    user: Option<User>,
    messages: Vec<Received>,
    commands: Vec<String>,
    connections: usize,
    open: usize,
}

/// How the server does TLS.
#[derive(Debug, Clone)]
struct TlsMode {
    config: Arc<ServerConfig>,
    /// From the first octet, without STARTTLS.
    is_implicit: bool,
}

impl FakeMx {
    /// On a free port of 127.0.0.1, with PIPELINING, 8BITMIME and SIZE.
    pub async fn start() -> Self {
        let [mx] = Self::start_on([Ipv4Addr::LOCALHOST.into()]).await;
        mx
    }

    /// One server per address, all on the same free port.
    pub async fn start_on<const N: usize>(addresses: [IpAddr; N]) -> [Self; N] {
        loop {
            let mut port = 0;
            let mut listeners = Vec::new();
            for ip in addresses {
                let Ok(listener) = TcpListener::bind((ip, port)).await else {
                    break;
                };
                port = listener.local_addr().expect("a bound address").port();
                listeners.push(listener);
            }
            if let Ok(listeners) = <[TcpListener; N]>::try_from(listeners) {
                return listeners.map(Self::serve);
            }
        }
    }

    fn serve(listener: TcpListener) -> Self {
        let world = World {
            replies: HashMap::new(),
            delays: HashMap::new(),
            extensions: ["PIPELINING", "8BITMIME", "SIZE 50000000"]
                .map(String::from)
                .into(),
            tls: None,
            user: None,
            messages: Vec::new(),
            commands: Vec::new(),
            connections: 0,
            open: 0,
        };
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            changed: watch::Sender::new(()),
        });
        Self {
            address: listener.local_addr().expect("a bound address"),
            task: tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle(),
            shared,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `stage` does this.
    pub fn on(&self, stage: &str, step: impl Into<Step>) {
        self.on_each(stage, [step.into()]);
    }

    /// From now on `stage` does these in turn, and the last of them ever after.
    pub fn on_each<S: Into<Step>>(&self, stage: &str, steps: impl IntoIterator<Item = S>) {
        let steps = steps.into_iter().map(Into::into).collect();
        self.world().replies.insert(stage.to_owned(), steps);
    }

    /// Forgets everything it was told.
    pub fn behave(&self) {
        let mut world = self.world();
        world.replies.clear();
        world.delays.clear();
    }

    /// From now on `stage` waits this long before it does anything.
    pub fn delay(&self, stage: &str, delay: Duration) {
        self.world().delays.insert(stage.to_owned(), delay);
    }

    /// What EHLO offers from now on.
    pub fn offer(&self, extensions: &[&str]) {
        self.world().extensions = extensions.iter().map(ToString::to_string).collect();
    }

    /// From now on it offers STARTTLS, with this certificate.
    pub fn offer_tls(&self, certificate: &Certificate) {
        self.set_tls(certificate, false);
    }

    /// From now on connections begin with a handshake.
    pub fn begin_with_tls(&self, certificate: &Certificate) {
        self.set_tls(certificate, true);
    }

    fn set_tls(&self, certificate: &Certificate, is_implicit: bool) {
        self.world().tls = Some(TlsMode {
            config: certificate.server_config(),
            is_implicit,
        });
    }

    /// Who may log in from now on, by password or token; before, anybody may. What EHLO says of
    /// AUTH is set by [`FakeMx::offer`].
    pub fn login(&self, name: &str, secret: &str) {
        self.world().user = Some(User {
            name: name.to_owned(),
            secret: secret.to_owned(),
        });
    }

    /// The messages taken so far.
    pub fn messages(&self) -> Vec<Received> {
        self.world().messages.clone()
    }

    /// The messages taken since this was asked last, and forgets them, with the commands.
    pub fn take_messages(&self) -> Vec<Received> {
        let mut world = self.world();
        world.commands.clear();
        std::mem::take(&mut world.messages)
    }

    /// Every command so far, over all connections.
    pub fn commands(&self) -> Vec<String> {
        self.world().commands.clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.world().connections
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.world().open
    }

    /// The messages, once there are at least `count`.
    pub async fn wait_for_messages(&self, count: usize) -> Vec<Received> {
        self.wait(&format!("{count} messages"), |mx| {
            mx.messages().len() >= count
        })
        .await;
        self.messages()
    }

    /// Returns once a command begins with `start`.
    pub async fn wait_for_command(&self, start: &str) {
        self.wait(start, |mx| {
            mx.world().commands.iter().any(|c| c.starts_with(start))
        })
        .await;
    }

    /// Returns once `condition` holds; asked again whenever something happens here.
    pub async fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let held = async {
            while !condition(self) {
                changed.changed().await.expect("the sender lives in self");
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, held).await.is_ok();
        assert!(
            in_time,
            "no {what} in {DEADLINE:?}; so far: {:?}",
            self.world()
        );
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }
}

impl Drop for FakeMx {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let value = change(&mut self.world());
        self.changed.send_replace(());
        value
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.change(|world| {
            world.connections += 1;
            world.open += 1;
            world.connections
        });
        let shared = Arc::clone(&shared);
        // A peer that is gone already shows when it is read.
        let _ = stream.set_nodelay(true);
        sessions.spawn(async move {
            let mut session = Session::new(stream, number, Arc::clone(&shared));
            // A session ends with an error when the peer, or the script, hangs up.
            let _ = session.run().await;
            drop(session);
            shared.change(|world| world.open -= 1);
        });
        while sessions.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn exchange(mx: &FakeMx, sent: &[u8]) -> String {
        let mut stream = TcpStream::connect(mx.address()).await.expect("connected");
        stream.write_all(sent).await.expect("sent");
        let mut got = Vec::new();
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut got))
            .await
            .expect("closed in time")
            .expect("read");
        String::from_utf8(got).expect("text")
    }

    #[tokio::test]
    async fn takes_a_message_and_remembers_it() {
        let mx = FakeMx::start().await;
        mx.on("rcpt no@d.test", "550 5.1.1 no");
        let sent =
            b"EHLO x\r\nMAIL FROM:<a@s.test>\r\nRCPT TO:<no@d.test>\r\nRCPT TO:<u@d.test>\r\n\
            DATA\r\n..dot\r\nbody\r\n.\r\nQUIT\r\n";
        let said = exchange(&mx, sent).await;
        let codes: Vec<_> = said.lines().map(|l| &l[..3]).collect();
        assert_eq!(
            codes,
            [
                "220", "250", "250", "250", "250", "250", "550", "250", "354", "250", "221"
            ]
        );
        let messages = mx.wait_for_messages(1).await;
        assert_eq!(messages[0].mail, "<a@s.test>");
        assert_eq!(messages[0].recipients, ["<u@d.test>"]);
        assert_eq!(messages[0].data, b".dot\r\nbody\r\n");
        assert_eq!((mx.connections(), mx.commands().len()), (1, 6));
    }

    #[tokio::test]
    async fn steps_are_taken_in_turn() {
        let mx = FakeMx::start().await;
        mx.on_each("connect", ["421 busy", "220 fine"].map(Step::from));
        mx.on("ehlo", Step::Drop);
        assert!(exchange(&mx, b"QUIT\r\n").await.starts_with("421 busy"));
        assert_eq!(exchange(&mx, b"EHLO x\r\n").await, "220 fine\r\n");
        mx.wait("two closed connections", |mx| mx.open_connections() == 0)
            .await;
    }
}
