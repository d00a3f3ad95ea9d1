//! Which fields of a header section are signed.

use crate::relaxed::write_relaxed;
use relay_smtp::header::Field;

/// The fields that are signed by default: those that a reader sees or a program acts on (RFC 6376
/// §5.4.1). Resent fields are not signed, because everyone who resends a message adds new ones.
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

/// Fields of the default list that nobody may add if the message has none. A server on the way may
/// have a reason to add Date or MIME-Version, and a mailing list may add Sender, but none of these
/// fields. A new Content-Type would change the meaning of the same body (RFC 6376 §8.2).
const SEALED: &[&str] = &["From", "Reply-To", "To", "Cc", "Subject", "Content-Type"];

/// Fields that servers add, change or remove (RFC 6376 §5.4), or that do not belong to the message.
const UNSIGNABLE: &[&str] = &[
    "Return-Path",
    "Received",
    "DKIM-Signature",
    "Authentication-Results",
    "Bcc",
    "Resent-Bcc",
];

/// The most fields of one name that are listed, so that no header section makes a signature long.
/// Fields above them are left out. RFC 5322 §3.6 allows one field of most names.
const MAX_OF_A_NAME: usize = 20;

/// The names of the fields to sign. From is always among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderList {
    names: Vec<String>,
    /// The fields that nobody may add to a message that has none.
    sealed: Sealed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sealed {
    /// Those of [`SEALED`].
    Some,
    /// All names of the operator's own list.
    All,
}

/// Why a list of field names cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderListError {
    /// The text is not a field name (RFC 5322 §2.2).
    #[error("`{0}` is not the name of a header field")]
    NotAName(String),
    /// The field changes on the way, which would break the signature.
    #[error("`{0}` is changed or removed on the way, so it cannot be signed")]
    Unsignable(String),
}

/// The signed fields of one header section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selected {
    /// The names in the order of signing. One more than the message has prevents additions (RFC
    /// 6376 §8.15).
    pub(crate) names: Vec<String>,
    /// The fields in the same order, in the relaxed form.
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
    /// Creates a list of the operator's own names. From is added if it is missing (RFC 6376 §5.4).
    /// Nobody may add a listed field that the message does not have.
    pub fn new(
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, HeaderListError> {
        let mut list = vec!["From".to_owned()];
        for name in names {
            let name = name.into();
            // A semicolon is allowed in a field name, but would end the list in the signature.
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

    /// Selects the fields to sign. Fields of one name are listed from the last to the first,
    /// because verifiers take them in that order (RFC 6376 §5.4.2).
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
    fn signed_fields_are_listed_once_more_than_the_message_has_them() {
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
    fn a_missing_field_is_sealed_only_if_nobody_has_a_reason_to_add_it() {
        let (names, _) = select(&HeaderList::default(), "From: a\r\n");
        assert_eq!(names, "From:From:Reply-To:To:Cc:Subject:Content-Type");
    }

    #[test]
    fn every_missing_field_of_an_operators_list_is_sealed() {
        let list = HeaderList::new(["From", "Sender", "List-Id"]).unwrap();
        assert_eq!(select(&list, "From: a\r\n").0, "From:From:Sender:List-Id");
    }

    #[test]
    fn many_fields_of_one_name_do_not_make_the_list_long() {
        let header = format!("From: a\r\n{}", "To: b\r\n".repeat(1000));
        let (names, canonical) = select(&HeaderList::new(["To"]).unwrap(), &header);
        assert_eq!(names.matches("To").count(), MAX_OF_A_NAME);
        assert_eq!(canonical.matches("to:b").count(), MAX_OF_A_NAME);
    }

    #[test]
    fn a_list_accepts_only_names_that_can_be_signed() {
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
