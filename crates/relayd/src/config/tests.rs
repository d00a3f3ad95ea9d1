use std::fs;

use relay_remote::{RouteTls, SecretSource};

use super::*;

mod listeners;

const DEFAULTS: &str = include_str!("../../../../etc/relayd.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    let text = format!("hostname = \"relay.test\"\n{text}");
    Config::parse(Path::new("relayd.toml"), &text)
}

fn error(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

// The schema's own tests compare every default in this file with that of the schema.
#[test]
fn the_shipped_file_has_the_defaults() {
    let nothing = parse("").expect("the defaults");
    assert_eq!(parse(DEFAULTS), Ok(nothing));
}

#[test]
fn the_settings_of_reports_reach_the_schedule() {
    let config = parse("[queue]\ndelay_notice = \"4h\"\nbounces_per_sender = 7");
    let reports = config.expect("a configuration").send().reports;
    assert_eq!(reports.delay_notice, Some(Duration::from_hours(4)));
    assert_eq!(reports.per_sender, 7);
}

#[test]
fn the_examples_in_etc_are_valid() {
    let mut lines = DEFAULTS.lines();
    let mut examples = String::new();
    while let Some(header) = lines.find(|line| line.starts_with("# [[")) {
        let keys = lines.by_ref().take_while(|line| line.contains(" = "));
        let table: Vec<&str> = std::iter::once(header).chain(keys).collect();
        // The extra certificates need the main one before them.
        if !header.contains("tls") {
            examples.extend(table.iter().map(|line| format!("{}\n", &line[2..])));
        }
    }
    assert_eq!(
        parse(&examples)
            .expect("good examples")
            .delivery
            .routes
            .len(),
        3
    );
}

#[test]
fn an_unknown_key_is_reported_with_its_line_and_the_nearest_known_one() {
    for (text, expected) in [
        (
            "[[route]]\ndomian = \"*\"",
            r#"relayd.toml:3: unknown key "domian" in [[route]] (did you mean "domain"?)"#,
        ),
        (
            "hostnam = \"x\"",
            r#"relayd.toml:2: unknown key "hostnam" (did you mean "hostname"?)"#,
        ),
        (
            "[qeue]",
            r#"relayd.toml:2: unknown key "qeue" (did you mean "queue"?)"#,
        ),
        (
            "[queue]\n\nretry-unit = \"1s\"",
            r#"relayd.toml:4: unknown key "retry-unit" in [queue] (did you mean "retry_unit"?)"#,
        ),
        (
            "[queue]\nx = 1",
            r#"relayd.toml:3: unknown key "x" in [queue]"#,
        ),
        (
            "queue = { x = 1 }",
            r#"relayd.toml:2: unknown key "x" in [queue]"#,
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn a_bad_value_is_reported_with_its_line_and_key() {
    for (text, expected) in [
        (
            "[queue]\nretry_unit = 400",
            r#"relayd.toml:3: queue.retry_unit: invalid type: integer "400", expected a duration such as "400s", "5m" or "5d""#,
        ),
        (
            "[queue]\nretry_unit = \"4 parsecs\"",
            r#"relayd.toml:3: queue.retry_unit: "4 parsecs" is not a duration such as "400s", "5m" or "5d""#,
        ),
        (
            "[queue]\nretry_unit = \"0s\"",
            r#"relayd.toml:3: queue.retry_unit: "0s" must be longer than zero"#,
        ),
        (
            "[queue]\nretry_unit = \"999us\"",
            r#"relayd.toml:3: queue.retry_unit: "999us" is less than a millisecond"#,
        ),
        (
            "[queue]\nlifetime = \"3651d\"",
            r#"relayd.toml:3: queue.lifetime: "3651d" is more than 3650 days"#,
        ),
        (
            "[limits]\ncommand_timeout = \"500000000000y\"",
            r#"relayd.toml:3: limits.command_timeout: "500000000000y" is more than 3650 days"#,
        ),
        (
            "[delivery]\nconnect_timeout = \"99999999999999999999y\"",
            r#"relayd.toml:3: delivery.connect_timeout: "99999999999999999999y" is not a duration such as "400s", "5m" or "5d""#,
        ),
        (
            "[queue]\ndelay_notice = \"soon\"",
            r#"relayd.toml:3: queue.delay_notice: "soon" is not "never" or a duration such as "4h""#,
        ),
        (
            "[queue]\nmin_free = \"lots\"",
            r#"relayd.toml:3: queue.min_free: "lots" is not a size such as "64KiB" or "25MiB""#,
        ),
        (
            "queue = 5",
            r#"relayd.toml:2: queue: invalid type: integer "5", expected a table"#,
        ),
        (
            "[relay]\nnetworks = [\"127.0.0.1\",\n  \"here\"]",
            r#"relayd.toml:4: relay.networks: "here" is not a network such as "192.0.2.0/24" or "2001:db8::/32""#,
        ),
        (
            "[relay]\ndomains = \"a.test\"",
            r#"relayd.toml:3: relay.domains: invalid type: string "a.test", expected a list"#,
        ),
        (
            "[relay]\nbad_senders = [\"a b\"]",
            r#"relayd.toml:3: relay.bad_senders: "a b" is not an address such as "user@example.org", "*@example.org", "*@.example.org" or "root@*""#,
        ),
        (
            "[limits]\nrecipients = 0",
            "relayd.toml:3: limits.recipients: 0 is not a number, 1 or more",
        ),
        (
            "[limits]\nrecipients = -1",
            "relayd.toml:3: limits.recipients: -1 is not a number, 1 or more",
        ),
        (
            "[limits]\nline_length = \"10B\"",
            "relayd.toml:3: limits.line_length: 10 B must be at least 1000 bytes",
        ),
        (
            "[limits]\nmessage_size = \"0B\"",
            "relayd.toml:3: limits.message_size: 0 B must be at least 1000 bytes",
        ),
        (
            "[delivery]\nport = 65536",
            "relayd.toml:3: delivery.port: 65536 is not a port, 1 to 65535",
        ),
        (
            "[control]\nsocket = \"\"",
            r#"relayd.toml:3: control.socket: "" is not a path such as "/var/lib/relayd""#,
        ),
        (
            "state_dir = \"\"",
            r#"relayd.toml:2: state_dir: "" is not a path such as "/var/lib/relayd""#,
        ),
        (
            "[log]\nlevel = \"loud\"",
            r#"relayd.toml:3: log.level: unknown value "loud", expected one of "error", "warn", "info", "debug", "trace""#,
        ),
        (
            "postmaster = \"me\"",
            r#"relayd.toml:2: postmaster: "me" is not an address such as "postmaster@example.org": an address is local-part@domain"#,
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn a_listener_or_route_that_cannot_work_is_refused() {
    for (text, expected) in [
        (
            "listener = []",
            "relayd.toml:2: listener: nothing to listen on: add a [[listener]]",
        ),
        (
            "[[listener]]\nrole = \"mx\"",
            r#"relayd.toml:2: [[listener]] needs the key "address""#,
        ),
        (
            "[[listener]]\naddress = \"25\"",
            r#"relayd.toml:3: listener.address: "25" is not an address and a port such as "[::]:25", or a Unix socket such as "unix:/run/relayd/submit.sock""#,
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\n[[listener]]\naddress = \"[::]:25\"",
            "relayd.toml:5: listener.address: another [[listener]] already has [::]:25",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\n[[listener]]\naddress = \"127.0.0.1:25\"",
            "relayd.toml:5: listener.address: [::]:25 already covers 127.0.0.1:25: \
             remove one of them, or name each address instead of [::]:25",
        ),
        (
            "[[listener]]\naddress = \"[::1]:25\"\n[[listener]]\naddress = \"[::]:25\"",
            "relayd.toml:3: listener.address: [::]:25 already covers [::1]:25: \
             remove one of them, or name each address instead of [::]:25",
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\nrole = \"smtp\"",
            r#"relayd.toml:4: listener.role: unknown value "smtp", expected one of "mx", "submission", "submissions""#,
        ),
        (
            "[[route]]\ndomain = \"*\"",
            "relayd.toml:2: route.host: a route needs a host",
        ),
        (
            "[[route]]\nhost = [\"h\"]",
            r#"relayd.toml:2: [[route]] needs the key "domain""#,
        ),
        (
            "[[route]]\ndomain = \"*.test\"\nhost = [\"h\"]",
            r#"relayd.toml:3: route.domain: bad domain "*.test": write "example.org", ".example.org" or "*""#,
        ),
        (
            "[[route]]\ndomain = \"*\"\nhost = [\"h:25\"]",
            r#"relayd.toml:4: route.host: bad host "h:25": write a name, an address or [address]"#,
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn credentials_that_cannot_be_used_are_refused() {
    let route = |rest: &str| format!("[[route]]\ndomain = \"*\"\nhost = [\"h\"]\n{rest}");
    for (text, expected) in [
        (
            "username = \"u\"",
            "relayd.toml:5: route.username: needs password_file, password_command or token_command",
        ),
        (
            "password_file = \"p\"",
            "relayd.toml:5: route.password_file: needs a username",
        ),
        (
            "username = \"u\"\npassword_file = \"p\"\ntoken_command = [\"t\"]",
            "relayd.toml:7: route.token_command: cannot be combined with password_file: remove one",
        ),
        (
            "username = \"u\"\npassword_file = \"p\"\ntoken_lifetime = \"1h\"",
            "relayd.toml:7: route.token_lifetime: needs a token_command",
        ),
        (
            "username = \"u\"\npassword_command = []",
            r#"relayd.toml:6: route.password_command: a command needs a program: ["/path/to/program", "argument"]"#,
        ),
        (
            "username = \"u\"\npassword_file = \"p\"\ntls = \"none\"",
            r#"relayd.toml:7: route.tls: credentials need tls = "require" or "implicit": they are sent in clear only to a loopback address"#,
        ),
        (
            "tls = \"always\"",
            r#"relayd.toml:5: route.tls: unknown value "always", expected one of "require", "opportunistic", "implicit", "none""#,
        ),
        (
            "sender = \"shop\"",
            r#"relayd.toml:5: route.sender: bad sender "shop": write "user@example.org", "*@example.org" or "<>""#,
        ),
    ] {
        assert_eq!(error(&route(text)), expected);
    }
    let loopback = "[[route]]\ndomain = \"*\"\nhost = [\"127.0.0.1\"]\ntls = \"none\"\nusername = \"u\"\npassword_file = \"p\"";
    assert!(parse(loopback).is_ok(), "nothing leaves the machine");
}

#[test]
fn a_route_is_verified_by_default() {
    let config = parse("[[route]]\ndomain = \"*\"\nhost = [\"h\"]").expect("a route");
    assert_eq!(config.delivery.routes[0].tls(), RouteTls::Require);
}

#[test]
fn a_route_of_a_sender_needs_no_domain() {
    let config = parse("[[route]]\nsender = \"*@shop.example\"\nhost = [\"h\"]");
    let route = config.expect("a route").delivery.routes.remove(0);
    assert_eq!(
        route.to_string(),
        "domain = \"*\", sender = \"*@shop.example\""
    );
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    assert_eq!(
        error("[queue]\nretry_unit = \"5h\""),
        "relayd.toml:3: queue.retry_unit: 5h is longer than queue.retry_max_interval, 4h"
    );
    assert_eq!(
        error("[queue]\nretry_max_interval = \"1s\""),
        "relayd.toml:2: queue.retry_unit: 6m 40s is longer than queue.retry_max_interval, 1s"
    );
    for network in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
        let text = format!("[relay]\nnetworks = [\"10.0.0.0/8\", \"{network}\"]");
        assert!(
            error(&text).starts_with("relayd.toml:3: relay.networks: "),
            "{network}"
        );
        assert!(error(&text).contains("relay.open = true"));
        assert!(parse(&format!("{text}\nopen = true")).is_ok());
    }
}

#[test]
fn text_that_is_not_toml_is_reported_with_its_line() {
    assert_eq!(
        error("[relay]\nnetworks = ["),
        "relayd.toml:3: networks: unclosed array, expected `]`"
    );
    let secret = error("[relay]\n\"pass word\" = \"hunter2");
    assert!(!secret.contains("hunter2"), "{secret}");
    for text in ["[queue", "a = ", "hostname = \"twice\"", "\"\\u{0}\" = 1\n"] {
        assert!(
            error(text).starts_with("relayd.toml:2: "),
            "{}",
            error(text)
        );
        assert!(!error(text).contains('\n'));
    }
}

#[test]
fn a_duplicate_key_is_named() {
    for (text, expected) in [
        (
            "hostname = \"twice\"",
            r#"relayd.toml:2: duplicate key "hostname""#,
        ),
        (
            "[queue]\nlifetime = \"1d\"\n\"lifetime\" = \"2d\"",
            r#"relayd.toml:4: duplicate key "lifetime""#,
        ),
        (
            "[dns]\n[log]\n[dns]",
            r#"relayd.toml:4: duplicate key "dns""#,
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn text_that_is_not_utf8_is_reported_with_its_line() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), b"# one\nhostname = \"relay.test\" # caf\xe9\n").expect("room");
    let error = Config::load(file.path()).expect_err("Latin-1").to_string();
    let expected = format!("{}:2: not UTF-8 text", file.path().display());
    assert_eq!(error, expected);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nowhere/relayd.toml")).expect_err("no such file");
    assert_eq!(
        error.to_string(),
        "/nowhere/relayd.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn the_values_of_the_file_are_used() {
    let config = parse(
        r#"
        postmaster = "ops@example.org"
        state_dir = "/tmp/state"
        [[listener]]
        address = "127.0.0.1:2525"
        role = "submission"
        proxies = ["10.0.0.0/8", "192.0.2.1"]
        [tls]
        certificate = "/tls/cert.pem"
        key = "/tls/key.pem"
        session_tickets = true
        [[tls.extra]]
        certificate = "/tls/other.pem"
        key = "/tls/other.key"
        [auth]
        users = "/tls/users"
        lockout = "1m"
        [relay]
        networks = ["192.0.2.0/24", "198.51.100.7", "::ffff:10.0.0.0/104"]
        domains = [".example.org"]
        [limits]
        message_size = "100KiB"
        bare_newline = "normalize"
        [queue]
        retry_unit = "250ms"
        [[route]]
        domain = "*"
        host = ["[192.0.2.1]", "smtp.example.com"]
        port = 587
        tls = "implicit"
        username = "me"
        token_command = ["token", "me"]
        token_lifetime = "50m"
        [dns]
        servers = ["127.0.0.1:5353"]
        [log]
        format = "json"
        "#,
    )
    .expect("a good file");
    assert_eq!(config.postmaster.as_str(), "ops@example.org");
    assert_eq!(config.relay.networks[1].to_string(), "198.51.100.7/32");
    assert_eq!(config.relay.networks[2].to_string(), "10.0.0.0/8");
    assert_eq!(config.limits.session.message_size, 100 * 1024);
    assert_eq!(config.limits.session.bare_newline, BareNewline::Normalize);
    assert_eq!(config.retry.unit, Duration::from_millis(250));
    let route = &config.delivery.routes[0];
    assert_eq!(&**route.name(), "me@192.0.2.1,smtp.example.com:587");
    assert_eq!(route.tls(), RouteTls::Implicit);
    let source = route.credentials().expect("credentials").source();
    let token = SecretSource::TokenCommand {
        argv: vec!["token".to_owned(), "me".to_owned()],
        lifetime: Some(Duration::from_mins(50)),
    };
    assert_eq!(*source, token);
    let pairs = config.tls.pairs.iter();
    let certificates: Vec<_> = pairs.map(|pair| pair.certificate.path()).collect();
    assert_eq!(
        certificates,
        [Path::new("/tls/cert.pem"), Path::new("/tls/other.pem")]
    );
    assert!(config.tls.session_tickets);
    assert_eq!(config.auth.users.path(), Path::new("/tls/users"));
    assert_eq!(config.auth.lockout, Duration::from_mins(1));
    assert_eq!(config.listeners[0].role, Role::Submission);
    assert_eq!(config.listeners[0].proxies[1].to_string(), "192.0.2.1/32");
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.listeners.len(), 1);
}
