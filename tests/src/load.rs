//! Clients that submit mail without a pause, whatever happens to the relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::{Client, Ledger, Relay};

/// Messages per connection.
const MESSAGES: usize = 20;
/// How long a client waits after a reply other than 250.
const PAUSE: Duration = Duration::from_millis(20);

/// Running clients. They stop when this is dropped.
#[derive(Debug)]
pub struct Load {
    clients: JoinSet<()>,
    aim: Arc<Aim>,
}

#[derive(Debug)]
struct Aim {
    port: AtomicU16,
    is_over: AtomicBool,
}

impl Load {
    /// Starts clients with large messages and clients with small ones.
    pub fn mixed(relay: &Relay, ledger: &Arc<Ledger>) -> Self {
        Self::start(relay, ledger, &[0, 1, 2, 3, 4, 5])
    }

    /// Starts clients with small messages only, for which the relay syncs only its database.
    pub fn small(relay: &Relay, ledger: &Arc<Ledger>) -> Self {
        Self::start(relay, ledger, &[1, 2, 3, 5, 6, 7])
    }

    fn start(relay: &Relay, ledger: &Arc<Ledger>, clients: &[u32]) -> Self {
        let aim = Arc::new(Aim {
            port: relay.port("mx").into(),
            is_over: false.into(),
        });
        let submit = |&client| submit(client, Arc::clone(&aim), Arc::clone(ledger));
        Self {
            clients: clients.iter().map(submit).collect(),
            aim,
        }
    }

    /// Points the clients to a relay that was started again.
    pub fn follow(&self, relay: &Relay) {
        self.aim.port.store(relay.port("mx"), Ordering::Relaxed);
    }

    /// Lets each client finish its message, and waits for all of them.
    pub async fn stop(mut self) {
        self.aim.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("clients do not panic");
        }
    }
}

async fn submit(client: u32, aim: Arc<Aim>, ledger: Arc<Ledger>) {
    while !aim.is_over.load(Ordering::Relaxed) {
        if let Err(reply) = submit_some(client, &aim, &ledger).await {
            ledger.refused(reply);
            sleep(PAUSE).await;
        }
    }
}

/// Returns the first reply other than 250 as the error. It is empty if the relay is gone.
async fn submit_some(client: u32, aim: &Aim, ledger: &Ledger) -> Result<(), String> {
    let port = aim.port.load(Ordering::Relaxed);
    let connected = Client::try_connect(port).await;
    let mut connection = connected.map_err(|_| String::new())?;
    let greeting = connection.reply().await;
    if !greeting.starts_with("220 ") {
        return Err(greeting);
    }
    connection.command("EHLO client.test").await;
    for _ in 0..MESSAGES {
        if aim.is_over.load(Ordering::Relaxed) {
            break;
        }
        let key = ledger.next_key(client);
        let recipients = key.recipients();
        let to: Vec<&str> = recipients.iter().map(String::as_str).collect();
        connection.send(&key.sender(), &to, &key.content()).await?;
        ledger.accepted(key);
    }
    Ok(())
}
