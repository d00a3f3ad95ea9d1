//! The `sendmail` command (qmail-inject): accepts mail from cron, `mail`, PHP and other programs
//! that pipe a message into a program of that name. As `mailq` it shows the queue; as `newaliases`
//! it does nothing.
//!
//! It completes the message and submits it to the relay over its Unix socket. If the relay does not
//! accept it, the message is stored durably in the maildrop, or the exit code reports the failure.
//!
//! | module | content |
//! |---|---|
//! | `arguments` | the command line in its traditional form |
//! | `settings` | the keys of the relay's configuration that this command needs |
//! | `author`, `default_domain` | the sender, and the domain of addresses without one |
//! | `header`, `recipients` | the header section and the addresses in it |
//! | `lines`, `wrap`, `message` | read the message in bounded memory, and complete it |
//! | `delivery`, `maildrop` | submit the message to the relay, or store it in the maildrop |
//! | `bs` | `-bs`: SMTP on standard input and output |
//! | `mailq` | `mailq` and `-q`, by means of `relayctl` |
//! | `error` | errors and exit codes |

mod arguments;
mod author;
mod bs;
mod default_domain;
mod delivery;
mod error;
mod header;
mod lines;
mod maildrop;
mod mailq;
mod message;
mod recipients;
mod settings;
mod wrap;

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use crate::arguments::{Mode, Options};
use crate::author::Author;
use crate::error::SendmailError;
use crate::settings::RelaySettings;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // If standard error is closed too, the exit code has to be enough.
            let _ = writeln!(io::stderr(), "sendmail: {error}");
            error.exit_code()
        }
    }
}

fn run() -> Result<ExitCode, SendmailError> {
    let options = Options::parse(env::args_os())?;
    let config = options.config.as_deref();
    match options.mode {
        Mode::Help => print(&relay_cli::sendmail::help()),
        Mode::Version => print(&format!(
            "sendmail of relayd {}\n",
            env!("CARGO_PKG_VERSION")
        )),
        Mode::NewAliases => Ok(ExitCode::SUCCESS),
        Mode::Mailq => mailq::show(config),
        Mode::Retry => mailq::retry(config),
        Mode::Smtp => bs::run(&RelaySettings::load(config)?.socket),
        Mode::Send => send(&options),
    }
}

fn send(options: &Options) -> Result<ExitCode, SendmailError> {
    let settings = RelaySettings::load(options.config.as_deref())?;
    let author = Author::of(options, &settings)?;
    let mut message = message::read(&mut io::stdin().lock(), options)?;
    message.complete(&author, now(), &author::unique()?);
    delivery::deliver(message.into_outgoing(options, &author)?, &settings)?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<ExitCode, SendmailError> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(SendmailError::Output)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::disallowed_methods, reason = "the clock of this command")]
fn now() -> SystemTime {
    SystemTime::now()
}
