//! `route`: prints where mail would go. The daemon answers; without it, the configuration file and the DNS do.

use std::fmt::Display;
use std::io::{self, Write};

use clap::Args;
use relay_control::{Plan, PlannedHost, path};
use relay_routing::RouteQuery;
use relay_terminal::escape;

use crate::client::{Client, query};
use crate::daemon_args::DaemonArgs;
use crate::error::RelayctlError;
use crate::output::print_answer;

#[derive(Debug, Args)]
pub(crate) struct RouteArgs {
    /// The envelope sender; "<>" for the null sender
    from: String,

    /// The recipient
    to: String,
}

pub(crate) async fn run(
    args: &RouteArgs,
    daemon: &DaemonArgs,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let client = Client::new(daemon.socket()?);
    let parameters = query([("from", args.from.clone()), ("to", args.to.clone())]);
    let plan = match client.get(&format!("{}?{parameters}", path::ROUTE)).await {
        // An operator who names a socket asks about the daemon at that socket.
        Err(RelayctlError::NoDaemon { .. }) if !daemon.names_socket() => {
            without_daemon(args, daemon).await?
        }
        answer => answer?,
    };
    if json {
        print_answer(out, &plan)
    } else {
        print_plan(out, &plan)
    }
}

/// Makes the decisions of the daemon. It refuses a configuration that fails the checks of `relay_config`.
async fn without_daemon(args: &RouteArgs, daemon: &DaemonArgs) -> Result<Plan, RelayctlError> {
    let refused = |reason: &dyn Display| RelayctlError::Refused(reason.to_string());
    let config = relay_routing::load(daemon.config_file().path()).map_err(|e| refused(&e))?;
    let query = RouteQuery::parse(&args.from, &args.to).map_err(|e| refused(&e))?;
    Ok(query.plan(&config).await)
}

/// Prints the rule that decides, then the hosts in the order in which they would be tried.
pub(crate) fn print_plan(out: &mut impl Write, plan: &Plan) -> Result<(), RelayctlError> {
    write_plan(out, plan).map_err(RelayctlError::Output)
}

fn write_plan(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    writeln!(out, "decided by   {}", escape(&plan.by))?;
    writeln!(out, "destination  {}", escape(&plan.destination))?;
    if let Some(login) = &plan.login {
        writeln!(out, "login        {}", escape(login))?;
    }
    plan.hosts.iter().try_for_each(|h| host(out, h))?;
    if let Some(problem) = &plan.problem {
        writeln!(out, "problem      {}", escape(problem))?;
    }
    Ok(())
}

fn host(out: &mut impl Write, host: &PlannedHost) -> io::Result<()> {
    let (name, tls) = (escape(&host.name), escape(&host.tls));
    write!(out, "host         {name}:{}", host.port)?;
    if let Some(preference) = host.preference {
        write!(out, "  preference {preference}")?;
    }
    writeln!(out, "  tls {tls}")?;
    for address in &host.addresses {
        writeln!(out, "             {}", escape(address))?;
    }
    match &host.problem {
        Some(problem) => writeln!(out, "             passed over: {}", escape(problem)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_comes_before_the_hosts() {
        let host =
            |name: &str, preference, addresses: &[&str], problem: Option<&str>| PlannedHost {
                name: name.to_owned(),
                port: 25,
                preference,
                tls: "opportunistic".to_owned(),
                addresses: addresses.iter().map(|&a| a.to_owned()).collect(),
                problem: problem.map(str::to_owned),
            };
        let shown = Plan {
            by: "MX of dest.test".to_owned(),
            destination: "dest.test".to_owned(),
            login: Some("apikey, by a password".to_owned()),
            hosts: vec![
                host(
                    "mx1.dest.test",
                    Some(10),
                    &["192.0.2.1:25", "[2001:db8::1]:25"],
                    None,
                ),
                host("192.0.2.2", None, &[], Some("no such host")),
            ],
            problem: Some("a\u{1b}b".to_owned()),
        };
        let mut out = Vec::new();
        print_plan(&mut out, &shown).expect("memory");
        let expected = "\
decided by   MX of dest.test
destination  dest.test
login        apikey, by a password
host         mx1.dest.test:25  preference 10  tls opportunistic
             192.0.2.1:25
             [2001:db8::1]:25
host         192.0.2.2:25  tls opportunistic
             passed over: no such host
problem      a\\u{1b}b
";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
