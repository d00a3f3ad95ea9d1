//! The commands of a client (RFC 5321 §4.1), one line each.

use memchr::memchr;

use crate::address::{ForwardPath, Mailbox, ReversePath};
use crate::sasl::{Mechanism, Response};

mod name;
mod parameters;

pub use name::ClientName;
pub use parameters::{MailParams, RcptParams};

/// A command with valid arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `EHLO name`
    Ehlo(ClientName),
    /// `HELO name`
    Helo(ClientName),
    /// `MAIL FROM:<path> parameters`
    Mail {
        /// The sender.
        path: ReversePath,
        /// Its parameters.
        params: MailParams,
    },
    /// `RCPT TO:<path> parameters`
    Rcpt {
        /// The recipient.
        path: ForwardPath,
        /// Its parameters.
        params: RcptParams,
    },
    /// `DATA`
    Data,
    /// `RSET`
    Rset,
    /// `NOOP`, with or without words.
    Noop,
    /// `VRFY string`
    Vrfy(String),
    /// `EXPN string`
    Expn(String),
    /// `HELP`, with or without words.
    Help,
    /// `QUIT`
    Quit,
    /// `STARTTLS` (RFC 3207)
    StartTls,
    /// `AUTH mechanism [initial-response]` (RFC 4954)
    Auth {
        /// The mechanism, if it is supported.
        mechanism: Option<Mechanism>,
        /// The initial response.
        initial: Option<Response>,
    },
}

