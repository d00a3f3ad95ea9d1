//! Parsing a formatted value returns the same value, and any other line has one meaning or none.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use relay_smtp::command::{self, ClientName, Command, MailParams, RcptParams};
use relay_smtp::dsn::{DsnRequest, EnvelopeId, Notify, Occasions, Orcpt, Ret};
use relay_smtp::sasl::{Mechanism, Response};
use relay_smtp::{EnhancedStatus, ForwardPath, Mailbox, ReversePath};

/// A local part: a dot-string or a quoted string (RFC 5321 §4.1.2), perhaps in UTF-8.
fn local_part() -> impl Strategy<Value = String> {
    let quoted = vec("[a-zé.@<>:, ]|\\\\[ -~]", 0..15).prop_map(|parts| parts.concat());
    prop_oneof![
        "[A-Za-z0-9!#$%&'*+/=?^_`{|}~ü-]{1,12}(\\.[a-z0-9+]{1,8}){0,3}",
        quoted.prop_map(|inner| format!("\"{inner}\"")),
    ]
}

fn domain() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9_ü]([A-Za-z0-9é-]{0,10}[a-z0-9])?(\\.[a-z]{2,9}){0,4}",
        1 => any::<std::net::Ipv4Addr>().prop_map(|address| format!("[{address}]")),
        1 => any::<std::net::Ipv6Addr>().prop_map(|address| format!("[IPv6:{address}]")),
    ]
}

fn mailbox() -> impl Strategy<Value = String> {
    (local_part(), domain()).prop_map(|(local, domain)| format!("{local}@{domain}"))
}

fn reverse_path() -> impl Strategy<Value = ReversePath> {
    let text = prop_oneof![1 => Just(String::new()), 5 => mailbox()];
    text.prop_map(|text| text.parse().expect("a reverse-path"))
}

fn forward_path() -> impl Strategy<Value = ForwardPath> {
    let text = prop_oneof![1 => Just("postmaster".to_owned()), 5 => mailbox()];
    text.prop_map(|text| text.parse().expect("a forward-path"))
}

fn mail() -> impl Strategy<Value = Command> {
    let flags = any::<[bool; 2]>();
    (reverse_path(), option::of(any::<u64>()), flags, dsn()).prop_map(
        |(path, size, [eight_bit, utf8], dsn)| {
            let params = MailParams {
                size,
                eight_bit,
                utf8,
                dsn,
            };
            Command::Mail { path, params }
        },
    )
}

/// Without letters among the digits of xtext, which are capitals in any case of the command.
fn dsn() -> impl Strategy<Value = DsnRequest> {
    let ret = option::of(prop::sample::select(vec![Ret::Full, Ret::Headers]));
    let envid = option::of("([!-*,-<>-~]|[+](20|40)){1,33}");
    (ret, envid).prop_map(|(ret, envid)| DsnRequest {
        ret,
        envid: envid.map(|text| text.parse::<EnvelopeId>().expect("xtext")),
    })
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<[bool; 3]>(), any::<bool>()).prop_map(|([success, failure, delay], never)| {
        let on = Occasions::new(success, failure, delay).map(Notify::On);
        on.unwrap_or(if never {
            Notify::Never
        } else {
            Notify::Unspecified
        })
    })
}

fn orcpt() -> impl Strategy<Value = Orcpt> {
    let xtext = "(rfc822|x400);([!-*,-<>-~]|[+](20|40)){1,100}";
    let utf8 = "utf-8;([a-z@.é漢]|\\\\x[{]20[}]){1,60}";
    prop_oneof![xtext, utf8].prop_map(|text| text.parse().expect("an address"))
}

fn rcpt() -> impl Strategy<Value = Command> {
    (forward_path(), notify(), option::of(orcpt())).prop_map(|(path, notify, orcpt)| {
        let params = RcptParams { notify, orcpt };
        Command::Rcpt { path, params }
    })
}

