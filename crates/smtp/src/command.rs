//! Commands as a client sends them (RFC 5321 §4.1), one line each.

use std::fmt;

use crate::address::{ForwardPath, ReversePath};

/// A command with arguments that are known to be good.
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
        /// What was said beside it.
        params: MailParams,
    },
    /// `RCPT TO:<path> parameters`
    Rcpt {
        /// The recipient.
        path: ForwardPath,
        /// What was said beside it.
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
        /// The mechanism in capitals.
        mechanism: String,
        /// The initial response, still in base64.
        initial: Option<String>,
    },
}

/// The parameters of MAIL that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailParams {
    /// `SIZE=n`: octets that the client means to send (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
}

/// The parameters of RCPT that are known here: none, until DSN (RFC 3461) is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RcptParams {}

/// Why a line is no command; each kind has a reply of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// `500`: no such verb.
    #[error("unknown command")]
    Unknown,
    /// `501`: the verb is known, its argument is missing or malformed.
    #[error("syntax error in the argument of {0}")]
    Syntax(&'static str),
    /// `555`: a parameter of MAIL or RCPT that was not offered (RFC 5321 §4.1.1.11).
    #[error("unknown parameter of {0}")]
    UnknownParameter(&'static str),
    /// `501`: a known parameter with a value it cannot have.
    #[error("bad parameter value in {0}")]
    BadParameter(&'static str),
}

/// The name by which a client introduces itself: a domain or an address literal by RFC 5321
/// §4.1.3, in practice many another word. Letters, digits and `.-_:[]` only, so that it may stand
/// in a header or a log as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(Box<str>);

impl ClientName {
    /// RFC 5321 §4.5.3.1.2
    const MAX: usize = 255;

    /// The name, if `text` can be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b".-_:[]".contains(&c);
        let fits = (1..=Self::MAX).contains(&text.len());
        (fits && text.bytes().all(is_plain)).then(|| Self(text.into()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses one line without its CR LF. Verbs and parameter names may come in any case
/// (RFC 5321 §2.4).
pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
    let line = std::str::from_utf8(line).map_err(|_| unreadable(line))?;
    let line = line.trim_end_matches([' ', '\t']);
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim_start_matches(' ');
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => client_name("EHLO", argument).map(Command::Ehlo),
        "HELO" => client_name("HELO", argument).map(Command::Helo),
        "MAIL" => mail(argument),
        "RCPT" => rcpt(argument),
        "DATA" => without_argument("DATA", argument, Command::Data),
        "RSET" => without_argument("RSET", argument, Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => with_argument("VRFY", argument).map(Command::Vrfy),
        "EXPN" => with_argument("EXPN", argument).map(Command::Expn),
        "HELP" => Ok(Command::Help),
        "QUIT" => without_argument("QUIT", argument, Command::Quit),
        "STARTTLS" => without_argument("STARTTLS", argument, Command::StartTls),
        "AUTH" => auth(argument),
        _ => Err(CommandError::Unknown),
    }
}

/// A line that is no UTF-8: still a known verb with a bad argument, if it begins with one.
fn unreadable(line: &[u8]) -> CommandError {
    let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
    match verb.as_slice() {
        b"MAIL" => CommandError::Syntax("MAIL"),
        b"RCPT" => CommandError::Syntax("RCPT"),
        b"EHLO" => CommandError::Syntax("EHLO"),
        b"HELO" => CommandError::Syntax("HELO"),
        b"VRFY" => CommandError::Syntax("VRFY"),
        b"NOOP" => CommandError::Syntax("NOOP"),
        _ => CommandError::Unknown,
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

fn mail(argument: &str) -> Result<Command, CommandError> {
    const VERB: &str = "MAIL";
    let (path, rest) = path_argument(VERB, "FROM:", argument)?;
    let path = path.parse().map_err(|_| CommandError::Syntax(VERB))?;
    let mut params = MailParams::default();
    for (name, value) in parameters(rest) {
        match (name.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(value)) => params.size = Some(size(value)?),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                params.eight_bit = true;
            }
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => params.eight_bit = false,
            ("SMTPUTF8", None) => params.utf8 = true,
            ("SIZE" | "BODY" | "SMTPUTF8", _) => return Err(CommandError::BadParameter(VERB)),
            _ => return Err(CommandError::UnknownParameter(VERB)),
        }
    }
    Ok(Command::Mail { path, params })
}

fn rcpt(argument: &str) -> Result<Command, CommandError> {
    const VERB: &str = "RCPT";
    let (path, rest) = path_argument(VERB, "TO:", argument)?;
    let path = path.parse().map_err(|_| CommandError::Syntax(VERB))?;
    let params = RcptParams::default();
    match parameters(rest).next() {
        None => Ok(Command::Rcpt { path, params }),
        Some(_) => Err(CommandError::UnknownParameter(VERB)),
    }
}

/// RFC 1870 §4: up to 20 digits.
fn size(value: &str) -> Result<u64, CommandError> {
    if value.is_empty() || value.len() > 20 || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CommandError::BadParameter("MAIL"));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

/// `FROM:<path> rest`; blanks behind the colon are common, if wrong, and harmless.
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
    let inner = path.strip_prefix('<').ok_or(error)?;
    let end = closing_bracket(inner).ok_or(error)?;
    let rest = &inner[end + 1..];
    if rest.is_empty() || rest.starts_with(' ') {
        Ok((&inner[..end], rest))
    } else {
        Err(error)
    }
}

/// The `>` outside of a quoted string.
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

fn parameters(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        })
}

fn auth(argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(CommandError::Syntax("AUTH"))?;
    let initial = words.next().map(str::to_owned);
    // RFC 4422 §3.1: 1 to 20 of letters, digits, hyphen, underscore.
    let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if words.next().is_some() || mechanism.len() > 20 || !mechanism.bytes().all(is_name) {
        return Err(CommandError::Syntax("AUTH"));
    }
    Ok(Command::Auth {
        mechanism: mechanism.to_ascii_uppercase(),
        initial,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail_of(path: &str, params: MailParams) -> Result<Command, CommandError> {
        let path = path.parse().expect("a path");
        Ok(Command::Mail { path, params })
    }

    #[test]
    fn mail_takes_paths_and_parameters() {
        let none = MailParams::default();
        for (line, path, params) in [
            ("MAIL FROM:<a@b.test>", "a@b.test", none),
            ("mail from:<a@b.test>", "a@b.test", none),
            ("MAIL FROM: <a@b.test>  ", "a@b.test", none),
            ("MAIL FROM:<>", "", none),
            ("MAIL FROM:<\"a>b\"@c.test>", "\"a>b\"@c.test", none),
            ("MAIL FROM:<@x.test:a@b.test>", "a@b.test", none),
            (
                "MAIL FROM:<a@b.test> SIZE=10",
                "a@b.test",
                MailParams {
                    size: Some(10),
                    ..none
                },
            ),
            (
                "MAIL FROM:<a@b.test> BODY=8BITMIME smtputf8",
                "a@b.test",
                MailParams {
                    eight_bit: true,
                    utf8: true,
                    ..none
                },
            ),
            (
                "MAIL FROM:<a@b.test> SIZE=99999999999999999999",
                "a@b.test",
                MailParams {
                    size: Some(u64::MAX),
                    ..none
                },
            ),
        ] {
            assert_eq!(parse(line.as_bytes()), mail_of(path, params), "{line}");
        }
    }

    #[test]
    fn malformed_arguments_are_syntax_errors() {
        for line in [
            "MAIL",
            "MAIL FROM:",
            "MAIL FROM:a b",
            "MAIL FROM:<a@b",
            "MAIL FROM:<a@b>x",
            "MAIL <a@b>",
            "RCPT",
            "RCPT TO:<>",
            "RCPT TO:<a>",
            "RCPT FROM:<a@b>",
            "EHLO",
            "HELO",
            "EHLO a b",
            "EHLO a(b)",
            "DATA now",
            "RSET x",
            "QUIT x",
            "VRFY",
            "AUTH",
            "AUTH PLAIN x y",
            "AUTH ;x",
        ] {
            assert!(
                matches!(parse(line.as_bytes()), Err(CommandError::Syntax(_))),
                "{line}"
            );
        }
        assert_eq!(
            parse(b"MAIL FROM:<\xff@b>"),
            Err(CommandError::Syntax("MAIL"))
        );
    }

    #[test]
    fn unknown_things_are_told_apart() {
        for line in ["", "FROB", "EHLOx", "DATA\tx", "\u{fc}"] {
            assert_eq!(parse(line.as_bytes()), Err(CommandError::Unknown), "{line}");
        }
        let unknown = Err(CommandError::UnknownParameter("MAIL"));
        assert_eq!(parse(b"MAIL FROM:<a@b.test> X=1"), unknown);
        let unknown = Err(CommandError::UnknownParameter("RCPT"));
        assert_eq!(parse(b"RCPT TO:<a@b.test> NOTIFY=NEVER"), unknown);
        for value in ["SIZE=", "SIZE=x", "SIZE", "BODY=BINARY", "SMTPUTF8=1"] {
            let line = format!("MAIL FROM:<a@b.test> {value}");
            assert_eq!(
                parse(line.as_bytes()),
                Err(CommandError::BadParameter("MAIL")),
                "{line}"
            );
        }
    }

    #[test]
    fn auth_keeps_its_initial_response() {
        let expected = Command::Auth {
            mechanism: "PLAIN".into(),
            initial: Some("AGE=".into()),
        };
        assert_eq!(parse(b"auth plain AGE="), Ok(expected));
    }
}
