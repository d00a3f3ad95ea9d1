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
//! | `settings` | the configuration that this command needs |
//! | `author`, `default_domain` | the sender; the domain of addresses without one |
//! | `header`, `recipients` | the header section and the addresses in it |
//! | `lines`, `wrap`, `draft` | reads the message in bounded memory |
//! | `delivery`, `leave` | submits to the relay, or leaves in the maildrop |
//! | `dialogue`, `operator` | `-bs`; `mailq` and `-q` |
//! | `failure` | exit codes |

mod arguments;
mod author;
mod default_domain;
mod delivery;
mod dialogue;
mod draft;
mod failure;
mod header;
mod leave;
mod lines;
mod operator;
mod recipients;
mod settings;
mod wrap;

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use crate::arguments::{Mode, Options};
use crate::author::Author;
use crate::failure::Failure;
use crate::settings::RelaySettings;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(failure) => {
            // If standard error is closed too, the exit code has to be enough.
            let _ = writeln!(io::stderr(), "sendmail: {failure}");
            failure.exit_code()
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let options = Options::parse(env::args_os())?;
    match options.mode {
        Mode::Help => say(&relay_cli::sendmail::help()),
        Mode::Version => say(&format!(
            "sendmail of relayd {}\n",
            env!("CARGO_PKG_VERSION")
        )),
        Mode::NewAliases => Ok(ExitCode::SUCCESS),
        Mode::Mailq => operator::mailq(options.config.as_deref()),
        Mode::Retry => operator::retry(options.config.as_deref()),
        Mode::Dialogue => {
            let settings = RelaySettings::load(options.config.as_deref())?;
            dialogue::run(&settings.socket)
        }
        Mode::Send => send(&options),
    }
}

fn send(options: &Options) -> Result<ExitCode, Failure> {
    let settings = RelaySettings::load(options.config.as_deref())?;
    let author = Author::of(options, &settings)?;
    let mut draft = draft::read(&mut io::stdin().lock(), options)?;
    draft.complete(&author, now(), &author::unique()?);
    let mail = draft.into_mail(options, &author)?;
    delivery::deliver(mail, &settings)?;
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> Result<ExitCode, Failure> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::Output)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::disallowed_methods, reason = "the clock of this command")]
fn now() -> SystemTime {
    SystemTime::now()
}
