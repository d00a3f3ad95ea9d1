//! Runs an SMTP dialogue with another server as a sender would, and shows it to the operator.
//!
//! Exit codes: 0 accepted, 1 refused, 2 not reached.

mod certificate;
mod dialogue;
mod message;
mod relaying;
mod result;
mod session;
mod target;
mod transcript;

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use relay_remote::Inspector;
use relay_remote::dns::Dns;
use relay_smtp::address::{AddressError, unbracketed};
use relay_smtp::sasl::{Secret, UserName};
use relay_smtp::{ForwardPath, ReversePath};
use relay_terminal::{escape, password, print_json};
use serde::Serialize;

use self::result::{Observed, Outcome};
use self::session::{ProbeLogin, Prober};
use self::transcript::{Transcript, TranscriptEntry};
use crate::config::ConfigFile;
use crate::delivery_settings::{self, DnsArgs};
use crate::error::Error;

pub(crate) use self::certificate::Handshake;
#[cfg(test)]
pub(crate) use self::dialogue::End;
pub(crate) use self::session::{InspectionError, TlsInspection};
pub(crate) use self::target::{Endpoint, Target};

/// The arguments of `probe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Run --open-relay from outside the networks that may relay, with a recipient elsewhere in --to.

Exit status:
  0  the server accepts (with --open-relay: it refuses every attempt to relay)
  1  the server refuses
  2  the server cannot be reached")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct ProbeArgs {
    /// A host, HOST:PORT, or a domain, whose MX hosts are tried in order
    target: Target,

    /// Send from this address; "<>" for the null sender [default: our postmaster]
    #[arg(long, value_name = "ADDRESS", value_parser = reverse_path)]
    from: Option<ReversePath>,

    /// Send a test message to this address
    #[arg(long, value_name = "ADDRESS", value_parser = forward_path)]
    to: Option<ForwardPath>,

    /// Stop after RCPT without sending a message
    #[arg(long, requires = "to")]
    dry: bool,

    /// Use TLS: auto, require, implicit (port 465) or none
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value_t,
        hide_possible_values = true
    )]
    tls: ProbeTls,

    /// Log in as this user; asks for the password and never shows it
    #[arg(long, value_name = "USER")]
    auth: Option<UserName>,

    /// Read the password from standard input
    #[arg(long, requires = "auth")]
    password_stdin: bool,

    /// Use the password as an OAuth 2 access token
    #[arg(long, requires = "auth")]
    token: bool,

    /// Send the password even if the certificate cannot be verified
    #[arg(long, requires = "auth")]
    insecure: bool,

    /// Test whether the server is an open relay, without sending a message
    #[arg(long, conflicts_with = "dry")]
    open_relay: bool,

    /// Limit the time of a connection, a handshake or a reply
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,

    #[command(flatten)]
    dns: DnsArgs,
}

/// How TLS is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ProbeTls {
    /// If it is offered, as for mail to an MX; from the first byte on port 465
    #[default]
    Auto,
    /// Always, by STARTTLS
    Require,
    /// From the first byte
    Implicit,
    /// Never, even if it is offered
    None,
}

fn reverse_path(text: &str) -> Result<ReversePath, AddressError> {
    unbracketed(text).parse()
}

fn forward_path(text: &str) -> Result<ForwardPath, AddressError> {
    unbracketed(text).parse()
}

/// The complete result.
#[derive(Debug, Serialize)]
struct Report<'a> {
    outcome: Outcome,
    detail: &'a str,
    dialogue: &'a [TranscriptEntry],
    #[serde(flatten)]
    observed: &'a Observed,
}

/// Runs the dialogue and shows it. Returns [`Error::Refused`] or [`Error::NotReached`] unless the server
/// accepts.
pub async fn run(
    args: &ProbeArgs,
    config: &ConfigFile,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut config = delivery_settings::settings(config, &args.dns)?;
    config.connect_timeout = args.timeout;
    let ca_file = config.ca_file.as_deref();
    let inspector = Inspector::new(ca_file).map_err(|e| Error::Usage(e.to_string()))?;
    let login = match &args.auth {
        Some(user) => Some(ProbeLogin {
            user: user.clone(),
            secret: secret(args, user)?,
            is_token: args.token,
        }),
        None => None,
    };
    let prober = Prober {
        args,
        login,
        hostname: &config.hostname,
        inspector: &inspector,
    };
    let dns = Dns::new(&config.dns_servers);
    let live: Option<&mut dyn Write> = if json { None } else { Some(out) };
    let mut script = Transcript::new(live);
    let mut observed = Observed::default();
    let (outcome, detail) = match args.target.endpoints(&dns, &config).await {
        Ok(endpoints) => walk(&prober, &endpoints, &mut observed, &mut script).await,
        Err(problem) => (Outcome::NotReached, problem.to_string()),
    };
    let detail = escape(&script.without_secrets(&detail));
    let entries = script.end().map_err(Error::Output)?;
    if json {
        let report = Report {
            outcome,
            detail: &detail,
            dialogue: &entries,
            observed: &observed,
        };
        print_json(out, &report).map_err(Error::Output)?;
    }
    out.flush().map_err(Error::Output)?;
    match outcome {
        Outcome::Accepted if json => Ok(()),
        Outcome::Accepted => writeln!(out, "accepted: {detail}").map_err(Error::Output),
        Outcome::Refused => Err(Error::Refused(format!("refused: {detail}"))),
        Outcome::NotReached => Err(Error::NotReached(format!("not reached: {detail}"))),
    }
}

fn secret(args: &ProbeArgs, user: &UserName) -> Result<Secret, Error> {
    if args.password_stdin {
        Ok(password::from_line(&mut io::stdin().lock())?)
    } else {
        Ok(password::ask_once(user.as_str())?)
    }
}

/// Tries the hosts in order, as a sender does if a host does not answer or refuses the session.
async fn walk(
    prober: &Prober<'_>,
    endpoints: &[Endpoint],
    observed: &mut Observed,
    script: &mut Transcript<'_>,
) -> (Outcome, String) {
    let mut worst = (Outcome::NotReached, "there is no address to try".to_owned());
    for endpoint in endpoints {
        let result = prober.call(endpoint, observed, script).await;
        if result.is_final {
            return (result.outcome, result.detail);
        }
        if result.outcome == Outcome::Refused || worst.0 == Outcome::NotReached {
            worst = (result.outcome, result.detail);
        }
    }
    worst
}
