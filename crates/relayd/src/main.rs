//! `relayd`: the relay daemon.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use relay_cli::relayd::{Cli, Command};
use relayd::config::Config;
use relayd::daemon::Daemon;
use relayd::fsck;
use relayd::log::Log;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// An error that ends the program. Its text is one line that says what to change.
type Problem = Box<dyn Error>;

/// A system call that the program needs has failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
struct SystemError {
    doing: &'static str,
    source: io::Error,
}

impl SystemError {
    fn when<E: Into<io::Error>>(doing: &'static str) -> impl Fn(E) -> Self {
        move |reason| Self {
            doing,
            source: reason.into(),
        }
    }
}

/// Runs the daemon. The program of the crash tests calls this too.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // No other user may read files that the relay writes.
    umask(Mode::RWXG | Mode::RWXO);
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

/// Runs the command.
fn run(cli: &Cli) -> Result<ExitCode, Problem> {
    if let Some(Command::Demo) = &cli.command {
        return in_runtime(relayd::demo::run()).map(|()| ExitCode::SUCCESS);
    }
    let config = Config::load(&cli.config)?;
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
    config.check_all_files()?;
    if cli.check {
        return Ok(say(format_args!("{}: ok", cli.config.display()))?);
    }
    let log = start_log(&config)?;
    Log::report_panics();
    let ended = in_runtime(serve(config, cli.config.clone(), Arc::clone(&log)));
    log.flush();
    ended
}

fn start_log(config: &Config) -> Result<Arc<Log>, SystemError> {
    Log::start(config.log_format, config.log_level, io::stderr())
        .map(Arc::new)
        .map_err(SystemError::when("starting the log"))
}

fn check_queue(config: &Config, repair: bool) -> Result<ExitCode, Problem> {
    let mode = if repair {
        fsck::Mode::Repair
    } else {
        fsck::Mode::Check
    };
    let is_sound = fsck::run(&config.state_dir, mode, &mut io::stdout().lock())?;
    Ok(exit_code(is_sound))
}

fn exit_code(is_sound: bool) -> ExitCode {
    if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn in_runtime<T, E: Into<Problem>>(work: impl Future<Output = Result<T, E>>) -> Result<T, Problem> {
    let runtime: Runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(SystemError::when("starting the threads"))?;
    let ended = runtime.block_on(work);
    // Threads that still wait for a disk or a name server do not delay the exit.
    runtime.shutdown_background();
    ended.map_err(Into::into)
}

fn say(line: impl Display) -> Result<ExitCode, SystemError> {
    writeln!(io::stdout(), "{line}").map_err(SystemError::when("standard output"))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs until a signal ends the process.
async fn serve(config: Config, file: PathBuf, log: Arc<Log>) -> Result<ExitCode, Problem> {
    let mut terminate = wait_for(SignalKind::terminate())?;
    let mut interrupt = wait_for(SignalKind::interrupt())?;
    let mut hangup = wait_for(SignalKind::hangup())?;
    let daemon = Daemon::start(config, Some(file), log).await?;
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
        Err(reason) => {
            let _ = writeln!(io::stderr(), "relayd: closing the queue: {reason}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn wait_for(kind: SignalKind) -> Result<Signal, SystemError> {
    signal(kind).map_err(SystemError::when("waiting for signals"))
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
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If this fails, the relay works with the old limit, with fewer connections.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
