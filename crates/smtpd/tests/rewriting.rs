//! Header sections under the rewriting rules: only the addresses that need it change, and no input
//! takes long.

use std::sync::mpsc;
use std::thread;

use proptest::prelude::*;
use relay_smtpd::{Replacement, Rewriting};
use relay_testkit::DEADLINE;

/// `limits.header_size`, by default.
const MOST: usize = 256 * 1024;
const DOMAIN: &[u8] = b"@ours.test";

fn completing() -> Rewriting {
    Rewriting {
        domain: Some("ours.test".into()),
        from: Vec::new(),
    }
}

fn replacing() -> Rewriting {
    Rewriting {
        from: vec![Replacement {
            pattern: "root@*".parse().expect("a pattern"),
            sender: "ops@else.test".parse().expect("an address"),
        }],
        ..completing()
    }
}

fn rewritten(rules: &Rewriting, header: &[u8]) -> Vec<u8> {
    rules.header(header, MOST).expect("short").into_owned()
}

/// Whether `new` is `old` with only domains added.
fn is_completed(mut old: &[u8], mut new: &[u8]) -> bool {
    while !new.is_empty() {
        if old.first() == new.first() {
            (old, new) = (&old[1..], &new[1..]);
        } else if let Some(rest) = new.strip_prefix(DOMAIN) {
            new = rest;
        } else {
            return false;
        }
    }
    old.is_empty()
}

/// Blanks and comments, as they are allowed between the parts of an address.
fn blank() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        " ",
        "\t",
        "\r\n ",
        " (a, <b@c.test>; \\) (d)) ",
        "\r\n\t(x)\r\n ",
    ])
    .prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "A B ",
        "\"x, y\" ",
        "\"<a@b.test>, \\\"\" ",
        "=?utf-8?q?J=C3=B6rg?= ",
        "Jörg\r\n ",
    ])
    .prop_map(str::to_owned)
}

/// An address as it is written, and its expected rewritten form.
fn mailbox() -> impl Strategy<Value = (String, String)> {
    let local = prop::sample::select(vec!["root", "u.v", "a+b", "\"a b\"", "\"x, @y\"", "jörg"]);
    let domain = prop::sample::select(vec!["", "@d.test", "@[192.0.2.1]", "@b\u{fc}cher.test"]);
    (blank(), name(), local, domain, blank(), any::<bool>()).prop_map(
        |(before, name, local, domain, behind, in_brackets)| {
            let address = |domain| {
                if in_brackets || !name.is_empty() {
                    format!("{before}{name}<{local}{domain}>{behind}")
                } else {
                    format!("{before}{local}{domain}{behind}")
                }
            };
            let completed = if domain.is_empty() {
                "@ours.test"
            } else {
                domain
            };
            (address(domain), address(completed))
        },
    )
}

/// A list of such addresses, parts of it in groups.
fn list() -> impl Strategy<Value = (String, String)> {
    let entry = (mailbox(), 0..4).prop_map(|((written, expected), kind)| {
        let group = |address: &str| match kind {
            0 => format!("team:{address};"),
            1 => format!("\"my: team\" : {address}, {address};"),
            _ => address.to_owned(),
        };
        (group(&written), group(&expected))
    });
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        let (written, expected): (Vec<String>, Vec<String>) = entries.into_iter().unzip();
        (written.join(","), expected.join(","))
    })
}

proptest! {
    #[test]
    fn every_bare_address_is_completed_and_every_other_octet_stays(
        (written, expected) in list(),
        field in prop::sample::select(vec!["From", "SENDER", "reply-to ", "To", "Cc\t"]),
    ) {
        let rest = "Subject: root\r\nBcc: root\r\n";
        let header = format!("X: root\r\n{field}:{written}\r\n{rest}");
        let expected = format!("X: root\r\n{field}:{expected}\r\n{rest}");
        let made = rewritten(&completing(), header.as_bytes());
        prop_assert_eq!(String::from_utf8_lossy(&made), expected);
    }

    #[test]
    fn rewriting_loses_nothing_and_a_second_pass_changes_nothing(
        value in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(&b"<>@,;:()\"\\ =?\t[]."[..]),
            4 => prop::sample::select(&b"ab"[..]),
            1 => any::<u8>().prop_filter("a line", |octet| !b"\r\n".contains(octet)),
        ], 0..60)
    ) {
        let header = [b"To: ", value.as_slice(), b"\r\n"].concat();
        let once = rewritten(&completing(), &header);
        prop_assert!(is_completed(&header, &once), "{}", String::from_utf8_lossy(&once));
        prop_assert_eq!(rewritten(&completing(), &once), once);
    }

    #[test]
    fn the_author_is_replaced_and_the_display_name_stays(
        name in name(), before in blank(), behind in blank(),
        domain in prop::sample::select(vec!["", "@d.test", "@[192.0.2.1]"]),
    ) {
        let header = |address: &str| format!("From:{before}{name}<{address}>{behind}\r\nTo: root@d.test\r\n");
        let made = rewritten(&replacing(), header(&format!("root{domain}")).as_bytes());
        prop_assert_eq!(String::from_utf8_lossy(&made), header("ops@else.test"));
    }
}

#[test]
fn no_header_section_takes_long() {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        for octets in [
            &b","[..],
            b"(",
            b")",
            b"()",
            b"\"",
            b"\\",
            b"<",
            b"<>",
            b"@",
            b":",
            b";",
            b"a",
            b"a ",
            b"a,",
            b"a:",
            b"a@b,",
            b"<a",
            b"<@a:",
            b"[",
            b".",
            b"\xff",
            b"root@a,",
            b"\r\n a",
            b"\"a\",",
            b"(\\",
        ] {
            let value = octets.repeat(MOST / octets.len() - 10);
            for field in [&b"To:"[..], b"From:"] {
                let header = [field, &value, b"\r\n"].concat();
                // A result that is too long is an error, which is allowed here.
                let made = replacing().header(&header, MOST);
                assert!(made.map_or(0, |made| made.len()) <= MOST, "{octets:?}");
            }
            let fields = [b"To:", octets, b"\r\n"].concat();
            let many = fields.repeat(MOST / fields.len());
            let _ = replacing().header(&many, MOST);
        }
        done.send(()).expect("the test waits");
    });
    finished.recv_timeout(DEADLINE).expect("an end in time");
}
