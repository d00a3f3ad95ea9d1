//! A receiving server that follows a script and records what it receives.

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

use self::auth::FakeUser;
use self::session::Session;
use crate::{Certificate, DEADLINE};

/// The action of the server at a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptStep {
    /// Sends these lines. They are separated by `\n`; the line ends are added.
    Say(String),
    /// Sends exactly these octets.
    Raw(Vec<u8>),
    /// Sends this and closes the connection.
    SayAndDrop(String),
    /// Closes the connection.
    Drop,
    /// Never answers, but keeps the connection open.
    Silence,
    /// Sends these octets one at a time, again and again, with this pause before each.
    Drip(Vec<u8>, Duration),
}

impl From<&str> for ScriptStep {
    fn from(reply: &str) -> Self {
        Self::Say(reply.to_owned())
    }
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The argument of MAIL FROM: `<a@b.test> SIZE=3`.
    pub mail: String,
    /// The arguments of the accepted RCPT TO commands.
    pub recipients: Vec<String>,
    /// The message without dot-stuffing and final dot.
    pub data: Vec<u8>,
    /// The message as sent over the wire, without the final dot.
    pub raw: Vec<u8>,
    /// The number of its connection, counted from 1.
    pub connection: usize,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The server name in the client's handshake (SNI).
    pub server_name: Option<String>,
    /// The mechanism of the client's login.
    pub mechanism: Option<String>,
}

/// The server. When dropped, it stops and closes all connections.
///
/// Stages: `connect`, `ehlo`, `helo`, `starttls`, `handshake`, `auth`, `mail`, `rcpt`, `rcpt
/// user@dest.test`, `rcpt gone-` (all addresses with this text up to their first dash), `data`,
/// `dot`, `rset`, `quit`. A stage without a step answers like a normal server.
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
    replies: HashMap<String, Vec<ScriptStep>>,
    delays: HashMap<String, Duration>,
    extensions: Vec<String>,
    tls: Option<TlsMode>,
    user: Option<FakeUser>,
    messages: Vec<ReceivedMail>,
    commands: Vec<String>,
    connections: usize,
    open: usize,
}

/// How the server uses TLS.
#[derive(Debug, Clone)]
struct TlsMode {
    config: Arc<ServerConfig>,
    /// TLS from the first octet, without STARTTLS.
    is_implicit: bool,
}

impl FakeMx {
    /// Starts on a free port of 127.0.0.1, with PIPELINING, 8BITMIME and SIZE.
    pub async fn start() -> Self {
        let [mx] = Self::start_on([Ipv4Addr::LOCALHOST.into()]).await;
        mx
    }

    /// Starts one server per address, all on the same free port.
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

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the action of `stage` from now on.
    pub fn on(&self, stage: &str, step: impl Into<ScriptStep>) {
        self.on_each(stage, [step.into()]);
    }

    /// Sets the successive actions of `stage`. The last one is repeated.
    pub fn on_each<S: Into<ScriptStep>>(&self, stage: &str, steps: impl IntoIterator<Item = S>) {
        let steps = steps.into_iter().map(Into::into).collect();
        self.world().replies.insert(stage.to_owned(), steps);
    }

    /// Removes all steps and delays.
    pub fn behave(&self) {
        let mut world = self.world();
        world.replies.clear();
        world.delays.clear();
    }

    /// Sets how long `stage` waits before it does anything.
    pub fn delay(&self, stage: &str, delay: Duration) {
        self.world().delays.insert(stage.to_owned(), delay);
    }

    /// Sets the extensions in the EHLO reply.
    pub fn offer(&self, extensions: &[&str]) {
        self.world().extensions = extensions.iter().map(ToString::to_string).collect();
    }

    /// Offers STARTTLS with this certificate from now on.
    pub fn offer_tls(&self, certificate: &Certificate) {
        self.set_tls(certificate, false);
    }

    /// Starts every connection with a handshake from now on.
    pub fn begin_with_tls(&self, certificate: &Certificate) {
        self.set_tls(certificate, true);
    }

    fn set_tls(&self, certificate: &Certificate, is_implicit: bool) {
        self.world().tls = Some(TlsMode {
            config: certificate.server_config(),
            is_implicit,
        });
    }

    /// Sets the only user who may log in, by password or token. Before, everyone may.
    /// [`FakeMx::offer`] sets the AUTH line of the EHLO reply.
    pub fn login(&self, name: &str, secret: &str) {
        self.world().user = Some(FakeUser {
            name: name.to_owned(),
            secret: secret.to_owned(),
        });
    }

    /// The messages received so far.
    pub fn messages(&self) -> Vec<ReceivedMail> {
        self.world().messages.clone()
    }

    /// The messages since the last call. Forgets them and the commands.
    pub fn take_messages(&self) -> Vec<ReceivedMail> {
        let mut world = self.world();
        world.commands.clear();
        std::mem::take(&mut world.messages)
    }

    /// All commands so far, over all connections.
    pub fn commands(&self) -> Vec<String> {
        self.world().commands.clone()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.world().connections
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        self.world().open
    }

    /// Waits until there are at least `count` messages, and returns them.
    pub async fn wait_for_messages(&self, count: usize) -> Vec<ReceivedMail> {
        self.wait(&format!("{count} messages"), |mx| {
            mx.messages().len() >= count
        })
        .await;
        self.messages()
    }

    /// Waits for a command that begins with `start`.
    pub async fn wait_for_command(&self, start: &str) {
        self.wait(start, |mx| {
            mx.world().commands.iter().any(|c| c.starts_with(start))
        })
        .await;
    }

    /// Waits until `condition` is true. It is checked whenever something happens at the server.
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
        // If the peer is gone, the next read fails.
        let _ = stream.set_nodelay(true);
        sessions.spawn(async move {
            let mut session = Session::new(stream, number, Arc::clone(&shared));
            // A session ends with an error when the peer or the script closes the connection.
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
    async fn the_server_accepts_a_message_and_records_it() {
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
    async fn steps_run_in_turn() {
        let mx = FakeMx::start().await;
        mx.on_each("connect", ["421 busy", "220 fine"].map(ScriptStep::from));
        mx.on("ehlo", ScriptStep::Drop);
        assert!(exchange(&mx, b"QUIT\r\n").await.starts_with("421 busy"));
        assert_eq!(exchange(&mx, b"EHLO x\r\n").await, "220 fine\r\n");
        mx.wait("two closed connections", |mx| mx.open_connections() == 0)
            .await;
    }
}
