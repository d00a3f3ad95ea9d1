//! Which fields of a header section are signed.

use crate::relaxed::write_relaxed;
use relay_smtp::header::Field;

/// What is signed unless the operator says otherwise: what a reader sees or a program acts on (RFC 6376
/// §5.4.1). Resent fields are not among them, for whoever resends a message puts more of them on top.
const DEFAULT: &[&str] = &[
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];

/// What nobody may add to a message that has none; others of the usual list may be added if there was
/// none. A mailer on the way has reason to add a Date or a MIME-Version, and a mailing list a Sender, but
/// not one of these; a Content-Type would make something else of the same body (RFC 6376 §8.2).
const SEALED: &[&str] = &["From", "Reply-To", "To", "Cc", "Subject", "Content-Type"];

/// What servers on the way add, change or remove (RFC 6376 §5.4), or what is no part of the message.
const UNSIGNABLE: &[&str] = &[
    "Return-Path",
    "Received",
    "DKIM-Signature",
    "Authentication-Results",
    "Bcc",
    "Resent-Bcc",
];

/// Fields of one name that are listed at most, so that no header section makes a signature long. Those
/// above are left out; RFC 5322 §3.6 allows one of each.
const MAX_OF_A_NAME: usize = 20;

/// The names of the fields to sign; From is always among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderList {
    names: Vec<String>,
    /// Nobody may add these to a message that has none.
    sealed: Sealed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sealed {
    /// Of the usual names, those that nobody on the way has reason to add.
    Some,
    /// The operator's own, all: who names a field wants it to be as it is.
    All,
}

/// Why a list of names cannot be signed by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderListError {
    /// No name of a field (RFC 5322 §2.2).
    #[error("`{0}` is no name of a header field")]
    NotAName(String),
    /// Its signature would break on the way.
    #[error("`{0}` is changed or removed on the way, so it cannot be signed")]
    Unsignable(String),
}

/// What of one header section is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selected {
    /// The names in the signature's order, one more than there are fields to keep others out
    /// (RFC 6376 §8.15).
    pub(crate) names: Vec<String>,
    /// The fields in the same order and in the relaxed form.
    pub(crate) canonical: Vec<u8>,
}

impl Default for HeaderList {
    fn default() -> Self {
        Self {
            names: DEFAULT.iter().map(|&name| name.to_owned()).collect(),
            sealed: Sealed::Some,
        }
    }
}

impl HeaderList {
    /// A list of the operator's own; From is put in front if it is missing (RFC 6376 §5.4). What of it a
    /// message does not have, nobody may add.
    pub fn new(
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, HeaderListError> {
        let mut list = vec!["From".to_owned()];
        for name in names {
            let name = name.into();
            // A semicolon is fine in a field's name, but would end the signature's list.
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|c| c.is_ascii_graphic() && c != b':' && c != b';')
            {
                return Err(HeaderListError::NotAName(name));
            }
            if is_among(UNSIGNABLE, &name) {
                return Err(HeaderListError::Unsignable(name));
            }
            if !list.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                list.push(name);
            }
        }
        Ok(Self {
            names: list,
            sealed: Sealed::All,
        })
    }

    /// Verifiers take the fields of one name from the last one up (RFC 6376 §5.4.2), so they are
    /// listed that way.
    pub(crate) fn select(&self, fields: &[Field<'_>]) -> Selected {
        let mut selected = Selected::default();
        for name in &self.names {
            let mut listed = 0;
            let mut more = false;
            for field in fields.iter().rev().filter(|field| field.is(name)) {
                if listed == MAX_OF_A_NAME {
                    more = true;
                    break;
                }
                listed += 1;
                write_relaxed(field, &mut selected.canonical);
                selected.canonical.extend_from_slice(b"\r\n");
            }
            let is_sealed = self.sealed == Sealed::All || is_among(SEALED, name);
            let is_oversigned = !more && (listed > 0 || is_sealed);
            let times = listed + usize::from(is_oversigned);
            selected
                .names
                .extend(std::iter::repeat_n(name.clone(), times));
        }
        selected
    }
}

fn is_among(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_smtp::header::fields;

    fn select(list: &HeaderList, header: &str) -> (String, String) {
        let fields: Vec<_> = fields(header.as_bytes()).collect();
        let Selected { names, canonical } = list.select(&fields);
        (names.join(":"), String::from_utf8(canonical).unwrap())
    }

    #[test]
    fn what_is_signed_is_listed_once_more_than_it_is_there() {
        let list = HeaderList::new(["subject", "Date", "X"]).unwrap();
        let header = "Subject: 1\r\nFrom: a\r\nSUBJECT: 2\r\nX: y\r\n";
        assert_eq!(
            select(&list, header),
            (
                "From:From:subject:subject:subject:Date:X:X".into(),
                "from:a\r\nsubject:2\r\nsubject:1\r\nx:y\r\n".into()
            )
        );
    }

    #[test]
    fn what_is_missing_is_sealed_only_where_nobody_has_reason_to_add_it() {
        let (names, _) = select(&HeaderList::default(), "From: a\r\n");
        assert_eq!(names, "From:From:Reply-To:To:Cc:Subject:Content-Type");
    }

    #[test]
    fn nobody_adds_a_field_that_the_operator_has_signed() {
        let list = HeaderList::new(["From", "Sender", "List-Id"]).unwrap();
        assert_eq!(select(&list, "From: a\r\n").0, "From:From:Sender:List-Id");
    }

    #[test]
    fn no_header_section_makes_the_list_long() {
        let header = format!("From: a\r\n{}", "To: b\r\n".repeat(1000));
        let (names, canonical) = select(&HeaderList::new(["To"]).unwrap(), &header);
        assert_eq!(names.matches("To").count(), MAX_OF_A_NAME);
        assert_eq!(canonical.matches("to:b").count(), MAX_OF_A_NAME);
    }

    #[test]
    fn a_list_names_fields_that_can_be_signed() {
        let unsignable = |name: &str| Err(HeaderListError::Unsignable(name.into()));
        let not_a_name = |name: &str| Err(HeaderListError::NotAName(name.into()));
        for (name, list) in [
            ("FROM", HeaderList::new(["From"])),
            ("received", unsignable("received")),
            ("DKIM-Signature", unsignable("DKIM-Signature")),
            ("a b", not_a_name("a b")),
            ("a;b", not_a_name("a;b")),
            ("a:b", not_a_name("a:b")),
            ("", not_a_name("")),
            ("ä", not_a_name("ä")),
        ] {
            assert_eq!(HeaderList::new([name]), list);
        }
    }
}
