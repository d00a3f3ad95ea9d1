//! Tests which elements and addresses are found in well-formed and malformed lists.

use super::*;

type Found<'a> = (&'a str, &'a str, Option<&'a str>);

fn found(value: &str) -> Vec<Found<'_>> {
    addresses(value.as_bytes())
        .map(|address| {
            let domain = address.domain.map(|domain| &value[domain]);
            (&value[address.whole], &value[address.local_part], domain)
        })
        .collect()
}

#[test]
fn addresses_are_found_with_their_positions() {
    let full = |whole, local, domain| (whole, local, Some(domain));
    let bare = |local| (local, local, None);
    let ab = full("a@b.test", "a", "b.test");
    for (value, expected) in [
        ("a@b.test", &[ab][..]),
        (" a@b.test\r\n", &[ab]),
        ("<a@b.test>", &[ab]),
        ("A B <a@b.test>", &[ab]),
        ("\"x@y.test, <z>\" <a@b.test>", &[ab]),
        ("\"q\\\" <x@y.test>\" <a@b.test>", &[ab]),
        ("a@b.test (x@y.test)", &[ab]),
        ("(x@y.test) a@b.test", &[ab]),
        ("(a (b) \\) c) <a@b.test>", &[ab]),
        ("=?utf-8?q?x=40y=2Etest?= <a@b.test>", &[ab]),
        ("\r\n A\r\n\t<a@b.test>\r\n", &[ab]),
        (
            "a (x) @ (y) b.test",
            &[full("a (x) @ (y) b.test", "a", "b.test")],
        ),
        // RFC 5322 §4.4: obsolete local parts and domains.
        (
            "a . \"b\" (x) @ b . test",
            &[full("a . \"b\" (x) @ b . test", "a . \"b\"", "b . test")],
        ),
        ("Acme, Inc. <a@b.test>", &[bare("Acme"), ab]),
        ("a@b.test,, root", &[ab, bare("root")]),
        (
            "root, A <toor>, a@b.test",
            &[bare("root"), bare("toor"), ab],
        ),
        (
            "team: a@b.test, root;, toor",
            &[ab, bare("root"), bare("toor")],
        ),
        ("nobody:;", &[]),
        ("nobody:; root", &[bare("root")]),
        (
            "\"a b\"@b.test",
            &[full("\"a b\"@b.test", "\"a b\"", "b.test")],
        ),
        ("\"a b\"", &[bare("\"a b\"")]),
        (
            "a@[192.0.2.1]",
            &[full("a@[192.0.2.1]", "a", "[192.0.2.1]")],
        ),
        (
            "<@x.test,@y.test:a@b.test>",
            &[full("@x.test,@y.test:a@b.test", "a", "b.test")],
        ),
        ("jörg", &[bare("jörg")]),
        ("root (Cron Daemon)", &[bare("root")]),
        ("Cron Daemon <root> (x)", &[bare("root")]),
    ] {
        assert_eq!(found(value), expected, "{value}");
    }
}

#[test]
fn an_invalid_element_is_not_an_address() {
    for value in [
        "",
        "<>",
        "A <>",
        "Cron Daemon",
        "a@b@c",
        "a@",
        "@b.test",
        "a b@c.test",
        "<a b>",
        "<a@b.test",
        "a@b.test> <",
        "<a> <b>",
        "<a<b>>",
        "\"a",
        "\"a\\",
        "\"a\\\"",
        "a@[192.0.2.1",
        "(a@b.test",
        "(a@b.test\\",
        "<@x.test a@b.test>",
        "<@\"x\":a@b.test>",
        "a\\b",
        "a\u{7f}b",
        "(((((",
        ")a",
    ] {
        assert_eq!(found(value), [], "{value}");
    }
}

#[test]
fn an_invalid_element_ends_at_the_next_comma() {
    for value in [
        "a b, root",
        "a@b@c, root",
        "<a> <b>, root",
        "a@, root",
        "x\\, root",
    ] {
        assert_eq!(found(value), [("root", "root", None)], "{value}");
    }
    // A comma in angle brackets or in quotes does not separate.
    for value in ["<a, root", "\"a, root"] {
        assert_eq!(found(value), [], "{value}");
    }
}

#[test]
fn each_element_is_reported_with_its_kind() {
    fn kinds(value: &str) -> String {
        let kind = |element| match element {
            Element::Address(address) if address.domain.is_some() => 'a',
            Element::Address(_) => 'b',
            Element::Name(_) => 'n',
            Element::Null(_) => '0',
            Element::Unreadable(_) => '!',
        };
        elements(value.as_bytes()).map(kind).collect()
    }
    for (value, expected) in [
        ("a@b.test, c@d.test", "aa"),
        ("root, Ann <ann>", "bb"),
        ("Acme Ltd, London, Inc. <a@b.test>", "nba"),
        ("Acme Ltd, Inc., a@b.test", "nna"),
        ("Ann <>", "0"),
        ("<>, a@b.test", "0a"),
        ("a@b@c.test, a@b.test", "!a"),
        ("a@, a@b.test", "!a"),
        ("a@b.test (open, c@d.test", "!"),
        ("(open", "!"),
        ("<a@b.test> c@d.test", "!"),
        ("<a@b.test> (c)", "a"),
        ("a@b.test: c@d.test", "!"),
        ("team: a@b.test, root;, c@d.test", "aba"),
        ("one: two: a@b.test;", "!"),
        ("nobody:;", ""),
        (",, ,", ""),
        ("(only a comment)", ""),
        ("", ""),
    ] {
        assert_eq!(kinds(value), expected, "{value}");
    }
}

#[test]
fn the_text_of_an_address_has_no_comments_and_only_needed_quotes() {
    for (value, local_part, domain) in [
        ("a@b.test", "a", Some("b.test")),
        ("a (x) . b @ (y) c . (z) test", "a.b", Some("c.test")),
        ("\"a\"@b.test", "a", Some("b.test")),
        ("\"a\".\"b c\"@d.test", "\"a.b c\"", Some("d.test")),
        ("\"a\\\"b\"@c.test", "\"a\\\"b\"", Some("c.test")),
        ("\"\"@c.test", "\"\"", Some("c.test")),
        ("\"a\r\n b\"@c.test", "\"a b\"", Some("c.test")),
        ("a..b@c.test", "a..b", Some("c.test")),
        ("a@[192.0.2.1]", "a", Some("[192.0.2.1]")),
        ("<@x.test:a@b.test>", "a", Some("b.test")),
        ("root", "root", None),
    ] {
        let address = addresses(value.as_bytes()).next().expect(value);
        let text = (
            address.local_part_text(value.as_bytes()),
            address.domain_text(value.as_bytes()),
        );
        assert_eq!(
            text,
            (Some(local_part.into()), domain.map(str::to_owned)),
            "{value}"
        );
    }
}
