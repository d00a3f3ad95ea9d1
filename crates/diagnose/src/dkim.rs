//! Creates DKIM keys and checks their records in the DNS.

mod genkey;
mod rotate;
mod rotation_step;
mod show;
mod signing_entry;
mod tested;
mod testkey;

use std::io::Write;

use clap::{Subcommand, ValueEnum};

use crate::config::ConfigFile;
use crate::error::Error;

pub use self::genkey::GenkeyArgs;
pub use self::rotate::RotateArgs;
pub(crate) use self::signing_entry::{ConfiguredKey, problem, published, usable_entries};
pub use self::testkey::TestkeyArgs;

/// The verbs of `dkim`.
#[derive(Debug, Subcommand)]
pub enum DkimVerb {
    /// Generate a private key and print the DNS record to publish
    Genkey(GenkeyArgs),
    /// Compare the records in the DNS with our keys
    Testkey(TestkeyArgs),
    /// Replace a key with a new one, step by step; run it again after each step
    Rotate(RotateArgs),
}

/// How a new key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    /// RSA with 2048 bits, which every receiver supports
    Rsa,
    /// Ed25519, which not all receivers support; use it in addition to an RSA key
    Ed25519,
}

impl From<Algorithm> for relay_dkim::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rsa => Self::Rsa,
            Algorithm::Ed25519 => Self::Ed25519,
        }
    }
}

/// Runs one of the verbs and prints the result.
pub async fn run(
    verb: &DkimVerb,
    config: &ConfigFile,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    match verb {
        DkimVerb::Genkey(args) => genkey::run(args, config, json, out),
        DkimVerb::Testkey(args) => testkey::run(args, config, json, out).await,
        DkimVerb::Rotate(args) => rotate::run(args, config, json, out).await,
    }
}