fn auth() -> impl Strategy<Value = Command> {
    use Mechanism::{Login, OAuthBearer, Plain, ScramSha256, XOauth2};
    let mechanism = prop::sample::select(vec![Plain, Login, ScramSha256, XOauth2, OAuthBearer]);
    let initial = option::of("[A-Za-z0-9+/]{0,20}={1,2}");
    (option::of(mechanism), initial).prop_map(|(mechanism, initial)| {
        let initial = initial.map(Response::new);
        Command::Auth { mechanism, initial }
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    let name = || "[A-Za-z0-9.:_-]{1,40}|\\[[0-9.]{7,15}\\]";
    let name = || name().prop_map(|text| ClientName::parse(&text).expect("a name"));
    let words = || "[!-~]([ -~é]{0,30}[!-~])?";
    prop_oneof![
        name().prop_map(Command::Ehlo),
        name().prop_map(Command::Helo),
        mail(),
        rcpt(),
        auth(),
        words().prop_map(Command::Vrfy),
        words().prop_map(Command::Expn),
        Just(Command::Data),
        Just(Command::Rset),
        Just(Command::Noop),
        Just(Command::Help),
        Just(Command::Quit),
        Just(Command::StartTls),
    ]
}

/// The command as a client writes it.
fn format(command: &Command) -> String {
    match command {
        Command::Ehlo(name) => format!("EHLO {name}"),
        Command::Helo(name) => format!("HELO {name}"),
        Command::Mail { path, params } => {
            let size = params.size.map_or(String::new(), |n| format!(" SIZE={n}"));
            let body = if params.eight_bit {
                " BODY=8BITMIME"
            } else {
                ""
            };
            let utf8 = if params.utf8 { " SMTPUTF8" } else { "" };
            let DsnRequest { ret, envid } = &params.dsn;
            let ret = ret.map_or(String::new(), |ret| format!(" RET={ret}"));
            let envid = envid
                .as_ref()
                .map_or(String::new(), |id| format!(" ENVID={id}"));
            format!("MAIL FROM:{path}{size}{body}{utf8}{ret}{envid}")
        }
        Command::Rcpt { path, params } => {
            let RcptParams { notify, orcpt } = params;
            let notify = match notify {
                Notify::Unspecified => String::new(),
                said => format!(" NOTIFY={said}"),
            };
            let orcpt = orcpt
                .as_ref()
                .map_or(String::new(), |o| format!(" ORCPT={o}"));
            format!("RCPT TO:{path}{notify}{orcpt}")
        }
        Command::Data => "DATA".into(),
        Command::Rset => "RSET".into(),
        Command::Noop => "NOOP".into(),
        Command::Vrfy(argument) => format!("VRFY {argument}"),
        Command::Expn(argument) => format!("EXPN {argument}"),
        Command::Help => "HELP".into(),
        Command::Quit => "QUIT".into(),
        Command::StartTls => "STARTTLS".into(),
        Command::Auth { mechanism, initial } => {
            let mechanism = mechanism.map_or("FROB", Mechanism::name);
            let initial = initial.as_ref().map(|r| str::from_utf8(r.expose()));
            let initial = initial.map_or(String::new(), |r| format!(" {}", r.expect("UTF-8")));
            format!("AUTH {mechanism}{initial}")
        }
    }
}

/// Lines that are almost commands.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&str> = vec![
        "MAIL", "RCPT", "EHLO", "AUTH", " ", "\t", "FROM:", "to:", "<", ">", "@", "\"", "\\", "a",
        ".", "b.test", "[", "]", "IPv6:", "::1", ":", ",", "SIZE=", "1", "BODY=", "8BITMIME",
        "SMTPUTF8", "RET=", "HDRS", "ENVID=", "NOTIFY=", "NEVER", "ORCPT=", "rfc822;", "+2B", "=",
        "\r", "\0", "é",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(pieces).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..4),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_parsed_mailbox_keeps_its_text(text in mailbox()) {
        let mailbox: Mailbox = text.parse().expect("a mailbox");
        prop_assert_eq!(mailbox.to_string(), &text[..]);
        prop_assert_eq!(format!("{}@{}", mailbox.local_part(), mailbox.domain()), text);
    }

    #[test]
    fn a_source_route_is_removed_and_changes_nothing_else(
        route in vec("@[a-z]{1,9}\\.test", 1..4),
        text in mailbox(),
    ) {
        let routed = format!("{}:{text}", route.join(","));
        prop_assert_eq!(routed.parse::<ForwardPath>(), text.parse::<ForwardPath>());
        prop_assert_eq!(routed.parse::<ReversePath>(), text.parse::<ReversePath>());
    }

    #[test]
    fn a_formatted_command_parses_to_the_same_command(command in any_command(), blanks in "[ \t]{0,3}") {
        let line = format(&command) + &blanks;
        prop_assert_eq!(command::parse(line.as_bytes()), Ok(command));
    }

    #[test]
    fn case_of_verb_and_keywords_does_not_matter(
        command in any_command().prop_filter("its arguments ignore case", |command| {
            !matches!(command, Command::Vrfy(_) | Command::Expn(_) | Command::Auth { .. })
        }),
    ) {
        let line = format(&command).to_ascii_lowercase();
        let read = command::parse(line.as_bytes()).map(|c| format(&c).to_ascii_lowercase());
        prop_assert_eq!(read, Ok(line));
    }

    #[test]
    fn a_parsed_command_can_be_formatted_and_parsed_again(line in line()) {
        if let Ok(command) = command::parse(&line) {
            let written = format(&command);
            let is_free_text = matches!(
                command,
                Command::Vrfy(_) | Command::Expn(_) | Command::Auth { .. }
            );
            prop_assert!(is_free_text || !written.contains(char::is_control));
            prop_assert_eq!(command::parse(written.as_bytes()), Ok(command));
        }
    }

    #[test]
    fn a_parsed_status_keeps_its_text(class in "[245]", subject in 0u16..1000, detail in 0u16..1000) {
        let text = format!("{class}.{subject}.{detail}");
        prop_assert_eq!(text.parse::<EnhancedStatus>().map(|s| s.to_string()), Ok(text));
    }
}
