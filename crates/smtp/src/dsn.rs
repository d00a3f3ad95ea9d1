//! The parameters of MAIL and RCPT for delivery status notifications (RFC 3461).
//!
//! Each value is parsed and limited once. The original text is kept, because it must reach the next
//! host unchanged (RFC 3461 §5.2.1). Methods return the decoded value; it is printable, so a report
//! or a log can contain it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::is_utf8_letter;

/// The most octets of the value of `ENVID`, as it is written (RFC 3461 §4.4).
const MAX_ENVID: usize = 100;

/// Why a value of a DSN parameter is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DsnError {
    /// `RET` is not `FULL` or `HDRS`.
    #[error("RET is FULL or HDRS")]
    Ret,
    /// `NOTIFY` is not `NEVER` or a list of `SUCCESS`, `FAILURE` and `DELAY`.
    #[error("NOTIFY is NEVER or a list of SUCCESS, FAILURE and DELAY")]
    Notify,
    /// `ENVID` is not xtext of printable ASCII.
    #[error("bad ENVID")]
    EnvelopeId,
    /// `ORCPT` has no address type, or an address that its type does not allow.
    #[error("bad ORCPT")]
    Orcpt,
    /// `ENVID` has more than 100 octets, or `ORCPT` has more than 500.
    #[error("parameter too long")]
    TooLong,
}

/// The parameters for the message as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DsnRequest {
    /// `RET`: how much of the message a failure report contains.
    pub ret: Option<Ret>,
    /// `ENVID`: the sender's identifier for this transaction.
    pub envid: Option<EnvelopeId>,
}

/// How much of the message a failure report contains (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ret {
    /// `FULL`: all of it.
    Full,
    /// `HDRS`: only its header section.
    Headers,
}

impl FromStr for Ret {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, DsnError> {
        if text.eq_ignore_ascii_case("FULL") {
            Ok(Self::Full)
        } else if text.eq_ignore_ascii_case("HDRS") {
            Ok(Self::Headers)
        } else {
            Err(DsnError::Ret)
        }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

/// When the sender wants reports for a recipient (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Notify {
    /// The parameter was not given. Failures are reported; each relay decides about delays.
    #[default]
    Unspecified,
    /// `NEVER`: nothing is reported.
    Never,
    /// Only these events are reported.
    On(Occasions),
}

/// At least one of `SUCCESS`, `FAILURE` and `DELAY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(bool, bool, bool)", into = "(bool, bool, bool)")]
pub struct Occasions {
    success: bool,
    failure: bool,
    delay: bool,
}

impl Notify {
    /// Whether a delivery is to be reported.
    pub fn on_success(self) -> bool {
        matches!(self, Self::On(Occasions { success: true, .. }))
    }

    /// Whether a failure is to be reported.
    pub fn on_failure(self) -> bool {
        match self {
            Self::Unspecified => true,
            Self::Never => false,
            Self::On(occasions) => occasions.failure,
        }
    }

    /// Whether a delay is to be reported. `by_default` is the operator's choice for senders that
    /// did not give the parameter.
    pub fn on_delay(self, by_default: bool) -> bool {
        match self {
            Self::Unspecified => by_default,
            Self::Never => false,
            Self::On(occasions) => occasions.delay,
        }
    }
}

impl Occasions {
    /// Makes a set. Returns `None` if it would be empty.
    pub fn new(success: bool, failure: bool, delay: bool) -> Option<Self> {
        (success || failure || delay).then_some(Self {
            success,
            failure,
            delay,
        })
    }
}

impl TryFrom<(bool, bool, bool)> for Occasions {
    type Error = DsnError;

    fn try_from((success, failure, delay): (bool, bool, bool)) -> Result<Self, DsnError> {
        Self::new(success, failure, delay).ok_or(DsnError::Notify)
    }
}

impl From<Occasions> for (bool, bool, bool) {
    fn from(occasions: Occasions) -> Self {
        (occasions.success, occasions.failure, occasions.delay)
    }
}

impl FromStr for Notify {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, DsnError> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in text.split(',') {
            let occasion = match word {
                _ if word.eq_ignore_ascii_case("SUCCESS") => &mut success,
                _ if word.eq_ignore_ascii_case("FAILURE") => &mut failure,
                _ if word.eq_ignore_ascii_case("DELAY") => &mut delay,
                _ => return Err(DsnError::Notify),
            };
            *occasion = true;
        }
        let occasions = Occasions::new(success, failure, delay);
        occasions.map(Self::On).ok_or(DsnError::Notify)
    }
}

/// Formats the value of the parameter. The text is empty if the parameter was not given; it is then
/// left out.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let occasions = match self {
            Self::Unspecified => return Ok(()),
            Self::Never => return f.write_str("NEVER"),
            Self::On(occasions) => occasions,
        };
        let all = [
            (occasions.success, "SUCCESS"),
            (occasions.failure, "FAILURE"),
            (occasions.delay, "DELAY"),
        ];
        let words: Vec<&str> = all.iter().filter(|(is, _)| *is).map(|(_, w)| *w).collect();
        f.write_str(&words.join(","))
    }
}

/// The sender's identifier for a transaction (RFC 3461 §4.4), kept as the original xtext.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EnvelopeId(Box<str>);

impl EnvelopeId {
    /// The original text: the value of the parameter for the next host.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The decoded value: printable ASCII, for `Original-Envelope-Id` (RFC 3464 §2.2.1).
    pub fn decoded(&self) -> String {
        decode_xtext(&self.0).unwrap_or_default()
    }
}

