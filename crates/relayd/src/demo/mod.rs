//! `relayd demo`: the whole way of a message on one screen, all on loopback.
//!
//! A real relay with a temporary state directory, whose one smarthost is a receiving server in the
//! same process that plays the internet and shows what reaches it.

mod internet;
mod submission;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use relay_remote::Route;
use relay_smtpd::{ListenerConfig, Role};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use self::internet::Internet;
use crate::config::{Config, LogFormat};
use crate::daemon::Daemon;
use crate::log::{Level, Log};

/// Where the demo listens if it can, for it is easy to remember.
const USUAL_PORT: u16 = 2525;
/// How long its own message may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until Ctrl-C or SIGTERM; the error is a line that says what was wrong.
pub async fn run() -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
    let log = Log::start(LogFormat::Text, Level::Error, io::stderr()).map_err(told)?;
    let dir = tempfile::Builder::new()
        .prefix("relayd-demo-")
        .tempdir()
        .map_err(told)?;
    let mut internet = Internet::bind()?;
    let config = config(dir.path(), internet.address())?;
    let daemon = Daemon::start(config.clone(), None, Arc::new(log))
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

/// The usual defaults, but all on loopback, and all mail to the internet that is played here.
fn config(dir: &Path, internet: SocketAddr) -> Result<Config, String> {
    let text = "hostname = \"relay.example.org\"\n";
    let mut config = Config::parse(Path::new("its configuration"), text).map_err(told)?;
    let host = internet.ip().to_string();
    config.routes = vec![Route::new("*", [host], internet.port()).map_err(told)?];
    config.state_dir = dir.join("state");
    config.control = dir.join("control.sock");
    config.listeners = vec![ListenerConfig {
        address: (Ipv4Addr::LOCALHOST, free_port()).into(),
        role: Role::Mx,
        proxies: Vec::new(),
    }];
    Ok(config)
}

/// The usual port, or any other if somebody has that one.
fn free_port() -> u16 {
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT));
    usual.map_or(0, |_| USUAL_PORT)
}

/// Shows one message's way, then every other message that arrives.
async fn show(config: &Config, daemon: &Daemon, internet: &mut Internet) -> Result<(), String> {
    let relay = daemon.listeners().first().map(|(address, _)| *address);
    let relay = relay.ok_or("demo: nothing to listen on")?;
    say(format_args!(
        "relayd {} on loopback; nothing leaves this machine.\n\
         \x20  the relay listens on          {relay}\n\
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
    say(submission::send(relay).await.map_err(told)?)?;
    let (messages, fresh) = daemon.counts();
    say(format_args!(
        "2. Now it is in the queue. relayctl qstat says:\n\n\
         \x20  messages in queue: {messages}\n\
         \x20  messages in queue but not yet preprocessed: {fresh}\n"
    ))?;
    internet.open()?;
    let arrival = timeout(PATIENCE, internet.arrival()).await;
    let arrival = arrival.map_err(|_| told("nothing arrived in time"))?;
    say("3. The relay delivers it. This arrives at the other end:\n")?;
    say(arrival.map_err(told)?)?;
    say(format_args!(
        "Now send yours, with any client, and look into the queue:\n\n\
         \x20  swaks --server {relay} --to you@example.net\n\
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
