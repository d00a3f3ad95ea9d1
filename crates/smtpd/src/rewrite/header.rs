//! Applies the rewriting rules to a header section.

use std::borrow::Cow;
use std::ops::Range;

use relay_smtp::Mailbox;
use relay_smtp::address_list::{Address, addresses};

use super::{Rewriting, TooLong};
use relay_smtp::header::{Field, fields};

/// The fields whose addresses are completed.
const COMPLETED: [&str; 5] = ["From", "Sender", "Reply-To", "To", "Cc"];
/// The fields whose addresses are replaced.
const AUTHOR: &str = "From";

pub(super) fn rewrite<'a>(
    rules: &Rewriting,
    section: &'a [u8],
    most: usize,
) -> Result<Cow<'a, [u8]>, TooLong> {
    let mut edited = Edited {
        old: section,
        new: Vec::new(),
        done: 0,
        most,
    };
    let mut start = 0;
    for field in fields(section) {
        if COMPLETED.iter().any(|name| field.is(name)) {
            edited.field(rules, &field, start)?;
        }
        start += field.octets.len();
    }
    Ok(edited.finish())
}

/// The text that replaces an address, or follows a bare one.
fn rewritten(
    rules: &Rewriting,
    field: &Field<'_>,
    value: &[u8],
    address: &Address,
) -> Option<(Range<usize>, String)> {
    let local_part = address.local_part_text(value)?;
    let is_author = field.is(AUTHOR);
    let mailbox: Mailbox = match &address.domain {
        Some(_) if is_author => {
            let domain = address.domain_text(value)?;
            format!("{local_part}@{domain}").parse().ok()?
        }
        Some(_) => return None,
        // An encoded word without an address (RFC 2047 §5) looks like a bare address.
        None if local_part.starts_with("=?") && local_part.ends_with("?=") => return None,
        None => rules.completed(&local_part)?,
    };
    let other = rules.stand_in(&mailbox).filter(|_| is_author);
    let end = address.local_part.end;
    match (other, &address.domain) {
        (Some(other), _) => Some((address.whole.clone(), other.to_string())),
        (None, None) => Some((end..end, format!("@{}", mailbox.domain()))),
        (None, Some(_)) => None,
    }
}

/// A text that is being copied with changes.
struct Edited<'a> {
    old: &'a [u8],
    new: Vec<u8>,
    /// How much of the old text has been copied.
    done: usize,
    most: usize,
}

impl<'a> Edited<'a> {
    /// Rewrites the addresses of a field. `start` is where the field begins.
    fn field(&mut self, rules: &Rewriting, field: &Field<'_>, start: usize) -> Result<(), TooLong> {
        let value = field.value;
        let offset = start + field.prefix_length();
        for address in addresses(value) {
            if let Some((place, text)) = rewritten(rules, field, value, &address) {
                self.put(offset + place.start..offset + place.end, &text)?;
            }
        }
        Ok(())
    }

    /// Replaces this range with `text`. Ranges must come in order.
    fn put(&mut self, place: Range<usize>, text: &str) -> Result<(), TooLong> {
        self.new
            .extend_from_slice(&self.old[self.done..place.start]);
        self.new.extend_from_slice(text.as_bytes());
        self.done = place.end;
        if self.new.len() + (self.old.len() - self.done) > self.most {
            return Err(TooLong);
        }
        Ok(())
    }

