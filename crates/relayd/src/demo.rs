//! `relayd demo`: shows how a message passes through the relay, all on loopback.
//!
//! The demo runs a real relay with a temporary state directory, certificate and DKIM key. Its only
//! smarthost is a receiving server in the same process. This server takes the place of the internet
//! and shows what it receives.

mod internet;
mod setup;
mod submission;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use relay_message::StoreError;
use relay_smtpd::ListenerAddress;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use self::internet::Internet;
pub use self::internet::InternetError;
use self::setup::{PASSWORD, USER};
use crate::config::Config;
use crate::daemon::{Daemon, StartError};
use crate::log::{Level, Log, LogFormat};

/// How long the demo's own message may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A signal, a directory, the log, a connection or standard output has failed.
    #[error("demo: {0}")]
    Io(#[from] io::Error),
    /// The receiving server cannot be started.
    #[error(transparent)]
    Internet(#[from] InternetError),
    /// The relay's files cannot be created.
    #[error("demo: {0}")]
    Setup(Box<dyn Error + Send + Sync>),
    /// The relay does not start.
    #[error("demo: {0}")]
    Start(#[from] StartError),
    /// The relay has no listeners.
    #[error("demo: nothing to listen on")]
    NoListener,
    /// The message of the demo did not arrive.
    #[error("demo: nothing arrived in time")]
    Late,
    /// The queue cannot be closed.
    #[error("demo: {0}")]
    Stop(#[from] StoreError),
}

/// Runs until Ctrl-C or SIGTERM.
pub async fn run() -> Result<(), DemoError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let log = Log::start(LogFormat::Text, Level::Error, io::stderr())?;
    let dir = tempfile::Builder::new().prefix("relayd-demo-").tempdir()?;
    let mut internet = Internet::bind()?;
    let config = setup::prepare(dir.path(), internet.address()).map_err(DemoError::Setup)?;
    let file = Some(setup::file(dir.path()));
    let daemon = Daemon::start(config.clone(), file, Arc::new(log)).await?;
    let shown = tokio::select! {
        shown = show(&config, &daemon, &mut internet) => shown,
        stopped = stopped(&mut terminate) => stopped.map_err(DemoError::from),
    };
    let closed = daemon.stop().await;
    shown.and(closed.map_err(DemoError::from))
}

async fn stopped(terminate: &mut Signal) -> io::Result<()> {
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    say("\nThe demo ends and removes its queue.")
}

/// Shows the path of one message, then every other message that arrives.
async fn show(config: &Config, daemon: &Daemon, internet: &mut Internet) -> Result<(), DemoError> {
    let [(ListenerAddress::Tcp(relay), _), (submission, _), ..] = daemon.listeners() else {
        return Err(DemoError::NoListener);
    };
    say(format_args!(
        "relayd {} on loopback; nothing leaves this machine.\n\
         \x20  the relay listens on          {relay}\n\
         \x20  and for logins over TLS on    {submission}\n\
         \x20  its queue is in               {}\n\
         \x20  its control socket is         {}\n\
         \x20  it sends all mail to          {}\n",
        env!("CARGO_PKG_VERSION"),
        config.state_dir.display(),
        config.control.display(),
        internet.address(),
    ))?;
    say("1. A client sends a message. When the relay answers 250, a power cut cannot lose it.\n")?;
    say(submission::send(*relay).await?)?;
    let (messages, fresh) = daemon.counts();
    say(format_args!(
        "2. The message is now in the queue. relayctl qstat shows:\n\n\
         \x20  messages in queue: {messages}\n\
         \x20  messages in queue but not yet preprocessed: {fresh}\n"
    ))?;
    internet.open(config)?;
    let arrival = timeout(PATIENCE, internet.arrival()).await;
    let arrival = arrival.map_err(|_| DemoError::Late)??;
    say(
        "3. The relay has signed the message and delivers it over TLS, after it has verified the\n\
         \x20  certificate. The other side receives:\n",
    )?;
    say(arrival)?;
    say(format_args!(
        "Now send your own message with any client, and look at the queue:\n\n\
         \x20  swaks --server {relay} --to you@example.net\n\
         \x20  swaks --server {submission} --tls --auth-user {USER} --auth-password {PASSWORD} --to you@example.net\n\
         \x20  relayctl --socket {} qstat\n\n\
         Messages that arrive are shown here. Ctrl-C ends the demo.\n",
        config.control.display()
    ))?;
    loop {
        let arrival = internet.arrival().await?;
        say(format_args!("A message arrives:\n\n{arrival}"))?;
    }
}

fn say(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
