//! Parses addresses as people write them: with names, comments and groups, and often without a
//! domain.

use relay_smtp::address::AddressError;
use relay_smtp::address_list::{Address, Element, elements};
use relay_smtp::{ForwardPath, Mailbox};

use crate::default_domain::DefaultDomain;
use crate::error::SendmailError;

/// Returns the addresses in the value of a field. Addresses without a domain get `domain`.
pub(crate) fn of_field(
    value: &[u8],
    domain: &DefaultDomain,
) -> Result<Vec<ForwardPath>, SendmailError> {
    let mut found = Vec::new();
    for element in elements(value) {
        let written = match element {
            Element::Null(_) => continue,
            Element::Address(address) => written(value, &address),
            Element::Name(place) | Element::Unreadable(place) => {
                let text = String::from_utf8_lossy(&value[place]);
                return Err(SendmailError::Address(
                    text.trim().to_owned(),
                    AddressError::Incomplete,
                ));
            }
        };
        found.push(path(&complete(&written, domain)?));
    }
    Ok(found)
}

/// Returns an address without comments. Octets that are not UTF-8 are replaced.
fn written(value: &[u8], address: &Address) -> String {
    let lossy = || String::from_utf8_lossy(&value[address.whole.clone()]).into_owned();
    let local_part = address.local_part_text(value).unwrap_or_else(lossy);
    match address.domain_text(value) {
        Some(domain) => format!("{local_part}@{domain}"),
        None => local_part,
    }
}

/// Returns the addresses in an argument of the command line, one or more.
pub(crate) fn of_word(
    word: &str,
    domain: &DefaultDomain,
) -> Result<Vec<ForwardPath>, SendmailError> {
    let found = of_field(word.as_bytes(), domain)?;
    if found.is_empty() {
        return Err(SendmailError::Address(
            word.to_owned(),
            AddressError::Incomplete,
        ));
    }
    Ok(found)
}

/// Returns the only address in an argument. Any other number is an error.
pub(crate) fn one(word: &str, domain: &DefaultDomain) -> Result<String, SendmailError> {
    match of_word(word, domain)?.as_slice() {
        [one] => Ok(one.as_str().to_owned()),
        _ => Err(SendmailError::Usage(format!(
            "{word:?} is more than one address"
        ))),
    }
}

/// Returns the address with `domain` added if it has none.
pub(crate) fn complete(written: &str, domain: &DefaultDomain) -> Result<Mailbox, SendmailError> {
    let written = written.trim();
    let bad = |reason| SendmailError::Address(written.to_owned(), reason);
    if written.contains('@') {
        // The parser removes a source route (RFC 5321 appendix C).
        let path: ForwardPath = written.parse().map_err(bad)?;
        return path
            .mailbox()
            .cloned()
            .ok_or_else(|| bad(AddressError::Incomplete));
    }
    format!("{written}@{}", domain.as_str())
        .parse()
        .map_err(bad)
}

fn path(mailbox: &Mailbox) -> ForwardPath {
    ForwardPath::Mailbox(mailbox.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses(value: &str) -> Vec<String> {
        let found = of_field(value.as_bytes(), &"ours.test".into()).expect(value);
        found.iter().map(|path| path.as_str().to_owned()).collect()
    }

    #[test]
    fn names_comments_and_group_names_are_removed() {
        for (value, expected) in [
            ("u@d.test", &["u@d.test"][..]),
            (
                "A (x, y) <u@d.test>, \"Q, r\" <v@d.test>",
                &["u@d.test", "v@d.test"],
            ),
            (
                "u@d.test (comment, with) , v@d.test",
                &["u@d.test", "v@d.test"],
            ),
            (
                "team: u@d.test, root;, v@d.test",
                &["u@d.test", "root@ours.test", "v@d.test"],
            ),
            ("undisclosed-recipients:;", &[]),
            ("u@d.test,\r\n\tv@d.test\r\n", &["u@d.test", "v@d.test"]),
            ("root, Ann <ann>", &["root@ours.test", "ann@ours.test"]),
            ("root (Cron)", &["root@ours.test"]),
            ("\"john doe\"@d.test", &["\"john doe\"@d.test"]),
            ("<\"a b\"@d.test>", &["\"a b\"@d.test"]),
            ("<@route.test:u@d.test>", &["u@d.test"]),
            ("u@[192.0.2.1]", &["u@[192.0.2.1]"]),
            ("postmaster", &["postmaster@ours.test"]),
            ("", &[]),
            ("<>", &[]),
        ] {
            assert_eq!(addresses(value), expected, "{value}");
        }
    }

    #[test]
    fn a_text_that_is_not_an_address_is_refused() {
        for value in [
            "not an address@",
            "u@d.test v@d.test",
            "a b c",
            "u@d@e.test",
            "u@",
        ] {
            let refused = of_field(value.as_bytes(), &"ours.test".into());
            assert!(
                matches!(refused, Err(SendmailError::Address(..))),
                "{value}"
            );
        }
        assert!(of_word("", &"ours.test".into()).is_err());
        assert!(one("a@b.test, c@d.test", &"ours.test".into()).is_err());
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(
            value in proptest::collection::vec(prop_oneof![
                prop::sample::select(&b"<>@,;:()\"\\ =?\r\n\t[]."[..]), any::<u8>()
            ], 0..100)
        ) {
            let _ = of_field(&value, &"ours.test".into());
        }
    }
}
