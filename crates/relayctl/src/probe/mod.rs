//! A dialogue with another server, as a sender would have it, for the operator to watch.
//!
//! Exit codes: 0 accepted, 1 refused, 2 not reached.

mod certificate;
mod dialogue;
mod message;
mod relaying;
mod target;
mod transcript;
mod visit;

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use relay_remote::Inspector;
use relay_remote::dns::Dns;
use relay_smtp::sasl::{Secret, UserName};
use relay_smtp::{ForwardPath, ReversePath};
use serde::Serialize;

use self::target::Place;
use self::transcript::{Entry, Transcript};
use self::visit::{Login, Visit, Visitor};
use crate::delivery::{self, DnsArgs};
use crate::failure::Failure;
use crate::{password, show};

pub(crate) use self::certificate::Shown;
pub(crate) use self::target::Target;
pub(crate) use self::visit::Look;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct ProbeArgs {
    /// A host, HOST:PORT, or a domain, whose MX hosts are tried in order
    target: Target,

    /// The sender of a test message; "<>" for the null sender [default: postmaster at our hostname]
    #[arg(long, value_name = "ADDRESS", value_parser = reverse_path)]
    from: Option<ReversePath>,

    /// Send a test message to this recipient
    #[arg(long, value_name = "ADDRESS", value_parser = forward_path)]
    to: Option<ForwardPath>,

    /// Stop after RCPT: nothing is sent
    #[arg(long, requires = "to")]
    dry: bool,

    /// Whether to speak TLS
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    tls: Tls,

    /// Log in as this user; the password is asked for, and never shown
    #[arg(long, value_name = "USER")]
    auth: Option<UserName>,

    /// Read the password from standard input
    #[arg(long, requires = "auth")]
    password_stdin: bool,

    /// The password is an OAuth 2 access token
    #[arg(long, requires = "auth")]
    token: bool,

    /// Log in though the certificate is not verified: the password goes to whoever answers
    #[arg(long, requires = "auth")]
    insecure: bool,

    /// Try in the usual ways to have mail relayed to a stranger, without sending any: exit code 0 if
    /// all are refused. Run it from outside the networks that may relay, and name with --to a recipient
    /// elsewhere whose domain takes mail: some servers refuse the usual one, at example.com, for its domain
    #[arg(long, conflicts_with = "dry")]
    open_relay: bool,

    /// How long a connection, a handshake or a reply may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,

    #[command(flatten)]
    dns: DnsArgs,
}

/// Whether TLS is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    /// If it is offered, as mail to an MX goes; from the first byte on port 465
    #[default]
    Auto,
    /// Or nothing more is said
    Require,
    /// From the first byte
    Implicit,
    /// Not even if it is offered
    None,
}

fn reverse_path(text: &str) -> Result<ReversePath, String> {
    unbracketed(text).parse().map_err(|e| format!("{e}"))
}

fn forward_path(text: &str) -> Result<ForwardPath, String> {
    unbracketed(text).parse().map_err(|e| format!("{e}"))
}

fn unbracketed(text: &str) -> &str {
    let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    inner.unwrap_or(text)
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Accepted,
    Refused,
    NotReached,
}

/// All that is known at the end.
#[derive(Debug, Serialize)]
struct Report<'a> {
    outcome: Outcome,
    detail: &'a str,
    dialogue: &'a [Entry],
    #[serde(flatten)]
    visit: &'a Visit,
}

pub(crate) async fn run(
    args: &ProbeArgs,
    place: &crate::Place,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut config = delivery::settings(place, &args.dns)?;
    config.connect_timeout = args.timeout;
    let ca_file = config.ca_file.as_deref();
    let inspector = Inspector::new(ca_file).map_err(|e| Failure::Usage(e.to_string()))?;
    let login = match &args.auth {
        Some(user) => Some(Login {
            user: user.clone(),
            secret: secret(args, user)?,
            is_token: args.token,
        }),
        None => None,
    };
    let visitor = Visitor {
        args,
        login,
        hostname: &config.hostname,
        inspector: &inspector,
    };
    let dns = Dns::new(&config.dns_servers);
    let live: Option<&mut dyn Write> = if json { None } else { Some(out) };
    let mut script = Transcript::new(live);
    let mut visit = Visit::default();
    let (outcome, detail) = match args.target.places(&dns, &config).await {
        Ok(places) => walk(&visitor, &places, &mut visit, &mut script).await,
        Err(problem) => (Outcome::NotReached, problem),
    };
    let detail = show::safe(&script.without_secrets(&detail));
    let entries = script.end().map_err(Failure::Output)?;
    if json {
        show::json(
            out,
            &Report {
                outcome,
                detail: &detail,
                dialogue: &entries,
                visit: &visit,
            },
        )?;
    }
    out.flush().map_err(Failure::Output)?;
    match outcome {
        Outcome::Accepted if json => Ok(()),
        Outcome::Accepted => writeln!(out, "accepted: {detail}").map_err(Failure::Output),
        Outcome::Refused => Err(Failure::Refused(format!("refused: {detail}"))),
        Outcome::NotReached => Err(Failure::NotReached(format!("not reached: {detail}"))),
    }
}

fn secret(args: &ProbeArgs, user: &UserName) -> Result<Secret, Failure> {
    if args.password_stdin {
        password::from_line(&mut io::stdin().lock())
    } else {
        password::ask_once(user.as_str())
    }
}

/// From host to host, as a sender goes on where one does not answer or does not want to talk.
async fn walk(
    visitor: &Visitor<'_>,
    places: &[Place],
    visit: &mut Visit,
    script: &mut Transcript<'_>,
) -> (Outcome, String) {
    let mut worst = (Outcome::NotReached, "there is no address to try".to_owned());
    for place in places {
        let came = visitor.call(place, visit, script).await;
        if came.is_final {
            return (came.outcome, came.detail);
        }
        if came.outcome == Outcome::Refused || worst.0 == Outcome::NotReached {
            worst = (came.outcome, came.detail);
        }
    }
    worst
}
