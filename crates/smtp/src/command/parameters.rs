//! The parameters after the paths of MAIL and RCPT (RFC 5321 §4.1.2).

use std::str::FromStr;

use super::CommandError;
use crate::dsn::{DsnRequest, Notify, Orcpt};

/// The supported parameters of MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    /// `SIZE=n`: the size in octets of the message that the client intends to send (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// `RET` and `ENVID` (RFC 3461).
    pub dsn: DsnRequest,
}

/// The supported parameters of RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptParams {
    /// `NOTIFY` (RFC 3461 §4.1).
    pub notify: Notify,
    /// `ORCPT` (RFC 3461 §4.2).
    pub orcpt: Option<Orcpt>,
}

impl MailParams {
    /// Parses the text after the path.
    pub(super) fn parse(verb: &'static str, text: &str) -> Result<Self, CommandError> {
        let mut params = Self::default();
        let bad = CommandError::BadParameter(verb);
        for (name, value) in parameters(text) {
            match name.to_ascii_uppercase().as_str() {
                "SIZE" => params.size = Some(value.and_then(size).ok_or(bad)?),
                "BODY" => params.eight_bit = value.and_then(eight_bit).ok_or(bad)?,
                "SMTPUTF8" if value.is_none() => params.utf8 = true,
                // `AUTH=` names the original author, as the client claims. The value is ignored,
                // which is allowed (RFC 4954 §5).
                "AUTH" if value.is_some_and(is_xtext) => {}
                "RET" => once(&mut params.dsn.ret, value).ok_or(bad)?,
                "ENVID" => once(&mut params.dsn.envid, value).ok_or(bad)?,
                "SMTPUTF8" | "AUTH" => return Err(bad),
                _ => return Err(CommandError::UnknownParameter(verb)),
            }
        }
        Ok(params)
    }
}

impl RcptParams {
    /// Parses the text after the path.
    pub(super) fn parse(verb: &'static str, text: &str) -> Result<Self, CommandError> {
        let (mut notify, mut orcpt) = (None, None);
        let bad = CommandError::BadParameter(verb);
        for (name, value) in parameters(text) {
            match name.to_ascii_uppercase().as_str() {
                "NOTIFY" => once(&mut notify, value).ok_or(bad)?,
                "ORCPT" => once(&mut orcpt, value).ok_or(bad)?,
                _ => return Err(CommandError::UnknownParameter(verb)),
            }
        }
        Ok(Self {
            notify: notify.unwrap_or_default(),
            orcpt,
        })
    }
}

/// Sets a parameter of RFC 3461. Each may come once in a command (§4). Returns `None` if it is
/// repeated or its value is invalid.
fn once<T: FromStr>(param: &mut Option<T>, value: Option<&str>) -> Option<()> {
    let value = value?.parse().ok()?;
    param.replace(value).is_none().then_some(())
}

fn parameters(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        })
}

/// RFC 1870 §4: up to 20 digits. A number that does not fit a `u64` becomes the largest `u64`.
fn size(value: &str) -> Option<u64> {
    let is_number = (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::MAX))
}

/// RFC 6152 §2
fn eight_bit(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("8BITMIME") {
        Some(true)
    } else if value.eq_ignore_ascii_case("7BIT") {
        Some(false)
    } else {
        None
    }
}

/// RFC 3461 §4: printable characters. Any other octet is `+` and two capital hexadecimal digits.
fn is_xtext(value: &str) -> bool {
    let mut parts = value.split('+');
    let is_plain = |text: &str| {
        text.bytes()
            .all(|octet| octet.is_ascii_graphic() && octet != b'=')
    };
    !value.is_empty()
        && parts.next().is_some_and(is_plain)
        && parts.all(|part| {
            let digits = part.as_bytes().iter().take(2);
            let digits = digits.filter(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
            digits.count() == 2 && is_plain(part)
        })
}

#[cfg(test)]
mod tests {
    use super::super::{CommandError, parse};

    #[test]
    fn unknown_parameters_and_bad_values_are_different_errors() {
        let unknown = Err(CommandError::UnknownParameter("MAIL"));
        assert_eq!(parse(b"MAIL FROM:<a@b.test> X=1"), unknown);
        let unknown = Err(CommandError::UnknownParameter("RCPT"));
        assert_eq!(parse(b"RCPT TO:<u@d.test> X=1"), unknown);
        for value in [
            "SIZE=",
            "SIZE=x",
            "SIZE",
            "BODY=BINARY",
            "SMTPUTF8=1",
            "AUTH",
            "AUTH=",
            "AUTH=a=b",
            "AUTH=a+",
            "AUTH=a+3",
            "AUTH=a+3d",
            "AUTH=a+3D+",
            "AUTH=\u{e9}",
            "RET",
            "RET=",
            "RET=ALL",
            "RET=FULL RET=FULL",
            "ENVID",
            "ENVID=",
            "ENVID=a=b",
            "ENVID=a+0A",
            "ENVID=a ENVID=b",
        ] {
            let line = format!("MAIL FROM:<a@b.test> {value}");
            let error = Err(CommandError::BadParameter("MAIL"));
            assert_eq!(parse(line.as_bytes()), error, "{line}");
        }
        for value in [
            "NOTIFY",
            "NOTIFY=",
            "NOTIFY=NEVER,FAILURE",
            "NOTIFY=SUCCESS,",
            "NOTIFY=OFTEN",
            "NOTIFY=NEVER NOTIFY=NEVER",
            "ORCPT",
            "ORCPT=u@d.test",
            "ORCPT=rfc822;",
            "ORCPT=rfc822;u@d.test ORCPT=rfc822;u@d.test",
        ] {
            let line = format!("RCPT TO:<u@d.test> {value}");
            let error = Err(CommandError::BadParameter("RCPT"));
            assert_eq!(parse(line.as_bytes()), error, "{line}");
        }
    }

    #[test]
    fn the_auth_parameter_of_mail_is_parsed_and_ignored() {
        let plain = parse(b"MAIL FROM:<a@b.test>");
        for value in ["<>", "e+3Dmc2@example.com", "a", "+3D"] {
            let line = format!("MAIL FROM:<a@b.test> AUTH={value}");
            assert_eq!(parse(line.as_bytes()), plain, "{line}");
        }
    }
}