    fn finish(mut self) -> Cow<'a, [u8]> {
        if self.done == 0 {
            return Cow::Borrowed(self.old);
        }
        self.new.extend_from_slice(&self.old[self.done..]);
        Cow::Owned(self.new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Replacement;
    use super::*;

    fn rules() -> Rewriting {
        let rule = |(pattern, sender): (&str, &str)| Replacement {
            pattern: pattern.parse().expect(pattern),
            sender: sender.parse().expect(sender),
        };
        let from = [
            ("root@*", "ops@ours.test"),
            ("*@.hosts.test", "hosts@ours.test"),
            ("ops@ours.test", "nobody@else.test"),
        ];
        Rewriting {
            domain: Some("ours.test".into()),
            from: from.map(rule).into(),
        }
    }

    fn rewritten(header: &str) -> String {
        let made = rules().header(header.as_bytes(), 10_000).expect("short");
        String::from_utf8(made.into_owned()).expect("text")
    }

    #[test]
    fn bare_addresses_are_completed_and_nothing_else_changes() {
        for (field, expected) in [
            ("To: u", "To: u@ours.test"),
            ("to : u", "to : u@ours.test"),
            (
                "Cc: \"A, B\" <u>, v@w.test",
                "Cc: \"A, B\" <u@ours.test>, v@w.test",
            ),
            (
                "Reply-To: u (x, y),v",
                "Reply-To: u@ours.test (x, y),v@ours.test",
            ),
            ("Sender: root", "Sender: root@ours.test"),
            ("To: \"a\r\n b\"", "To: \"a\r\n b\"@ours.test"),
            (
                "To: t: u, v;, w",
                "To: t: u@ours.test, v@ours.test;, w@ours.test",
            ),
            (
                "To: u,\r\n\t\"a\r\n b\" <v>",
                "To: u@ours.test,\r\n\t\"a\r\n b\" <v@ours.test>",
            ),
            ("To: jörg", "To: jörg@ours.test"),
            ("To: \"a b\"", "To: \"a b\"@ours.test"),
            ("From: Ann <ann>", "From: Ann <ann@ours.test>"),
        ] {
            let rest = "\r\nSubject: u\r\nBcc: u\r\n";
            assert_eq!(
                rewritten(&format!("{field}{rest}")),
                format!("{expected}{rest}")
            );
        }
    }

    #[test]
    fn addresses_that_cannot_be_completed_stay_unchanged() {
        for field in [
            "To: undisclosed-recipients:;",
            "To: <>",
            "To: Ann Other",
            "To: =?utf-8?q?J=C3=B6rg?=",
            "To: a..b",
            "To: u@",
            "To: u@v.test",
            "Resent-To: u",
            "X-To: u",
            "Subject: root",
        ] {
            let header = format!("{field}\r\n");
            assert_eq!(rewritten(&header), header);
        }
        let long = format!("To: {}\r\n", "a".repeat(300));
        assert_eq!(rewritten(&long), long);
        let no_text = b"To: \xff, \"\xfe\"\r\n";
        let made = rules().header(no_text, 10_000).expect("short");
        assert_eq!(made, Cow::Borrowed(&no_text[..]));
    }

    #[test]
    fn an_author_is_replaced_once_by_the_first_rule_that_matches() {
        for (field, expected) in [
            ("From: root", "From: ops@ours.test"),
            (
                "From: Cron <root@h1.hosts.test> (x)",
                "From: Cron <ops@ours.test> (x)",
            ),
            (
                "From: \"Cron, Daemon\" <Root@[192.0.2.1]>",
                "From: \"Cron, Daemon\" <ops@ours.test>",
            ),
            (
                "From: a@h1.hosts.test, b@c.test",
                "From: hosts@ours.test, b@c.test",
            ),
            ("From: <@r.test:root@a.test>", "From: <ops@ours.test>"),
            ("From: ops@ours.test", "From: nobody@else.test"),
            ("From: ann@ours.test", "From: ann@ours.test"),
            ("Sender: root@a.test", "Sender: root@a.test"),
            ("To: root@a.test, root", "To: root@a.test, root@ours.test"),
        ] {
            assert_eq!(
                rewritten(&format!("{field}\r\n")),
                format!("{expected}\r\n")
            );
        }
    }

    #[test]
    fn authors_are_replaced_even_without_a_domain() {
        let rules = Rewriting {
            domain: None,
            ..rules()
        };
        let header = b"From: root@a.test, root\r\nTo: u\r\n";
        let made = rules.header(header, 1000).expect("short");
        assert_eq!(&*made, b"From: ops@ours.test, root\r\nTo: u\r\n");
    }

    #[test]
    fn a_section_never_grows_beyond_its_limit() {
        let header = b"To: a,b\r\n";
        let completed = b"To: a@ours.test,b@ours.test\r\n";
        let made = rules().header(header, completed.len()).expect("it fits");
        assert_eq!(&*made, completed);
        assert_eq!(rules().header(header, completed.len() - 1), Err(TooLong));
        // A field that is already too long and needs no change is not an error here.
        assert!(rules().header(b"To: a@b.test\r\n", 1).is_ok());
    }
}
