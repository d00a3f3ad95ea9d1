//! The domain that a message is from.

use relay_smtp::address_list::{Element, elements};

use relay_smtp::dns_name::Domain;
use relay_smtp::header::{Field, fields};

/// Why no domain can be told; such a message is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    /// No From field.
    #[error("it has no From field")]
    Missing,
    /// More From fields than one: readers would differ on who wrote it.
    #[error("it has several From fields")]
    SeveralFields,
    /// Addresses at different domains.
    #[error("its From field names several domains")]
    SeveralDomains,
    /// More domains than honest mail has.
    #[error("its From fields name more than four domains")]
    TooManyDomains,
    /// An address that is none, or has no domain.
    #[error("its From field has no address with a domain")]
    NoDomain,
}

/// Domains that one message may be from for whoever judges it.
const MAX_DOMAINS: usize = 4;

/// The domain of all the addresses in the one From field, for whoever speaks for it: the least doubt
/// about it is an error.
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

/// The domains of all addresses in all From fields of a header section, each once, for whoever judges the
/// message: an address that has none hides nobody else's, whichever of them a reader is shown.
///
/// # Errors
///
/// There is none, or there are more than four.
pub fn author_domains(header: &[u8]) -> Result<Vec<Domain>, AuthorError> {
    let mut from = fields(header).filter(|field| field.is("From")).peekable();
    from.peek().ok_or(AuthorError::Missing)?;
    let mut all = Vec::new();
    for domain in from.flat_map(|field| domains(&field)).flatten() {
        if all.contains(&domain) {
            continue;
        }
        if all.len() == MAX_DOMAINS {
            return Err(AuthorError::TooManyDomains);
        }
        all.push(domain);
    }
    if all.is_empty() {
        return Err(AuthorError::NoDomain);
    }
    Ok(all)
}

/// The domain of each address in a field, and an error for each element that cannot be read.
fn domains(field: &Field<'_>) -> Vec<Result<Domain, AuthorError>> {
    let domain = |element| match element {
        Element::Address(address) if address.domain.is_some() => {
            let domain = address.domain_text(field.value);
            let domain = domain.and_then(|domain| domain.parse().ok());
            Some(domain.ok_or(AuthorError::NoDomain))
        }
        // In `Acme, Inc. <a@ours.test>`, which lacks its quotes, the comma makes elements that are names
        // alone. They have no domain, so they leave no doubt about the others'.
        Element::Address(_) | Element::Name(_) | Element::Null(_) => None,
        Element::Unreadable(_) => Some(Err(AuthorError::NoDomain)),
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
    fn without_one_domain_there_is_none() {
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
            ("From: a@\r\n", AuthorError::NoDomain),
            ("From: a@ours.test, root@\r\n", AuthorError::NoDomain),
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
    fn whoever_judges_a_message_is_told_all_of_its_domains() {
        let domains = |header: &str| {
            let found = author_domains(header.as_bytes())?;
            Ok(found
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
        assert_eq!(domains("From: root@\r\n"), Err(AuthorError::NoDomain));
    }

    #[test]
    fn an_author_who_cannot_be_read_hides_no_other_from_whoever_judges() {
        for header in [
            "From: ceo@bank.test, junk@\r\n",
            "From: a@[192.0.2.1], ceo@bank.test\r\n",
            "From: <>\r\nFrom: ceo@bank.test\r\n",
            "From: ceo@bank.test\r\nFrom:\r\n",
        ] {
            let found = author_domains(header.as_bytes()).expect("an author");
            let found: Vec<_> = found.iter().map(Domain::as_str).collect();
            assert_eq!(found, ["bank.test"], "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_from_field_breaks_it(
            value in proptest::collection::vec(prop_oneof![
                prop::sample::select(&b"<>@,;:()\"\\ =?\r\n\t[]."[..]), any::<u8>()
            ], 0..100)
        ) {
            let _ = author(&[b"From: ", value.as_slice(), b"\r\n"].concat());
        }
    }
}
