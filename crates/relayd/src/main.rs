//! `relayd`: the relay daemon.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use relay_cli::relayd::{Cli, Command};
use relayd::config::Config;
use relayd::daemon::Daemon;
use relayd::fsck;
use relayd::log::Log;
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs the daemon. The program of the crash tests calls this too.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // No other user may read files that the relay writes.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    raise_file_limit();
    match run(&cli) {
        Ok(code) => code,
        Err(reason) => {
            // If standard error is closed too, the exit code has to be enough.
            let _ = writeln!(io::stderr(), "relayd: {reason}");
            ExitCode::from(2)
        }
    }
}

/// Runs the command. An error is one line that says what to change.
fn run(cli: &Cli) -> Result<ExitCode, String> {
    if let Some(Command::Demo) = &cli.command {
        return in_runtime(relayd::demo::run()).map(|()| ExitCode::SUCCESS);
    }
    let config = Config::load(&cli.config).map_err(|reason| reason.to_string())?;
    if let Some(Command::Fsck { repair }) = cli.command {
        return check_queue(&config, repair);
    }
    if let Some(Command::Export) = &cli.command {
        return in_runtime(relayd::export::run(&config)).map(exit_code);
    }
    if let Some(Command::Import { file }) = &cli.command {
        let mut out = io::stdout().lock();
        let log = start_log(&config)?;
        let imported = in_runtime(relayd::import::run(&config, file, &mut out));
        log.flush();
        return imported.map(exit_code);
    }
    let usable = config.check_all_files();
    usable.map_err(|reason| reason.to_string())?;
    if cli.check {
        return say(format_args!("{}: ok", cli.config.display()));
    }
    let log = start_log(&config)?;
    Log::report_panics();
    let ended = in_runtime(serve(config, cli.config.clone(), Arc::clone(&log)));
    log.flush();
    ended
}

fn start_log(config: &Config) -> Result<Arc<Log>, String> {
    Log::start(config.log_format, config.log_level, io::stderr())
        .map(Arc::new)
        .map_err(|reason| told("starting the log", reason))
}

fn check_queue(config: &Config, repair: bool) -> Result<ExitCode, String> {
    let mode = if repair {
        fsck::Mode::Repair
    } else {
        fsck::Mode::Check
    };
    let is_sound = fsck::run(&config.state_dir, mode, &mut io::stdout().lock())?;
    Ok(exit_code(is_sound))
}

fn exit_code(is_well: bool) -> ExitCode {
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn in_runtime<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime: Runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|reason| told("starting the threads", reason))?;
    let ended = runtime.block_on(work);
    // Threads that still wait for a disk or a name server do not delay the exit.
    runtime.shutdown_background();
    ended
}

fn say(line: impl Display) -> Result<ExitCode, String> {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(reason) => Err(told("standard output", reason)),
    }
}

fn told(doing: &str, reason: impl Display) -> String {
    format!("{doing}: {reason}")
}

/// Runs until a signal ends the process.
async fn serve(config: Config, file: PathBuf, log: Arc<Log>) -> Result<ExitCode, String> {
    let listen = |kind| signal(kind).map_err(|reason| told("waiting for signals", reason));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let daemon = Daemon::start(config, Some(file), log)
        .await
        .map_err(|reason| reason.to_string())?;
    notify(NotifyState::Ready);
    loop {
        tokio::select! {
            () = received(&mut terminate) => break,
            () = received(&mut interrupt) => break,
            // Problems have been logged.
            () = received(&mut hangup) => drop(daemon.reload()),
        }
    }
    notify(NotifyState::Stopping);
    match daemon.stop().await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(reason) => Ok(failed(told("closing the queue", reason))),
    }
}

fn failed(reason: impl Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "relayd: {reason}");
    ExitCode::FAILURE
}

/// Notifies systemd if it manages this process.
fn notify(state: NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Raises the limit of open files to the hard limit. Every session and every delivery needs a
/// socket, and the usual soft limit is far too low.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // If this fails, the relay works with the old limit, with fewer connections.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
