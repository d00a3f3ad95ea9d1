//! `acl`: addresses that may relay for a limited time.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use relay_control::{TemporaryRelay, path};
use relay_terminal::{date, until};

use crate::client::Client;
use crate::error::RelayctlError;
use crate::output::print_answer;

#[derive(Debug, Subcommand)]
pub(crate) enum AclVerb {
    /// Allow a client to relay for a limited time
    Allow {
        /// The IP address of the client
        address: IpAddr,

        /// Allow it for this long from now: "3h", "30m"
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        time: Duration,
    },
    /// List the addresses that may relay for a limited time
    List,
    /// Remove a permission before it expires
    Remove {
        /// The IP address of the client
        address: IpAddr,
    },
}

pub(crate) async fn run(
    verb: &AclVerb,
    client: &Client,
    json: bool,
    now: SystemTime,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let permissions: Vec<TemporaryRelay> = match verb {
        AclVerb::List => client.get(path::ACL).await?,
        AclVerb::Allow { address, time } => {
            let seconds = time.as_secs();
            let path = format!("{}/{address}?seconds={seconds}", path::ACL);
            vec![client.put(&path).await?]
        }
        AclVerb::Remove { address } => {
            let _: serde_json::Value = client.delete(&format!("{}/{address}", path::ACL)).await?;
            return Ok(());
        }
    };
    match (verb, json) {
        (AclVerb::List, true) => print_answer(out, &permissions),
        (_, true) => permissions
            .iter()
            .try_for_each(|permission| print_answer(out, permission)),
        (_, false) => print_permissions(out, &permissions, now),
    }
}

/// Prints one line for each address.
pub(crate) fn print_permissions(
    out: &mut impl Write,
    permissions: &[TemporaryRelay],
    now: SystemTime,
) -> Result<(), RelayctlError> {
    let mut lines = permissions.iter().map(|permission| {
        let (end, left) = (date(permission.until), until(permission.until, now));
        writeln!(out, "{}  until {end} ({left})", permission.address)
    });
    lines
        .try_for_each(|line| line)
        .map_err(RelayctlError::Output)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_permission_is_shown_with_its_end() {
        let permission = TemporaryRelay {
            address: "2001:db8::1".parse().expect("an address"),
            until: 1_795_230_601,
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_795_227_001);
        let mut out = Vec::new();
        print_permissions(&mut out, &[permission], now).expect("memory");
        let expected = "2001:db8::1  until 21 Nov 2026 03:10:01 GMT (in 1h)\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
