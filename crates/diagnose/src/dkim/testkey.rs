//! `dkim testkey`: checks whether receivers find our keys.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use relay_dkim::{Domain, KeyError, PrivateKey, Record, Selector, compare};
use relay_remote::dns::{Dns, LookupError};
use relay_terminal::print_json;

use super::show;
use super::signing_entry::{ConfiguredKey, named_entries, published, signing_table};
use super::tested::Tested;
use crate::config::ConfigFile;
use crate::delivery_settings::{self, DnsArgs};
use crate::error::Error;

/// The arguments of `dkim testkey`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status:
  0  receivers find every key
  1  a record is missing or does not match
  2  the arguments or the configuration are wrong")]
pub struct TestkeyArgs {
    /// Test only the keys of this domain [default: all configured keys]
    #[arg(long)]
    domain: Option<Domain>,

    /// Test only the key with this selector
    #[arg(long, requires = "domain")]
    selector: Option<Selector>,

    /// Use this private key instead of a configured one
    #[arg(long, value_name = "FILE", requires_all = ["domain", "selector"])]
    key: Option<PathBuf>,

    #[command(flatten)]
    dns: DnsArgs,
}

pub(super) async fn run(
    args: &TestkeyArgs,
    config: &ConfigFile,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let entries = selected(args, config)?;
    let dns = Dns::new(&delivery_settings::settings(config, &args.dns)?.dns_servers);
    let mut tested = Vec::new();
    for entry in &entries {
        tested.push(test(&dns, entry).await);
    }
    if json {
        print_json(out, &tested).map_err(Error::Output)?;
    } else {
        show::tested_keys(out, &tested).map_err(Error::Output)?;
    }
    out.flush().map_err(Error::Output)?;
    match tested.iter().filter(|tested| !tested.ok).count() {
        0 => Ok(()),
        bad => Err(Error::Refused(format!(
            "receivers would not find {bad} of {} keys",
            tested.len()
        ))),
    }
}

fn selected(args: &TestkeyArgs, config: &ConfigFile) -> Result<Vec<ConfiguredKey>, Error> {
    if let (Some(domain), Some(selector), Some(key)) = (&args.domain, &args.selector, &args.key) {
        return Ok(vec![ConfiguredKey {
            domain: domain.clone(),
            selector: selector.clone(),
            key: key.clone(),
            subdomains: false,
        }]);
    }
    let loaded = config.load()?;
    let entries = match &args.domain {
        Some(domain) => named_entries(&loaded, domain, args.selector.as_ref())?,
        None => signing_table(&loaded)?,
    };
    if entries.is_empty() {
        return Err(Error::Refused(format!(
            "no such key in {}; give one with --domain, --selector and --key",
            config.path().display()
        )));
    }
    Ok(entries)
}

/// Compares one key with its record in the DNS.
pub(super) async fn test(dns: &Dns, entry: &ConfiguredKey) -> Tested {
    match compared(dns, entry).await {
        Ok(tested) => tested,
        Err(reason) => Tested {
            name: Record::name(&entry.domain, &entry.selector),
            ok: false,
            result: reason.to_string(),
            advice: reason.advice().map(str::to_owned),
            record: None,
        },
    }
}

/// Why a key cannot be compared with its record.
#[derive(Debug, thiserror::Error)]
enum NotCompared {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot be looked up: {0}")]
    Lookup(#[from] LookupError),
}

impl NotCompared {
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Key(reason) => is_secret(reason).then_some("run this as root"),
            Self::Lookup(_) => Some("try again later"),
        }
    }
}

async fn compared(dns: &Dns, entry: &ConfiguredKey) -> Result<Tested, NotCompared> {
    let ConfiguredKey {
        domain, selector, ..
    } = entry;
    let name = Record::name(domain, selector);
    let key = PrivateKey::load(&entry.key)?;
    let expected = Record::new(key.public(), domain, selector);
    let found = published(dns, &name).await?;
    let verdict = compare(key.public(), &found);
    Ok(Tested {
        name,
        ok: verdict.is_ok(),
        result: verdict.to_string(),
        advice: verdict.advice(&expected),
        record: Some(expected),
    })
}

fn is_secret(reason: &KeyError) -> bool {
    matches!(reason, KeyError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}
