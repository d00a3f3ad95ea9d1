//! The domain of a message's author.

use relay_smtp::address_list::{Element, elements};

use relay_smtp::dns_name::Domain;
use relay_smtp::header::{Field, fields};

/// Why a message has no single author domain. Such a message is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    /// There is no From field.
    #[error("it has no From field")]
    Missing,
    /// There are several From fields, and readers would differ on who wrote the message.
    #[error("it has several From fields")]
    SeveralFields,
    /// The addresses have different domains.
    #[error("its From field names several domains")]
    SeveralDomains,
    /// There are more domains than honest mail has.
    #[error("its From fields name more than four domains")]
    TooManyDomains,
    /// No part of the field is an address with a domain.
    #[error("its From field has no address with a domain")]
    NoDomain,
    /// A part of the field cannot be read as an address.
    #[error("a part of its From field cannot be read")]
    Unreadable,
}

/// The authors of a message that is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authors {
    /// The domains of the addresses that can be read, each once.
    pub domains: Vec<Domain>,
    /// Whether a part of a From field cannot be read. A reader may be shown an author in it.
    pub has_unreadable: bool,
}

/// The most domains that a message may be from when it is checked.
const MAX_DOMAINS: usize = 4;

/// Returns the domain of all the addresses in the one From field. It decides about signing, so the
/// least doubt about it is an error.
pub(crate) fn author_domain(fields: &[Field<'_>]) -> Result<Domain, AuthorError> {
    let mut from = fields.iter().filter(|field| field.is("From"));
    let field = from.next().ok_or(AuthorError::Missing)?;
    if from.next().is_some() {
        return Err(AuthorError::SeveralFields);
    }
    let mut domains = domains(field).into_iter();
    let first = domains.next().ok_or(AuthorError::NoDomain)??;
    for domain in domains {
        if domain? != first {
            return Err(AuthorError::SeveralDomains);
        }
    }
    Ok(first)
}

/// Returns the domains of all addresses in all From fields of a header section. They are for checking
/// a message, so an address without a domain hides no other one: a reader may be shown any of them.
///
/// # Errors
///
/// There is no domain, or there are more than four.
pub fn author_domains(header: &[u8]) -> Result<Authors, AuthorError> {
    let mut from = fields(header).filter(|field| field.is("From")).peekable();
    from.peek().ok_or(AuthorError::Missing)?;
    let (mut all, mut has_unreadable) = (Vec::new(), false);
    for domain in from.flat_map(|field| domains(&field)) {
        has_unreadable |= domain == Err(AuthorError::Unreadable);
        let Some(domain) = domain.ok().filter(|domain| !all.contains(domain)) else {
            continue;
        };
        if all.len() == MAX_DOMAINS {
            return Err(AuthorError::TooManyDomains);
        }
        all.push(domain);
    }
    match (all.is_empty(), has_unreadable) {
        (true, true) => Err(AuthorError::Unreadable),
        (true, false) => Err(AuthorError::NoDomain),
        (false, _) => Ok(Authors {
            domains: all,
            has_unreadable,
        }),
    }
}

/// Returns the domain of each address in a field, and an error for each element that cannot be
/// read.
fn domains(field: &Field<'_>) -> Vec<Result<Domain, AuthorError>> {
    let domain = |element| match element {
        Element::Address(address) if address.domain.is_some() => {
            let domain = address.domain_text(field.value);
            let domain = domain.and_then(|domain| domain.parse().ok());
            Some(domain.ok_or(AuthorError::NoDomain))
        }
        // In `Acme, Inc. <a@ours.test>`, which lacks its quotes, the comma makes elements that are
        // only names. They have no domain, so they cast no doubt on those of addresses.
        Element::Address(_) | Element::Name(_) | Element::Null(_) => None,
        Element::Unreadable(_) => Some(Err(AuthorError::Unreadable)),
    };
    elements(field.value).filter_map(domain).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn author(header: &[u8]) -> Result<String, AuthorError> {
        let fields: Vec<_> = fields(header).collect();
        author_domain(&fields).map(|domain| domain.as_str().to_owned())
    }

    #[test]
    fn the_domain_is_that_of_the_address_and_of_nothing_else() {
        for (value, domain) in [
            ("a@ours.test", "ours.test"),
            ("App <a@OURS.test>", "ours.test"),
            ("\"x@evil.test\" <a@ours.test>", "ours.test"),
            ("x@evil.test <a@ours.test>", "ours.test"),
            ("a@ours.test (x@evil.test)", "ours.test"),
            ("\"a@evil.test\"@ours.test", "ours.test"),
            ("=?utf-8?q?x=40evil=2Etest?= <a@ours.test>", "ours.test"),
            ("\r\n App\r\n\t<a@ours.test>", "ours.test"),
            ("a@ours.test, b@Ours.Test", "ours.test"),
            ("team: a@ours.test, b@ours.test;", "ours.test"),
            ("a@bücher.test", "xn--bcher-kva.test"),
            ("Acme, Inc. <a@ours.test>", "ours.test"),
            ("Acme Ltd, London, Inc. <a@ours.test>", "ours.test"),
            ("a@ours.test, root", "ours.test"),
        ] {
            let header = format!("From: {value}\r\nTo: b@else.test\r\n");
            assert_eq!(author(header.as_bytes()), Ok(domain.into()), "{value}");
        }
    }

    #[test]
    fn a_from_field_without_exactly_one_domain_is_an_error() {
        for (header, error) in [
            ("To: a@ours.test\r\n", AuthorError::Missing),
            (
                "From: a@ours.test\r\nfrom: b@ours.test\r\n",
                AuthorError::SeveralFields,
            ),
            (
                "From: a@ours.test, b@else.test\r\n",
                AuthorError::SeveralDomains,
            ),
            ("From: root\r\n", AuthorError::NoDomain),
            ("From: a@\r\n", AuthorError::Unreadable),
            ("From: a@ours.test, root@\r\n", AuthorError::Unreadable),
            ("From: Acme, Inc.\r\n", AuthorError::NoDomain),
            ("From: a@[192.0.2.1]\r\n", AuthorError::NoDomain),
            ("From: nobody:;\r\n", AuthorError::NoDomain),
            ("From:\r\n", AuthorError::NoDomain),
            ("From: <>\r\n", AuthorError::NoDomain),
            (
                "Subject: x\r\n\r\nFrom: a@ours.test\r\n",
                AuthorError::Missing,
            ),
        ] {
            assert_eq!(author(header.as_bytes()), Err(error), "{header:?}");
        }
    }

    #[test]
    fn a_check_gets_all_author_domains_of_a_message() {
        let domains = |header: &str| {
            let found = author_domains(header.as_bytes())?;
            Ok(found
                .domains
                .iter()
                .map(|domain| domain.as_str().to_owned())
                .collect())
        };
        let all: Result<Vec<String>, AuthorError> =
            domains("From: a@A.test, b@b.test, c@a.test\r\nFROM : d@c.test\r\n");
        assert_eq!(
            all,
            Ok(vec!["a.test".into(), "b.test".into(), "c.test".into()])
        );
        let many = |count| {
            let many: Vec<String> = (0..count).map(|n| format!("a@d{n}.test")).collect();
            domains(&format!("From: {}\r\n", many.join(", "))).map(|all| all.len())
        };
        assert_eq!(many(MAX_DOMAINS), Ok(MAX_DOMAINS));
        assert_eq!(many(MAX_DOMAINS + 1), Err(AuthorError::TooManyDomains));
        assert_eq!(domains("To: a@a.test\r\n"), Err(AuthorError::Missing));
        assert_eq!(domains("From: root@\r\n"), Err(AuthorError::Unreadable));
        assert_eq!(domains("From: root\r\n"), Err(AuthorError::NoDomain));
    }

    #[test]
    fn an_unreadable_author_hides_no_other_from_a_check() {
        for (header, has_unreadable) in [
            ("From: ceo@bank.test, junk@\r\n", true),
            ("From: ceo@bank.test, A <a@sign.test\r\n", true),
            ("From: a@[192.0.2.1], ceo@bank.test\r\n", false),
            ("From: <>\r\nFrom: ceo@bank.test\r\n", false),
            ("From: ceo@bank.test\r\nFrom:\r\n", false),
            ("From: Acme, Inc. <ceo@bank.test>\r\n", false),
        ] {
            let found = author_domains(header.as_bytes()).expect("an author");
            assert_eq!(found.has_unreadable, has_unreadable, "{header:?}");
            let found: Vec<_> = found.domains.iter().map(Domain::as_str).collect();
            assert_eq!(found, ["bank.test"], "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_from_field_breaks_the_parser(
            value in proptest::collection::vec(prop_oneof![
                prop::sample::select(&b"<>@,;:()\"\\ =?\r\n\t[]."[..]), any::<u8>()
            ], 0..100)
        ) {
            let _ = author(&[b"From: ", value.as_slice(), b"\r\n"].concat());
        }
    }
}