/// Why a line is not a command. Each kind has its own reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// `500`: the verb is unknown.
    #[error("unknown command")]
    Unknown,
    /// `501`: the verb is known, but its argument is missing or malformed.
    #[error("syntax error in the argument of {0}")]
    Syntax(&'static str),
    /// `555`: a parameter of MAIL or RCPT that was not offered (RFC 5321 §4.1.1.11).
    #[error("unknown parameter of {0}")]
    UnknownParameter(&'static str),
    /// `501`: a known parameter has an invalid value, or is repeated.
    #[error("bad parameter value in {0}")]
    BadParameter(&'static str),
}

impl CommandError {
    /// Returns the argument of a refused MAIL or RCPT line. Returns `None` for other lines, because
    /// they may contain a password.
    pub(crate) fn argument_of(self, line: &[u8]) -> Option<Box<str>> {
        match self {
            Self::Syntax(verb) | Self::UnknownParameter(verb) | Self::BadParameter(verb)
                if ["MAIL", "RCPT"].contains(&verb) =>
            {
                let argument = line.get(verb.len()..)?.trim_ascii();
                Some(String::from_utf8_lossy(argument).into())
            }
            _ => None,
        }
    }
}

const VERBS: [&str; 13] = [
    "EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT",
    "STARTTLS", "AUTH",
];

/// Parses one line without its CR LF. Case is ignored in verbs and parameter names (RFC 5321 §2.4),
/// and blanks at the end of the line are ignored (§4.1.1).
pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
    parse_with(line, None)
}

/// Like [`parse`]. If `domain` is given, it completes an address in MAIL or RCPT that has none.
pub fn parse_with(line: &[u8], domain: Option<&str>) -> Result<Command, CommandError> {
    let end = line.iter().rposition(|octet| !b" \t".contains(octet));
    let line = &line[..end.map_or(0, |last| last + 1)];
    let (verb, argument) = line.split_at(memchr(b' ', line).unwrap_or(line.len()));
    let verb = VERBS
        .into_iter()
        .find(|known| known.as_bytes().eq_ignore_ascii_case(verb))
        .ok_or(CommandError::Unknown)?;
    // Octets beyond ASCII must be UTF-8 (RFC 6531 §3.3), except in EHLO and HELO, where clients
    // send names of any form.
    if let "EHLO" | "HELO" = verb {
        let name = String::from_utf8_lossy(argument);
        let name = client_name(verb, name.trim_start_matches(' '))?;
        return Ok(if verb == "EHLO" {
            Command::Ehlo(name)
        } else {
            Command::Helo(name)
        });
    }
    let argument = std::str::from_utf8(argument).map_err(|_| CommandError::Syntax(verb))?;
    let argument = argument.trim_start_matches(' ');
    match verb {
        "MAIL" => mail(verb, argument, domain),
        "RCPT" => rcpt(verb, argument, domain),
        "DATA" => without_argument(verb, argument, Command::Data),
        "RSET" => without_argument(verb, argument, Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => with_argument(verb, argument).map(Command::Vrfy),
        "EXPN" => with_argument(verb, argument).map(Command::Expn),
        "HELP" => Ok(Command::Help),
        "QUIT" => without_argument(verb, argument, Command::Quit),
        "STARTTLS" => without_argument(verb, argument, Command::StartTls),
        "AUTH" => auth(verb, argument),
        _ => Err(CommandError::Unknown),
    }
}

fn client_name(verb: &'static str, argument: &str) -> Result<ClientName, CommandError> {
    ClientName::parse(argument).ok_or(CommandError::Syntax(verb))
}

fn without_argument(
    verb: &'static str,
    argument: &str,
    command: Command,
) -> Result<Command, CommandError> {
    if argument.is_empty() {
        Ok(command)
    } else {
        Err(CommandError::Syntax(verb))
    }
}

fn with_argument(verb: &'static str, argument: &str) -> Result<String, CommandError> {
    if argument.is_empty() {
        Err(CommandError::Syntax(verb))
    } else {
        Ok(argument.to_owned())
    }
}

fn mail(verb: &'static str, argument: &str, domain: Option<&str>) -> Result<Command, CommandError> {
    let (path, rest) = path_argument(verb, "FROM:", argument)?;
    let path = path
        .parse()
        .ok()
        .or_else(|| Some(ReversePath::Mailbox(completed(path, domain?)?)));
    let path = path.ok_or(CommandError::Syntax(verb))?;
    let params = MailParams::parse(verb, rest)?;
    Ok(Command::Mail { path, params })
}

fn rcpt(verb: &'static str, argument: &str, domain: Option<&str>) -> Result<Command, CommandError> {
    let (path, rest) = path_argument(verb, "TO:", argument)?;
    let path = path
        .parse()
        .ok()
        .or_else(|| Some(ForwardPath::Mailbox(completed(path, domain?)?)));
    let path = path.ok_or(CommandError::Syntax(verb))?;
    let params = RcptParams::parse(verb, rest)?;
    Ok(Command::Rcpt { path, params })
}

/// Adds this domain to a bare address.
fn completed(local_part: &str, domain: &str) -> Option<Mailbox> {
    format!("{local_part}@{domain}").parse().ok()
}

/// Parses `FROM:<path> rest`. Blanks after the colon are wrong, but common and harmless, so they
/// are accepted. The same goes for paths without angle brackets: such a path ends at the first
/// blank and is never empty.
fn path_argument<'a>(
    verb: &'static str,
    keyword: &str,
    argument: &'a str,
) -> Result<(&'a str, &'a str), CommandError> {
    let error = CommandError::Syntax(verb);
    let head = argument.get(..keyword.len()).ok_or(error)?;
    if !head.eq_ignore_ascii_case(keyword) {
        return Err(error);
    }
    let path = argument[keyword.len()..].trim_start_matches(' ');
    let Some(inner) = path.strip_prefix('<') else {
        let (path, rest) = path.split_at(path.find(' ').unwrap_or(path.len()));
        return (!path.is_empty()).then_some((path, rest)).ok_or(error);
    };
    let end = closing_bracket(inner).ok_or(error)?;
    let rest = &inner[end + 1..];
    if rest.is_empty() || rest.starts_with(' ') {
        Ok((&inner[..end], rest))
    } else {
        Err(error)
    }
}

/// Returns the index of the `>` that is not in a quoted string.
fn closing_bracket(path: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    path.bytes().position(|b| {
        let is_end = b == b'>' && !quoted;
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        is_end
    })
}

fn auth(verb: &'static str, argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(CommandError::Syntax(verb))?;
    let initial = words.next().map(Response::new);
    // RFC 4422 §3.1: 1 to 20 letters, digits, hyphens or underscores.
    let is_name = mechanism.len() <= 20
        && mechanism
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if words.next().is_some() || !is_name {
        return Err(CommandError::Syntax(verb));
    }
    Ok(Command::Auth {
        mechanism: Mechanism::named(mechanism),
        initial,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail_of(path: &str, params: MailParams) -> Command {
        let path = path.parse().expect("a path");
        Command::Mail { path, params }
    }

    #[test]
    fn mail_accepts_paths_and_parameters() {
        let none = MailParams::default;
        for (line, path, params) in [
            ("MAIL FROM:<a@b.test>", "a@b.test", none()),
            ("mail from:<a@b.test>", "a@b.test", none()),
            ("MAIL FROM: <a@b.test>  ", "a@b.test", none()),
            ("MAIL  FROM:<a@b.test>\t", "a@b.test", none()),
            ("MAIL FROM:<>", "", none()),
            ("MAIL FROM:<\"a>b\"@c.test>", "\"a>b\"@c.test", none()),
            ("MAIL FROM:a@b.test", "a@b.test", none()),
            ("MAIL FROM: \"a>b\"@c.test ", "\"a>b\"@c.test", none()),
            ("MAIL FROM:@x.test:a@b.test", "a@b.test", none()),
            (
                "MAIL FROM:a@b.test SIZE=10",
                "a@b.test",
                MailParams {
                    size: Some(10),
                    ..none()
                },
            ),
            ("MAIL FROM:<@x.test:a@b.test>", "a@b.test", none()),
            (
                "MAIL FROM:<a@b.test> SIZE=10",
                "a@b.test",
                MailParams {
                    size: Some(10),
                    ..none()
                },
            ),
            (
                "MAIL FROM:<a@b.test> BODY=8BITMIME smtputf8",
                "a@b.test",
                MailParams {
                    eight_bit: true,
                    utf8: true,
                    ..none()
                },
            ),
            (
                "MAIL FROM:<a@b.test> SIZE=99999999999999999999",
                "a@b.test",
                MailParams {
                    size: Some(u64::MAX),
                    ..none()
                },
            ),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(mail_of(path, params)), "{line}");
        }
    }

    #[test]
    fn only_the_argument_of_a_refused_mail_or_rcpt_is_kept() {
        for (line, argument) in [
            (&b"MAIL FROM:<a b@c> "[..], Some("FROM:<a b@c>")),
            (b"rcpt to:<\xff>", Some("to:<\u{fffd}>")),
            (b"RCPT TO:<a@b.test> X=1", Some("TO:<a@b.test> X=1")),
            (b"RCPT", Some("")),
            (b"AUTH PLAIN c2VjcmV0 x", None),
            (b"c2VjcmV0", None),
            (b"EHLO a\tb", None),
        ] {
            let error = parse(line).expect_err("no command");
            assert_eq!(error.argument_of(line).as_deref(), argument, "{line:?}");
        }
    }

    #[test]
    fn malformed_arguments_are_syntax_errors() {
        for line in [
            "MAIL",
            "MAIL FROM:",
            "MAIL FROM: ",
            "MAIL FROM:a b",
            "MAIL FROM a@b.test",
            "MAIL FROM:a@b.test>",
            "MAIL FROM:a@b.test,c@d.test",
            "MAIL FROM:\"a b\"@c.test",
            "MAIL FROM:a@b.test\tSIZE=1",
            "RCPT TO:",
            "RCPT TO:a@b.test<c@d.test>",
            "MAIL FROM:<a@b",
            "MAIL FROM:<a@b>x",
            "MAIL <a@b>",
            "RCPT",
            "RCPT TO:<>",
            "RCPT TO:<a>",
            "RCPT FROM:<a@b>",
            "EHLO",
            "HELO",
            "DATA now",
            "RSET x",
            "QUIT x",
            "VRFY",
            "AUTH",
            "AUTH PLAIN x y",
            "AUTH ;x",
            "AUTH ABCDEFGHIJKLMNOPQRSTU",
            "MAIL FROM:<a@b.test>\tSIZE=1",
            "RCPT TO:<a@b.test>, <c@b.test>",
            "RCPT TO:<<a@b.test>>",
            "EHLO a\tb",
            "EHLO a\u{85}b",
        ] {
            assert!(
                matches!(parse(line.as_bytes()), Err(CommandError::Syntax(_))),
                "{line}"
            );
        }
        for (line, verb) in [
            (&b"MAIL FROM:<\xff@b>"[..], "MAIL"),
            (b"NOOP \xff", "NOOP"),
            (b"starttls \xff", "STARTTLS"),
        ] {
            assert_eq!(parse(line), Err(CommandError::Syntax(verb)));
        }
    }

    #[test]
    fn other_lines_are_unknown_commands() {
        for line in [
            "",
            " NOOP",
            "FROB",
            "EHLOx",
            "DATA\tx",
            "NOOP\r",
            "MAIL\u{fc}",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(CommandError::Unknown), "{line}");
        }
    }

    #[test]
    fn blanks_after_a_verb_are_not_an_argument() {
        assert_eq!(parse(b"DATA \t"), Ok(Command::Data));
        assert_eq!(parse(b"quit\t"), Ok(Command::Quit));
        assert_eq!(parse(b"RSET  "), Ok(Command::Rset));
    }

    #[test]
    fn auth_keeps_its_initial_response() {
        for (line, mechanism, initial) in [
            ("auth plain AGE=", Some(Mechanism::Plain), Some("AGE=")),
            ("AUTH  LOGIN", Some(Mechanism::Login), None),
            ("AUTH Frob =", None, Some("=")),
        ] {
            let initial = initial.map(Response::new);
            let expected = Command::Auth { mechanism, initial };
            assert_eq!(parse(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn debug_output_hides_the_arguments_of_auth() {
        let command = parse(b"AUTH c2VjcmV0 AHUAc2VjcmV0").expect("a command");
        let text = format!("{command:?}");
        assert_eq!(text, "Auth { mechanism: None, initial: Some(Response) }");
    }
}
