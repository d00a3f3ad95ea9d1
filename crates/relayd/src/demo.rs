//! `relayd demo`: shows how a message passes through the relay, all on loopback.
//!
//! The demo runs a real relay with a temporary state directory, certificate and DKIM key. Its only
//! smarthost is a receiving server in the same process. This server takes the place of the internet
//! and shows what it receives.

mod internet;
mod setup;
mod submission;

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use relay_smtpd::ListenerAddress;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use self::internet::Internet;
use self::setup::{PASSWORD, USER};
use crate::config::Config;
use crate::daemon::Daemon;
use crate::log::LogFormat;
use crate::log::{Level, Log};

/// How long the demo's own message may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until Ctrl-C or SIGTERM. The error is a line that says what is wrong.
pub async fn run() -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
    let log = Log::start(LogFormat::Text, Level::Error, io::stderr()).map_err(told)?;
    let dir = tempfile::Builder::new()
        .prefix("relayd-demo-")
        .tempdir()
        .map_err(told)?;
    let mut internet = Internet::bind()?;
    let config = setup::prepare(dir.path(), internet.address()).map_err(told)?;
    let file = Some(setup::file(dir.path()));
    let daemon = Daemon::start(config.clone(), file, Arc::new(log))
        .await
        .map_err(told)?;
    let shown = tokio::select! {
        shown = show(&config, &daemon, &mut internet) => shown,
        stopped = stopped(&mut terminate) => stopped,
    };
    let closed = daemon.stop().await.map_err(told);
    shown.and(closed)
}

fn told(reason: impl Display) -> String {
    format!("demo: {reason}")
}

async fn stopped(terminate: &mut Signal) -> Result<(), String> {
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(told)?,
        _ = terminate.recv() => {}
    }
    say("\nThe demo ends; its queue goes with it.")
}

/// Shows the path of one message, then every other message that arrives.
async fn show(config: &Config, daemon: &Daemon, internet: &mut Internet) -> Result<(), String> {
    let [(ListenerAddress::Tcp(relay), _), (submission, _), ..] = daemon.listeners() else {
        return Err(told("nothing to listen on"));
    };
    say(format_args!(
        "relayd {} on loopback; nothing leaves this machine.\n\
         \x20  the relay listens on          {relay}\n\
         \x20  and for logins over TLS on    {submission}\n\
         \x20  its queue is in               {}\n\
         \x20  relayctl is listened for on   {}\n\
         \x20  the internet is played by     {}\n",
        env!("CARGO_PKG_VERSION"),
        config.state_dir.display(),
        config.control.display(),
        internet.address(),
    ))?;
    say(
        "1. A client sends a message. With its 250 the relay has made it safe from a power cut.\n",
    )?;
    say(submission::send(*relay).await.map_err(told)?)?;
    let (messages, fresh) = daemon.counts();
    say(format_args!(
        "2. Now it is in the queue. relayctl qstat says:\n\n\
         \x20  messages in queue: {messages}\n\
         \x20  messages in queue but not yet preprocessed: {fresh}\n"
    ))?;
    internet.open(config)?;
    let arrival = timeout(PATIENCE, internet.arrival()).await;
    let arrival = arrival.map_err(|_| told("nothing arrived in time"))?;
    say(
        "3. The relay has signed it, and delivers it over TLS to a host whose certificate is good.\n\
         \x20  This arrives there:\n",
    )?;
    say(arrival.map_err(told)?)?;
    say(format_args!(
        "Now send yours, with any client, and look into the queue:\n\n\
         \x20  swaks --server {relay} --to you@example.net\n\
         \x20  swaks --server {submission} --tls --auth-user {USER} --auth-password {PASSWORD} --to you@example.net\n\
         \x20  relayctl --socket {} qstat\n\n\
         What arrives is shown here. Ctrl-C ends the demo.\n",
        config.control.display()
    ))?;
    loop {
        let arrival = internet.arrival().await.map_err(told)?;
        say(format_args!("A message arrives:\n\n{arrival}"))?;
    }
}

fn say(text: impl Display) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(told)
}
