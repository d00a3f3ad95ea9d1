//! `dkim genkey`: creates a key and prints its DNS record.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf, absolute};

use clap::Args;
use relay_dkim::{Domain, GenerateError, GeneratedKey, Record, Selector};
use relay_terminal::print_json;
use serde::Serialize;

use super::Algorithm;
use crate::config::ConfigFile;
use crate::error::Error;

/// The arguments of `dkim genkey`.
#[derive(Debug, Args)]
pub struct GenkeyArgs {
    /// The domain of the sender addresses
    #[arg(long)]
    domain: Domain,

    /// A selector that the domain has never used for a key
    #[arg(long)]
    selector: Selector,

    /// Generate an rsa (2048 bits) or ed25519 key
    #[arg(long, value_enum, default_value_t = Algorithm::Rsa, hide_possible_values = true)]
    algorithm: Algorithm,

    /// Write the private key to this file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Serialize)]
struct Made<'a> {
    key: &'a Path,
    algorithm: &'static str,
    record: &'a Record,
}

pub(super) fn run(
    args: &GenkeyArgs,
    config: &ConfigFile,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let record = make(
        &args.domain,
        &args.selector,
        args.algorithm.into(),
        &args.out,
        config,
    )?;
    if json {
        let made = Made {
            key: &args.out,
            algorithm: relay_dkim::Algorithm::from(args.algorithm).as_str(),
            record: &record,
        };
        return print_json(out, &made).map_err(Error::Output);
    }
    write!(out, "{}", record.zone_file()).map_err(Error::Output)?;
    out.flush().map_err(Error::Output)?;
    // The table goes to standard error, because standard output is for the zone file.
    let entry = TableEntry {
        domain: &args.domain,
        selector: &args.selector,
        key: &args.out,
    };
    let _ = writeln!(
        io::stderr(),
        "\nPublish this record. When `relayctl dkim testkey --domain {} --selector {} --key {}` \
         reports ok, add this to {}:\n\n{entry}",
        args.domain,
        args.selector,
        args.out.display(),
        config.path().display(),
    );
    Ok(())
}

/// Creates a key, writes it, and makes the user of relayd its owner. Returns the record to publish.
pub(super) fn make(
    domain: &Domain,
    selector: &Selector,
    algorithm: relay_dkim::Algorithm,
    file: &Path,
    config: &ConfigFile,
) -> Result<Record, Error> {
    let owner = fs::metadata(config.load()?.state_dir()?).ok();
    let key = GeneratedKey::generate(algorithm).map_err(|reason| refused(&reason))?;
    key.write_new(file).map_err(|reason| refused(&reason))?;
    if let Some(owner) = owner {
        give(file, owner.uid(), owner.gid());
    }
    Ok(Record::new(key.public(), domain, selector))
}

/// Changes the owner of the key. Only the daemon may read it. Only root can change the owner of a
/// file.
fn give(file: &Path, user: u32, group: u32) {
    let is_theirs = fs::metadata(file).is_ok_and(|found| found.uid() == user);
    if is_theirs {
        return;
    }
    if let Err(reason) = chown(file, Some(user), Some(group)) {
        let file = file.display();
        let _ = writeln!(
            io::stderr(),
            "relayctl: relayd cannot read {file}: {reason}; as root, run chown {user}:{group} {file}"
        );
    }
}

fn refused(reason: &GenerateError) -> Error {
    let hint = match reason {
        GenerateError::Write { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "; create its directory first"
        }
        GenerateError::Write { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "; run this as root"
        }
        _ => "",
    };
    Error::Refused(format!("{reason}{hint}"))
}

/// A `[[dkim]]` table as it is written in the configuration.
pub(super) struct TableEntry<'a> {
    pub(super) domain: &'a Domain,
    pub(super) selector: &'a Selector,
    pub(super) key: &'a Path,
}

impl TableEntry<'_> {
    /// Returns the lines that differ between the keys of one domain.
    pub(super) fn of_key(&self) -> String {
        // The path must be absolute, because the daemon has another working directory.
        let file = absolute(self.key).unwrap_or_else(|_| self.key.to_owned());
        // A path may contain any octets, so it is quoted and escaped as a TOML string.
        let key = toml::Value::from(file.to_string_lossy().as_ref());
        format!("selector = \"{}\"\nkey = {key}", self.selector)
    }
}

impl fmt::Display for TableEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[[dkim]]\ndomain = \"{}\"\n{}",
            self.domain,
            self.of_key()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_entry_is_valid_toml_for_any_file_name() {
        let entry = TableEntry {
            domain: &"a.test".parse().expect("a domain"),
            selector: &"mail".parse().expect("a selector"),
            key: Path::new("/k/a \"b\" \\ 'c'.pem"),
        };
        let table: toml::Table = entry.to_string().parse().expect("TOML");
        let entry = &table["dkim"][0];
        assert_eq!(entry["selector"].as_str(), Some("mail"));
        assert_eq!(entry["key"].as_str(), Some("/k/a \"b\" \\ 'c'.pem"));
    }

    #[test]
    fn a_table_entry_has_an_absolute_path() {
        let entry = TableEntry {
            domain: &"a.test".parse().expect("a domain"),
            selector: &"mail".parse().expect("a selector"),
            key: Path::new("k.pem"),
        };
        let table: toml::Table = entry.of_key().parse().expect("TOML");
        let key = Path::new(table["key"].as_str().expect("a string"));
        assert!(key.is_absolute() && key.ends_with("k.pem"), "{key:?}");
    }
}
