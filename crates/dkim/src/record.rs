//! The DNS record of a key.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::key::PublicKey;
use relay_smtp::dns_name::{Domain, Selector};

/// The longest string in a TXT record, in octets (RFC 1035 §3.3).
const MAX_STRING: usize = 255;

/// A TXT record to publish. As JSON it is an object of `name`, `type`, `value` and `strings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The name of the record without a trailing dot.
    pub name: String,
    /// Always `TXT`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The whole text.
    pub value: String,
    /// The text, split into strings of at most 255 octets.
    pub strings: Vec<String>,
}

impl Record {
    /// Creates the record of a key (RFC 6376 §3.6.1).
    pub fn new(key: &PublicKey, domain: &Domain, selector: &Selector) -> Self {
        let value = format!(
            "v=DKIM1; k={}; p={}",
            key.algorithm(),
            STANDARD.encode(&key.octets)
        );
        Self {
            name: Self::name(domain, selector),
            kind: "TXT",
            strings: strings(&value),
            value,
        }
    }

    /// The name of a key's record, without a trailing dot (RFC 6376 §3.6.2.1).
    pub fn name(domain: &Domain, selector: &Selector) -> String {
        format!("{selector}._domainkey.{domain}")
    }

    /// The record as one line of a zone file (RFC 1035 §5.1).
    pub fn line(&self) -> String {
        let strings = self.strings.iter().map(|string| format!(" \"{string}\""));
        format!("{}. IN TXT{}", self.name, strings.collect::<String>())
    }

    /// The record as one or more lines of a zone file (RFC 1035 §5.1).
    pub fn zone_file(&self) -> String {
        let mut text = format!("{}. IN TXT (", self.name);
        for string in &self.strings {
            write!(text, "\n\t\"{string}\"").expect("writing to a String cannot fail");
        }
        text.push_str(" )\n");
        text
    }
}

fn strings(value: &str) -> Vec<String> {
    value
        .as_bytes()
        .chunks(MAX_STRING)
        .map(|string| String::from_utf8_lossy(string).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Algorithm;

    fn record(algorithm: Algorithm, octets: &[u8]) -> Record {
        let key = PublicKey {
            algorithm,
            octets: octets.to_vec(),
        };
        Record::new(
            &key,
            &"example.org".parse().unwrap(),
            &"mail".parse().unwrap(),
        )
    }

    #[test]
    fn a_short_key_is_one_string() {
        let record = record(Algorithm::Ed25519, &[0; 32]);
        let value = format!("v=DKIM1; k=ed25519; p={}=", "A".repeat(43));
        assert_eq!(
            record.zone_file(),
            format!("mail._domainkey.example.org. IN TXT (\n\t\"{value}\" )\n")
        );
        assert_eq!(
            serde_json::to_value(&record).unwrap(),
            serde_json::json!({
                "name": "mail._domainkey.example.org",
                "type": "TXT",
                "value": value,
                "strings": [value],
            })
        );
    }

    #[test]
    fn a_long_key_is_split_into_strings_that_the_dns_can_carry() {
        let record = record(Algorithm::Rsa, &[7; 294]);
        assert_eq!(record.strings.len(), 2);
        assert_eq!(record.strings[0].len(), 255);
        assert_eq!(record.strings.concat(), record.value);
        assert_eq!(record.zone_file().matches('"').count(), 4);
    }

    #[test]
    fn the_line_of_a_long_key_can_be_pasted() {
        let record = record(Algorithm::Rsa, &[7; 294]);
        let line = record.line();
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings, record.strings);
        assert!(strings.len() == 2 && !line.contains('\n'), "{line}");
        assert!(line.starts_with("mail._domainkey.example.org. IN TXT \"v=DKIM1;"));
    }
}
