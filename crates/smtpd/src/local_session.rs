//! Sessions without a listener: how the relay takes in mail from its maildrop.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use relay_message::QueueStore;
use tokio::sync::mpsc;

use crate::client::ClientId;
use crate::config::{Role, ServerConfig};
use crate::connection::{Client, Connection};
use crate::spawner::SessionSpawner;

/// Opens sessions for mail that users of this machine left in the maildrop. Each session has the same
/// rules as one over a Unix socket, but a higher limit for recipients.
#[derive(Debug, Clone)]
pub struct LocalSessions {
    requests: mpsc::UnboundedSender<LocalSession>,
}

/// A session that waits to be served.
#[derive(Debug)]
struct LocalSession {
    stream: UnixStream,
    uid: u32,
    recipients: usize,
}

/// The sessions that wait to be served.
#[derive(Debug)]
pub(crate) struct PendingLocalSessions(mpsc::UnboundedReceiver<LocalSession>);

impl LocalSessions {
    pub(crate) fn new() -> (Self, PendingLocalSessions) {
        let (requests, pending) = mpsc::unbounded_channel();
        (Self { requests }, PendingLocalSessions(pending))
    }

    /// Opens a session as the user `uid` and returns the client's end of it, a blocking stream. Its
    /// messages may have `recipients` recipients, or as many as the configuration allows if that is
    /// more. Once the server has ended, the stream closes without a greeting.
    pub fn open(&self, uid: u32, recipients: usize) -> io::Result<UnixStream> {
        let (client, stream) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        // If it is not received, dropping it closes the stream.
        let _ = self.requests.send(LocalSession {
            stream,
            uid,
            recipients,
        });
        Ok(client)
    }
}

/// Serves local sessions until the server shuts down.
pub(crate) async fn accept_local<S: QueueStore>(
    mut pending: PendingLocalSessions,
    spawner: Arc<SessionSpawner<S>>,
) {
    loop {
        let session = tokio::select! {
            () = spawner.stopping() => return,
            session = pending.0.recv() => session,
        };
        let Some(session) = session else { return };
        // Without a stream there is no session; the client sees that its end closes.
        let Ok(stream) = tokio::net::UnixStream::from_std(session.stream) else {
            continue;
        };
        let client = Client {
            id: ClientId::Uid(session.uid),
            address_known: true,
            role: Role::Submission,
        };
        let config = with_recipients(&spawner.config(), session.recipients);
        let shared = spawner.shared();
        spawner.spawn(Connection::new(shared, config, client, stream).run());
    }
}

fn with_recipients(config: &Arc<ServerConfig>, recipients: usize) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(config);
    let most = &mut config.limits.session.recipients;
    *most = recipients.max(*most);
    Arc::new(config)
}
