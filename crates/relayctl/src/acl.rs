//! Addresses that may relay for a while.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use relay_control::{Grant, path};

use crate::client::Client;
use crate::failure::Failure;
use crate::show;

#[derive(Debug, Subcommand)]
pub(crate) enum AclVerb {
    /// Let a client relay for a while
    Allow {
        /// The client's address
        address: IpAddr,

        /// For how long from now on, such as "3h" or "30m"
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        time: Duration,
    },
    /// The addresses that may relay for a while
    List,
    /// Take a permission back before its time
    Remove {
        /// The client's address
        address: IpAddr,
    },
}

pub(crate) async fn run(
    verb: &AclVerb,
    client: &Client,
    json: bool,
    now: SystemTime,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let grants: Vec<Grant> = match verb {
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
        (AclVerb::List, true) => show::json(out, &grants),
        (_, true) => grants.iter().try_for_each(|grant| show::json(out, grant)),
        (_, false) => show::grants(out, &grants, now),
    }
}
