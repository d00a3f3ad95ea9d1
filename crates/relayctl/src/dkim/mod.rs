//! Keys to sign with, and their records in the DNS.

mod entry;
mod genkey;
mod rotate;
mod testkey;

use std::io::Write;

use clap::{Subcommand, ValueEnum};

use crate::Place;
use crate::failure::Failure;

pub(crate) use self::entry::{Entry, published};
pub(crate) use self::genkey::GenkeyArgs;
pub(crate) use self::rotate::{RotateArgs, Rotation, Standing, Step};
pub(crate) use self::testkey::{Tested, TestkeyArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum DkimVerb {
    /// Make a private key, and print the DNS record to publish for it
    Genkey(GenkeyArgs),
    /// Compare the records in the DNS with our keys; exit code 1 unless all are ok
    Testkey(TestkeyArgs),
    /// Replace a key by a new one, step by step: say it again after each
    Rotate(RotateArgs),
}

/// How a new key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    /// RSA with 2048 bits, which every receiver knows
    Rsa,
    /// Short and fast, but not known to all receivers: beside an RSA key, not in its place
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

pub(crate) async fn run(
    verb: &DkimVerb,
    place: &Place,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    match verb {
        DkimVerb::Genkey(args) => genkey::run(args, place, json, out),
        DkimVerb::Testkey(args) => testkey::run(args, place, json, out).await,
        DkimVerb::Rotate(args) => rotate::run(args, place, json, out).await,
    }
}
