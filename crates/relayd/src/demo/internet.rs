//! A receiving server that takes the place of the internet, and the messages that it receives.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use relay_message::{
    Body, Message, QueueId, QueueStore, RecipientChange, RecipientState, Settlement, StoreError,
};
use relay_queue::MemoryStore;
use relay_smtpd::{BindError, ListenerAddress, ListenerConfig, Role, Server};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};

/// How many lines of a message are shown.
const SHOWN_LINES: usize = 40;
/// How many octets of a message are read for these lines.
const SHOWN_OCTETS: usize = 8192;

/// Why the receiving server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum InternetError {
    /// Its socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It has no address.
    #[error("no address to listen on")]
    NoAddress,
    /// The relay's certificate cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The receiving server.
#[derive(Debug)]
pub(super) struct Internet {
    store: Arc<MemoryStore>,
    address: SocketAddr,
    /// The bound server, until `open` starts it.
    server: Option<Server>,
    accepted: mpsc::UnboundedSender<QueueId>,
    arrivals: mpsc::UnboundedReceiver<QueueId>,
}

impl Internet {
    /// Opens the socket. The server does not answer before [`Internet::open`].
    pub(super) fn bind() -> Result<Self, InternetError> {
        let server = Server::bind(&[ListenerConfig {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(),
            role: Role::Mx,
            proxies: Vec::new(),
        }])?;
        let address = server.addresses().first().and_then(ListenerAddress::tcp);
        let (accepted, arrivals) = mpsc::unbounded_channel();
        Ok(Self {
            store: Arc::default(),
            address: address.ok_or(InternetError::NoAddress)?,
            server: Some(server),
            accepted,
            arrivals,
        })
    }

    /// Returns the address of the server.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer, with the relay's own certificate.
    pub(super) fn open(&mut self, relay: &Config) -> Result<(), InternetError> {
        let text = "hostname = \"mx.example.net\"\n";
        let config = Config::parse(Path::new("the internet's configuration"), text)?;
        let Some(server) = self.server.take() else {
            return Ok(());
        };
        let (store, accepted) = (Arc::clone(&self.store), self.accepted.clone());
        let tls = relay.tls.load()?;
        let (keep, smtpd) = watch::channel(Arc::new(relay_smtpd::ServerConfig {
            tls: tls.map(Arc::new),
            ..config.smtpd()
        }));
        tokio::spawn(async move {
            // The receiver of these messages lives as long as this server.
            let accept = Arc::new(move |message: Message| {
                let _ = accepted.send(message.id);
            });
            server
                .run(store, smtpd, accept, CancellationToken::new())
                .await;
            drop(keep);
        });
        Ok(())
    }

    /// Waits for the next message.
    pub(super) async fn arrival(&mut self) -> io::Result<Arrival> {
        loop {
            let id = self.arrivals.recv().await;
            let id = id.ok_or_else(|| io::Error::other("the server has ended"))?;
            if let Some(arrival) = self.take(id).await.map_err(io::Error::other)? {
                return Ok(arrival);
            }
        }
    }

    async fn take(&self, id: QueueId) -> Result<Option<Arrival>, StoreError> {
        let Some((claim, message)) = self.store.claim(id).await? else {
            return Ok(None);
        };
        let content = self.store.open(claim).await?;
        let done = |index| RecipientChange {
            index,
            state: RecipientState::Done,
            attempt: None,
        };
        let recipients = (0..message.recipients.len()).map(done).collect();
        let settlement = Settlement {
            recipients,
            ..Settlement::default()
        };
        self.store.settle(claim, settlement).await?;
        let body = match content.body {
            Body::Inline(bytes) => bytes,
            // A store in memory has no files.
            Body::File { .. } => Bytes::new(),
        };
        Ok(Some(Arrival {
            message,
            head: content.head,
            body,
        }))
    }
}

/// A message that the server has received.
#[derive(Debug)]
pub(super) struct Arrival {
    message: Message,
    head: Bytes,
    body: Bytes,
}

/// Prints the envelope and the first lines. Control characters are escaped to protect the terminal.
impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "   from {}", self.message.sender)?;
        for recipient in &self.message.recipients {
            writeln!(f, "   to   {}", recipient.to.path)?;
        }
        writeln!(f, "   |")?;
        let first = self.body.len().min(SHOWN_OCTETS);
        let content = [&self.head[..], &self.body[..first]].concat();
        let content = String::from_utf8_lossy(&content);
        let harmless = |c: char| if c.is_control() && c != '\t' { '.' } else { c };
        for line in content.lines().take(SHOWN_LINES) {
            writeln!(f, "   | {}", line.chars().map(harmless).collect::<String>())?;
        }
        let is_cut = first < self.body.len() || content.lines().nth(SHOWN_LINES).is_some();
        if is_cut {
            writeln!(f, "   | ... ({} octets in all)", self.message.size)?;
        }
        Ok(())
    }
}
