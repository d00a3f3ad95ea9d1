//! The messages for values that are refused.

use super::*;

#[track_caller]
fn message<T: Written>(text: &str) -> String {
    match T::read(text) {
        Ok(_) => panic!("{text:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_duration_has_a_shortest_and_a_longest_value() {
    for (text, expected) in [
        (
            "soon",
            r#""soon" is not a duration such as "400s", "5m" or "5d""#,
        ),
        ("0s", r#""0s" must be longer than zero"#),
        ("999us", r#""999us" is less than a millisecond"#),
        ("3651d", r#""3651d" is more than 3650 days"#),
    ] {
        assert_eq!(message::<Duration>(text), expected);
    }
    assert!(Duration::read("1ms").is_ok() && Duration::read("3650d").is_ok());
    for (text, expected) in [
        (
            "soon",
            r#""soon" is not "never" or a duration such as "4h""#,
        ),
        ("0s", r#""0s" must be longer than zero"#),
        ("3651d", r#""3651d" is more than 3650 days"#),
    ] {
        assert_eq!(message::<Never<Duration>>(text), expected);
    }
    assert_eq!(Never::read("never").ok(), Some(Never(None)));
}

#[test]
fn a_refused_value_is_quoted_beside_the_expected_form() {
    for (found, expected) in [
        (
            message::<PathBuf>(""),
            r#""" is not a path such as "/var/lib/relayd""#,
        ),
        (
            message::<PathBuf>("a\0"),
            r#""a\0" is not a path such as "/var/lib/relayd""#,
        ),
        (
            message::<ByteSize>("lots"),
            r#""lots" is not a size such as "64KiB" or "25MiB""#,
        ),
        (
            message::<IpNet>("here"),
            r#""here" is not a network such as "192.0.2.0/24" or "2001:db8::/32""#,
        ),
        (
            message::<SocketAddr>("25"),
            r#""25" is not an address and a port such as "[::]:25" or "127.0.0.1:2525""#,
        ),
        (
            message::<DomainPattern>("*"),
            r#""*" is not a domain such as "example.org" or ".example.org""#,
        ),
        (
            message::<HostName>("no host"),
            r#""no host" is not a host name such as "mail.example.org""#,
        ),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_listener_has_an_address_or_the_absolute_path_of_a_socket() {
    let like = r#"an address and a port such as "[::]:25", or a Unix socket such as "unix:/run/relayd/submit.sock""#;
    for text in ["25", "unix:s", "unix:/s/", "unix:/\0"] {
        assert_eq!(
            message::<ListenAddress>(text),
            format!("{text:?} is not {like}")
        );
    }
    let longest = format!("unix:/{}", "s".repeat(106));
    assert!(ListenAddress::read(&longest).is_ok());
    let expected = format!("\"{longest}s\": the path of a Unix socket can have at most 107 bytes");
    assert_eq!(message::<ListenAddress>(&format!("{longest}s")), expected);
}

#[test]
fn a_refused_address_or_name_has_the_reason() {
    for (found, expected) in [
        (
            message::<Mailbox>("me"),
            r#""me" is not an address such as "postmaster@example.org": an address is local-part@domain"#,
        ),
        (
            message::<Domain>("a..b"),
            r#""a..b" is not a domain such as "example.org": it has an empty label"#,
        ),
        (
            message::<Selector>(""),
            r#""" is not a selector such as "mail": it has an empty label"#,
        ),
        (
            message::<AddressPattern>("a b"),
            r#""a b" is not an address such as "user@example.org", "*@example.org", "*@.example.org" or "root@*""#,
        ),
    ] {
        assert_eq!(found, expected);
    }
}
