//! `relayd`: the relay daemon.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use relayd::config::{Config, DEFAULT_FILE};
use relayd::daemon::Daemon;
use relayd::log::Log;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code for what the operator has to change before it can work.
const USAGE: u8 = 2;

/// A mail relay: accepts mail over SMTP, keeps it in a durable queue, delivers it by MX or through
/// a smarthost.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Check the configuration file, say what is wrong with it, and end: 0 if it is good, 2 if not.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show one message accepted, queued and delivered, all on loopback, then stay up to be tried.
    Demo,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return refuse(&format!("the runtime cannot be started: {e}")),
    };
    let code = match arguments.command {
        Some(Command::Demo) => runtime
            .block_on(relayd::demo::run())
            .unwrap_or_else(|e| refuse(&e)),
        None => runtime.block_on(serve(&arguments)),
    };
    // A task that still waits for a disk or a name server holds nobody up.
    runtime.shutdown_background();
    code
}

fn refuse(reason: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("relayd: {reason}");
    ExitCode::from(USAGE)
}

async fn serve(arguments: &Arguments) -> ExitCode {
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(e) => return refuse(&e),
    };
    if arguments.check {
        println!("{}: ok", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let log = match Log::start(config.log_format, config.log_level, io::stderr()) {
        Ok(log) => log,
        Err(e) => return refuse(&format!("the log cannot be started: {e}")),
    };
    let started = Daemon::start(config, Some(arguments.config.clone())).await;
    let daemon = match started {
        Ok(daemon) => daemon,
        Err(e) => {
            log.flush();
            return refuse(&e);
        }
    };
    let code = work(daemon).await;
    log.flush();
    code
}

/// Until a signal ends it.
async fn work(daemon: Daemon) -> ExitCode {
    let signals = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ];
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals.map(signal) else {
        return refuse(&"the signals cannot be waited for");
    };
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    loop {
        tokio::select! {
            () = received(&mut terminate) => break,
            () = received(&mut interrupt) => break,
            () = received(&mut hangup) => drop(daemon.reload()),
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    match daemon.stop().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("relayd: closing the queue: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