impl FromStr for EnvelopeId {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, DsnError> {
        if text.len() > MAX_ENVID {
            return Err(DsnError::TooLong);
        }
        match decode_xtext(text) {
            Some(decoded) if !decoded.is_empty() => Ok(Self(text.into())),
            _ => Err(DsnError::EnvelopeId),
        }
    }
}

/// The original recipient (RFC 3461 §4.2), such as `rfc822;user@example.org`, kept as it was
/// written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Orcpt {
    text: Box<str>,
    semicolon: u16,
}

impl Orcpt {
    /// The most octets of the parameter's value, as it is written (RFC 3461 §4.2).
    pub const MAX: usize = 500;

    /// The original text: the value of the parameter for the next host.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address type: `rfc822`, `utf-8` (RFC 6533) or another, with its case unchanged.
    pub fn address_type(&self) -> &str {
        &self.text[..usize::from(self.semicolon)]
    }

    /// The decoded address. It is printable, and ASCII unless the type is `utf-8`.
    pub fn address(&self) -> String {
        decode(self.address_type(), self.written()).unwrap_or_default()
    }

    /// Whether the original form needs a peer that offers SMTPUTF8 (RFC 6533 §3).
    pub fn needs_utf8(&self) -> bool {
        !self.text.is_ascii()
    }

    /// The value in ASCII: other characters become `\x{...}` (RFC 6533 §3, `utf-8-addr-xtext`).
    pub fn to_ascii(&self) -> String {
        self.text
            .chars()
            .map(|c| match c {
                ' '..='~' => c.to_string(),
                beyond => format!("\\x{{{:02X}}}", u32::from(beyond)),
            })
            .collect()
    }

    fn written(&self) -> &str {
        &self.text[usize::from(self.semicolon) + 1..]
    }
}

impl FromStr for Orcpt {
    type Err = DsnError;

    /// An address of the type `utf-8` may contain characters beyond ASCII. The caller checks with
    /// [`Orcpt::needs_utf8`] whether this transaction allows them.
    fn from_str(text: &str) -> Result<Self, DsnError> {
        if text.len() > Self::MAX {
            return Err(DsnError::TooLong);
        }
        let (address_type, written) = text.split_once(';').ok_or(DsnError::Orcpt)?;
        // RFC 3464 §2.1.2: an atom.
        let is_atom = !address_type.is_empty()
            && address_type
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&c));
        let address = decode(address_type, written).filter(|a| is_atom && !a.is_empty());
        address.ok_or(DsnError::Orcpt)?;
        let semicolon = u16::try_from(address_type.len()).map_err(|_| DsnError::TooLong)?;
        Ok(Self {
            text: text.into(),
            semicolon,
        })
    }
}

/// Decodes an address of this type. Returns `None` if it is not valid.
fn decode(address_type: &str, written: &str) -> Option<String> {
    if address_type.eq_ignore_ascii_case("utf-8") {
        decode_utf8_address(written)
    } else {
        decode_xtext(written)
    }
}

/// RFC 3461 §4: ASCII from `!` to `~` except `+` and `=`, and `+` with two capital hexadecimal
/// digits for any octet. The decoded text must be printable (§4.2, §4.4).
fn decode_xtext(text: &str) -> Option<String> {
    let (mut decoded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '+' => {
                let digits = rest.get(..2)?;
                let octet = char::from(u8::try_from(capital_hexadecimal(digits)?).ok()?);
                decoded.push(Some(octet).filter(|c| matches!(c, ' '..='~'))?);
                rest = &rest[2..];
            }
            '=' => return None,
            '!'..='~' => decoded.push(c),
            _ => return None,
        }
    }
    Some(decoded)
}

/// RFC 6533 §3, `utf-8-addr-xtext` and `utf-8-addr-unitext`: ASCII except `+`, `=` and `\`,
/// characters beyond ASCII, and `\x{...}` with the code point in capital hexadecimal digits.
fn decode_utf8_address(text: &str) -> Option<String> {
    let (mut decoded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let (digits, behind) = rest.strip_prefix("x{")?.split_once('}')?;
                let fits = (2..=6).contains(&digits.len());
                let point = capital_hexadecimal(digits).filter(|_| fits)?;
                decoded.push(char::from_u32(point).filter(|c| is_printable(*c))?);
                rest = behind;
            }
            '+' | '=' => return None,
            c if c != ' ' && is_printable(c) => decoded.push(c),
            _ => return None,
        }
    }
    Some(decoded)
}

/// A report must show an address as it is.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || is_utf8_letter(c)
}

fn capital_hexadecimal(digits: &str) -> Option<u32> {
    let is_valid = !digits.is_empty()
        && digits
            .bytes()
            .all(|c| matches!(c, b'0'..=b'9' | b'A'..=b'F'));
    u32::from_str_radix(digits, 16).ok().filter(|_| is_valid)
}

macro_rules! kept_as_written {
    ($($value:ty),*) => {$(
        impl fmt::Display for $value {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl From<$value> for String {
            fn from(value: $value) -> String {
                value.as_str().to_owned()
            }
        }
        impl TryFrom<String> for $value {
            type Error = DsnError;
            fn try_from(text: String) -> Result<Self, DsnError> {
                text.parse()
            }
        }
    )*};
}
kept_as_written!(EnvelopeId, Orcpt);

#[cfg(test)]
mod tests;
