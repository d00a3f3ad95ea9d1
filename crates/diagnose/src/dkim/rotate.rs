//! `dkim rotate`: replaces a key with a new one, such that the records for mail in transit remain
//! available.
//!
//! No state is stored between runs. Each run determines the progress from the configuration and the
//! DNS.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use relay_dkim::{Domain, PrivateKey, Record, Selector};
use relay_remote::dns::Dns;
use relay_terminal::print_json;

use super::Algorithm;
use super::genkey::{TableEntry, make};
use super::rotation_step::{Rotation, RotationStep, Standing};
use super::show;
use super::signing_entry::{ConfiguredKey, named_entries, published};
use super::tested::Tested;
use super::testkey;
use crate::config::ConfigFile;
use crate::delivery_settings::{self, DnsArgs};
use crate::error::Error;

/// The arguments of `dkim rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The domain of the sender addresses
    #[arg(long)]
    domain: Domain,

    /// The selector of the key to replace
    #[arg(long, value_name = "SELECTOR")]
    old: Selector,

    /// The selector of the new key, never used before, such as 202611
    #[arg(long, value_name = "SELECTOR")]
    new: Selector,

    /// Generate an rsa or ed25519 key [default: as the old one]
    #[arg(long, value_enum, hide_possible_values = true)]
    algorithm: Option<Algorithm>,

    /// File of the new key [default: DOMAIN.SELECTOR.pem, beside the old]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    dns: DnsArgs,
}

pub(super) async fn run(
    args: &RotateArgs,
    config: &ConfigFile,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    if args.old == args.new {
        return Err(Error::Usage(
            "the new key needs another selector than the old one, because receivers may have cached the old record"
                .to_owned(),
        ));
    }
    let entries = named_entries(&config.load()?, &args.domain, None)?;
    let find = |selector: &Selector| entries.iter().find(|entry| entry.selector == *selector);
    let (old, new) = (find(&args.old), find(&args.new));
    let file = match (&args.out, old, new) {
        (_, _, Some(new)) => new.key.clone(),
        (Some(file), _, None) => file.clone(),
        (None, Some(old), None) => beside(&old.key, args),
        (None, None, None) => {
            return Err(Error::Refused(format!(
                "{} has neither the key {} of {} nor {}: give the file of the new key with --out",
                config.path().display(),
                args.old,
                args.domain,
                args.new
            )));
        }
    };
    if !file.try_exists().unwrap_or(true) {
        make(&args.domain, &args.new, algorithm(args, old), &file, config)?;
    }
    let dns = Dns::new(&delivery_settings::settings(config, &args.dns)?.dns_servers);
    let facts = Facts {
        args,
        config: config.path(),
        new: testkey::test(&dns, &as_entry(args, &file)).await,
        file: &file,
        signs_with_new: new.is_some(),
        old,
        old_is_published: is_published(&dns, args).await?,
    };
    let rotation = facts.rotation();
    if json {
        print_json(out, &rotation).map_err(Error::Output)
    } else {
        show::rotation(out, &rotation).map_err(Error::Output)
    }
}

fn beside(old: &Path, args: &RotateArgs) -> PathBuf {
    old.with_file_name(format!("{}.{}.pem", args.domain, args.new))
}

/// Returns the given algorithm, or that of the old key if it can be read.
fn algorithm(args: &RotateArgs, old: Option<&ConfiguredKey>) -> relay_dkim::Algorithm {
    let of_old = || {
        PrivateKey::load(&old?.key)
            .ok()
            .map(|key| key.public().algorithm())
    };
    let said = args.algorithm.map(relay_dkim::Algorithm::from);
    said.or_else(of_old).unwrap_or(relay_dkim::Algorithm::Rsa)
}

fn as_entry(args: &RotateArgs, file: &Path) -> ConfiguredKey {
    ConfiguredKey {
        domain: args.domain.clone(),
        selector: args.new.clone(),
        key: file.to_owned(),
        subdomains: false,
    }
}

/// Returns whether the record of the old key can still verify signatures.
async fn is_published(dns: &Dns, args: &RotateArgs) -> Result<bool, Error> {
    let name = Record::name(&args.domain, &args.old);
    let found = published(dns, &name).await;
    let found = found
        .map_err(|reason| Error::NotReached(format!("{name}: cannot be looked up: {reason}")))?;
    Ok(found.iter().any(|record| !relay_dkim::is_revoked(record)))
}

/// The facts in the files and the DNS.
struct Facts<'a> {
    args: &'a RotateArgs,
    config: &'a Path,
    new: Tested,
    file: &'a Path,
    signs_with_new: bool,
    /// The table of the old key, if the relay signs with it.
    old: Option<&'a ConfiguredKey>,
    old_is_published: bool,
}

impl Facts<'_> {
    fn rotation(&self) -> Rotation {
        let mut is_next = true;
        let steps = [
            (true, format!("create a key: {}", self.file.display()), None),
            self.publish(),
            self.sign(),
            self.revoke(),
        ];
        let steps = steps.into_iter().map(|(is_done, what, how)| {
            let standing = match (is_done, is_next) {
                (true, _) => Standing::Done,
                (false, true) => Standing::Next,
                (false, false) => Standing::Later,
            };
            is_next &= is_done;
            let how = how.filter(|_| standing == Standing::Next);
            RotationStep {
                standing,
                what,
                how,
            }
        });
        Rotation {
            steps: steps.collect(),
        }
    }

    fn publish(&self) -> (bool, String, Option<String>) {
        let Tested { name, result, .. } = &self.new;
        let what = format!("publish its record at {name}: {result}");
        let how = match &self.new.record {
            Some(record) => record.zone_file(),
            None => self.new.advice.clone().unwrap_or_default(),
        };
        (self.new.ok, what, Some(how))
    }

    fn sign(&self) -> (bool, String, Option<String>) {
        let RotateArgs {
            domain, old, new, ..
        } = self.args;
        let config = self.config.display();
        let what = format!("sign with {new}, and no longer with {old}");
        let is_done = self.signs_with_new && self.old.is_none();
        let how = if self.signs_with_new {
            format!("in {config}, remove the [[dkim]] of {domain} with the selector {old}")
        } else {
            let entry = TableEntry {
                domain,
                selector: new,
                key: self.file,
            };
            if self.old.is_some() {
                // The other keys of the table, such as `subdomains`, must stay unchanged.
                let lines = entry.of_key();
                format!(
                    "in {config}, in the [[dkim]] of {domain} with the selector {old}, replace selector \
                     and key with these lines, and leave the rest as it is:\n\n{lines}"
                )
            } else {
                format!("in {config}, add:\n\n{entry}")
            }
        };
        (is_done, what, Some(how))
    }

    fn revoke(&self) -> (bool, String, Option<String>) {
        let RotateArgs { domain, old, .. } = self.args;
        let what = format!("a week later, revoke {old}");
        let name = Record::name(domain, old);
        let how = format!(
            "mail that was signed with it may be in queues until then; after that, publish\n\
             {name}. IN TXT \"v=DKIM1; p=\"\nand delete its private key"
        );
        (!self.old_is_published, what, Some(how))
    }
}
