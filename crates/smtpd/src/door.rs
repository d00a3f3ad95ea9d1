//! A way in that is no listener.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use relay_queue::QueueStore;
use tokio::sync::mpsc;

use crate::client::Peer;
use crate::config::{Config, Role};
use crate::connection::{Connection, Visitor};
use crate::server::Starter;

/// Opens sessions for mail that users of this machine have left: each is what it would be had the
/// user come by a Unix socket, but for the number of recipients.
#[derive(Debug, Clone)]
pub struct Door {
    visits: mpsc::UnboundedSender<Visit>,
}

/// Somebody who comes by a [`Door`].
#[derive(Debug)]
struct Visit {
    stream: UnixStream,
    uid: u32,
    recipients: usize,
}

/// Where the visits arrive.
#[derive(Debug)]
pub(crate) struct Doorway(mpsc::UnboundedReceiver<Visit>);

impl Door {
    pub(crate) fn new() -> (Self, Doorway) {
        let (visits, doorway) = mpsc::unbounded_channel();
        (Self { visits }, Doorway(doorway))
    }

    /// A session as this user, whose messages may have so many recipients, if not more; the stream is
    /// a blocking one. Once the server has ended, so does the session before it begins.
    pub fn enter(&self, uid: u32, recipients: usize) -> io::Result<UnixStream> {
        let (client, stream) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        // A visit that nobody takes ends with its stream.
        let _ = self.visits.send(Visit {
            stream,
            uid,
            recipients,
        });
        Ok(client)
    }
}

impl Doorway {
    /// Lets visitors in until the server goes down.
    pub(crate) async fn open<S: QueueStore>(mut self, starter: Arc<Starter<S>>) {
        loop {
            let visit = tokio::select! {
                () = starter.stopping() => return,
                visit = self.0.recv() => visit,
            };
            let Some(visit) = visit else { return };
            // Without a stream there is no session, which is all that the visitor need know.
            let Ok(stream) = tokio::net::UnixStream::from_std(visit.stream) else {
                continue;
            };
            let visitor = Visitor {
                peer: Peer::Uid(visit.uid),
                is_named: true,
                role: Role::Submission,
            };
            let config = with_recipients(&starter.config(), visit.recipients);
            let shared = starter.shared();
            starter.spawn(Connection::new(shared, config, visitor, stream).run());
        }
    }
}

fn with_recipients(config: &Arc<Config>, recipients: usize) -> Arc<Config> {
    let mut config = Config::clone(config);
    let most = &mut config.limits.session.recipients;
    *most = recipients.max(*most);
    Arc::new(config)
}
