//! The tables for changes to a message: signatures and rewritten addresses.

use std::path::PathBuf;
use std::time::Duration;

use relay_smtp::Mailbox;
use relay_smtp::dns_name::{Domain, Selector};
use relay_smtp::pattern::AddressPattern;
use serde::Deserialize;

use crate::values::{Never, Text};

/// `[[dkim]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dkim {
    /// `dkim.domain`
    pub domain: Text<Domain>,
    /// `dkim.selector`
    pub selector: Text<Selector>,
    /// `dkim.key`
    pub key: Text<PathBuf>,
    /// `dkim.subdomains`
    #[serde(default)]
    pub subdomains: bool,
    /// `dkim.headers`
    pub headers: Option<Vec<String>>,
    /// `dkim.canonicalization`
    #[serde(default)]
    pub canonicalization: Canonicalization,
    /// `dkim.expire`
    #[serde(default = "never")]
    pub expire: Text<Never<Duration>>,
}

fn never() -> Text<Never<Duration>> {
    Text(Never(None))
}

/// `dkim.canonicalization`: that of the header section, which is always relaxed, and that of the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Canonicalization {
    /// `relaxed/relaxed`
    #[default]
    #[serde(rename = "relaxed/relaxed")]
    Relaxed,
    /// `relaxed/simple`
    #[serde(rename = "relaxed/simple")]
    Simple,
}

/// `[rewrite]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rewrite {
    /// `rewrite.domain`
    pub domain: Option<Text<Domain>>,
    /// `rewrite.from`
    pub from: Vec<Replacement>,
}

/// One pair of `rewrite.from`: the addresses to replace, and the address to use instead.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(expecting = "a pair such as [\"root@*\", \"ops@example.org\"]")]
pub struct Replacement(
    /// The addresses to replace.
    pub Text<AddressPattern>,
    /// The address to use instead.
    pub Text<Mailbox>,
    /// A third element. It is an error, but serde would ignore it if the type had only two.
    #[serde(default)]
    pub Option<String>,
);
