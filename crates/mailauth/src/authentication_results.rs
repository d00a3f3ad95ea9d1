//! The Authentication-Results field (RFC 8601).

use std::fmt::{self, Write as _};

use mail_auth::SpfResult as SpfVerdict;
use relay_dkim::{AuthorError, SignatureError};

use crate::dmarc::{Alignment, Disposition, DmarcResult};
use crate::signatures::{SignatureResult, SignatureStatus};
use crate::spf::{Identity, SpfResult};

/// The longest value of a property: no domain is longer, and few addresses are.
const MAX_VALUE: usize = 253;

/// The results of all checks of a message.
pub(crate) struct Results<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) spf: &'a SpfResult,
    pub(crate) signatures: &'a [SignatureResult],
    /// One for each domain of the From field.
    pub(crate) dmarc: Result<&'a [DmarcResult], AuthorError>,
    /// What happens to the message.
    pub(crate) disposition: Disposition,
}

impl Results<'_> {
    /// Formats the field, with each result on its own line.
    pub(crate) fn field(&self) -> String {
        let mut field = format!("Authentication-Results: {}", self.hostname);
        self.write(&mut field)
            .expect("writing to a String cannot fail");
        field.push_str("\r\n");
        field
    }

    fn write(&self, field: &mut String) -> fmt::Result {
        write!(field, ";\r\n\tspf={}", of_spf(self.spf.result))?;
        match &self.spf.identity {
            Identity::MailFrom(address) => {
                let domain = self.spf.identity.domain();
                let shown = plain(address).or_else(|| plain(domain));
                property(field, "smtp.mailfrom", shown)?;
            }
            Identity::Hello(name) => property(field, "smtp.helo", plain(name))?,
        }
        if self.signatures.is_empty() {
            field.push_str(";\r\n\tdkim=none");
        }
        for signature in self.signatures {
            write_signature(field, signature)?;
        }
        match self.dmarc {
            Err(reason) => write!(field, ";\r\n\tdmarc=permerror reason=\"{reason}\""),
            Ok(judged) => judged.iter().try_for_each(|judged| {
                let (policy, done) = (judged.policy.as_str(), self.disposition.as_str());
                write!(field, ";\r\n\tdmarc={}", of_dmarc(judged.result))?;
                match judged.result {
                    Alignment::Pass | Alignment::Fail => {
                        write!(field, " (p={policy} dis={done})")?;
                    }
                    Alignment::None | Alignment::TempError | Alignment::PermError => {}
                }
                property(field, "header.from", Some(judged.author.as_str()))
            }),
        }
    }
}

fn write_signature(field: &mut String, verified: &SignatureResult) -> fmt::Result {
    write!(field, ";\r\n\tdkim={}", of_signature(verified.status))?;
    if let SignatureStatus::Failed(flaw) = verified.status {
        write!(field, " reason=\"{flaw}\"")?;
    }
    let claim = &verified.claim;
    property(field, "header.d", claim.domain.as_deref().and_then(plain))?;
    property(field, "header.s", claim.selector.as_deref().and_then(plain))
}

fn property(field: &mut String, name: &str, value: Option<&str>) -> fmt::Result {
    match value {
        Some(value) => write!(field, " {name}={value}"),
        None => Ok(()),
    }
}

/// Returns the text if it may be written into the field as it is. Text from the message that would need
/// quoting is left out.
fn plain(text: &str) -> Option<&str> {
    let fits = (1..=MAX_VALUE).contains(&text.len());
    let is_plain = text
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.@".contains(&c));
    (fits && is_plain).then_some(text)
}

/// RFC 8601 §2.7.2
pub(crate) fn of_spf(result: SpfVerdict) -> &'static str {
    match result {
        SpfVerdict::Pass => "pass",
        SpfVerdict::Fail => "fail",
        SpfVerdict::SoftFail => "softfail",
        SpfVerdict::Neutral => "neutral",
        SpfVerdict::TempError => "temperror",
        SpfVerdict::PermError => "permerror",
        SpfVerdict::None => "none",
    }
}

/// RFC 8601 §2.7.1
fn of_signature(status: SignatureStatus) -> &'static str {
    match status {
        SignatureStatus::Pass => "pass",
        SignatureStatus::Unknown => "temperror",
        SignatureStatus::Failed(flaw) => match flaw {
            SignatureError::Syntax | SignatureError::Unsupported => "neutral",
            SignatureError::Sha1 | SignatureError::PartOfBody | SignatureError::WeakKey => "policy",
            SignatureError::AuthorUnsigned
            | SignatureError::Identity
            | SignatureError::NoKey
            | SignatureError::Revoked
            | SignatureError::WrongKey => "permerror",
            SignatureError::Expired | SignatureError::BodyChanged | SignatureError::Forged => {
                "fail"
            }
        },
    }
}

/// The result of the best signature: `pass` if one passes, else the result of the first.
pub(crate) fn of_signatures(signatures: &[SignatureResult]) -> &'static str {
    let passing = signatures
        .iter()
        .find(|verified| verified.status == SignatureStatus::Pass);
    let best = passing.or(signatures.first());
    best.map_or("none", |verified| of_signature(verified.status))
}

/// RFC 7489 §11.2
pub(crate) fn of_dmarc(result: Alignment) -> &'static str {
    match result {
        Alignment::Pass => "pass",
        Alignment::Fail => "fail",
        Alignment::None => "none",
        Alignment::TempError => "temperror",
        Alignment::PermError => "permerror",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_client_cannot_end_a_line_or_a_value() {
        for (text, shown) in [
            ("a.b+c=d@else.test", true),
            ("\"a; dkim=pass\"@else.test", false),
            ("a b", false),
            ("a;b", false),
            ("a\r\nX: y", false),
            ("a(b", false),
            ("ä@else.test", false),
            ("", false),
        ] {
            assert_eq!(plain(text).is_some(), shown, "{text:?}");
        }
        assert_eq!(plain(&"a".repeat(MAX_VALUE + 1)), None);
    }
}
