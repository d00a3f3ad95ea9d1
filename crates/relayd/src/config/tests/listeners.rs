//! `[[listener]]`, and the certificates that listeners need.

use super::{error, parse};

#[test]
fn listeners_on_different_addresses_are_accepted() {
    for (first, second) in [
        ("[::]:25", "0.0.0.0:25"),
        ("[::]:25", "127.0.0.1:2525"),
        ("0.0.0.0:25", "[::1]:25"),
        ("127.0.0.1:25", "[::1]:25"),
        ("[::]:0", "127.0.0.1:0"),
        ("unix:/a", "unix:/b"),
        ("unix:/a", "[::]:25"),
    ] {
        let text =
            format!("[[listener]]\naddress = {first:?}\n[[listener]]\naddress = {second:?}\n");
        assert!(parse(&text).is_ok(), "{first} and {second}");
    }
}

#[test]
fn a_listener_or_certificate_that_lacks_a_part_is_refused() {
    for (text, expected) in [
        (
            "[tls]\ncertificate = \"c\"",
            "relayd.toml:3: tls.certificate: needs tls.key",
        ),
        (
            "[tls]\nkey = \"k\"",
            "relayd.toml:3: tls.key: needs tls.certificate",
        ),
        (
            "[[tls.extra]]\ncertificate = \"c\"",
            r#"relayd.toml:2: [[tls.extra]] needs the key "key""#,
        ),
        (
            "[[tls.extra]]\ncertificate = \"c\"\nkey = \"k\"",
            "relayd.toml:2: tls.extra: needs tls.certificate and tls.key, for clients that ask for no name",
        ),
        (
            "[[listener]]\naddress = \"[::]:465\"\nrole = \"submissions\"",
            "relayd.toml:4: listener.role: \"submissions\" is TLS from the first byte: set tls.certificate and tls.key",
        ),
        (
            "[[listener]]\naddress = \"unix:/s\"\nrole = \"submissions\"",
            "relayd.toml:4: listener.role: \"submissions\" is TLS, which a Unix socket has no use for: make it \"submission\"",
        ),
        (
            "[[listener]]\naddress = \"unix:/s\"\nproxies = [\"127.0.0.1\"]",
            "relayd.toml:4: listener.proxies: a Unix socket cannot have proxies",
        ),
        (
            "[[listener]]\naddress = \"unix:/s\"\n[[listener]]\naddress = \"unix:/s\"",
            "relayd.toml:5: listener.address: another [[listener]] already has unix:/s",
        ),
        (
            "[[listener]]\naddress = \"unix:s\"",
            "relayd.toml:3: listener.address: \"unix:s\" is not an address and a port such as \"[::]:25\", or a Unix socket such as \"unix:/run/relayd/submit.sock\"",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}
