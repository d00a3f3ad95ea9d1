//! A password from whoever types it, or from a program.

use std::io::{self, BufRead, BufReader, Read, Write};

use relay_users::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Octets that are read of a line; no password may be that long.
const LONGEST: u64 = 16 * 1024;

/// The password on the one line of `input`, with or without a line end.
pub(crate) fn from_line(input: &mut impl BufRead) -> Result<Secret, Failure> {
    let mut line = String::new();
    let read = input.take(LONGEST).read_line(&mut line);
    read.map_err(|reason| refused(format!("the password cannot be read: {reason}")))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(refused("an empty password would be nobody's secret"));
    }
    Secret::new(password).map_err(|reason| refused(reason.to_string()))
}

/// Asks twice on the terminal, without showing what is typed.
pub(crate) fn ask(name: &str) -> Result<Secret, Failure> {
    asked(name, &["Password", "The same password again"])
}

/// Asks once: the password is another's to judge.
pub(crate) fn ask_once(name: &str) -> Result<Secret, Failure> {
    asked(name, &["Password"])
}

fn asked(name: &str, questions: &[&str]) -> Result<Secret, Failure> {
    let reason = |e: io::Error| {
        refused(format!(
            "there is no terminal to ask for the password on ({e}): use --password-stdin"
        ))
    };
    let terminal = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(reason)?;
    let hidden = Hidden::new(&terminal).map_err(reason)?;
    let mut lines = BufReader::new(&terminal);
    let mut answers = Vec::new();
    for question in questions {
        let shown = write!(&terminal, "{question} for {name}: ").and_then(|()| (&terminal).flush());
        shown.map_err(reason)?;
        let password = from_line(&mut lines);
        // The line end that was typed is not shown either.
        writeln!(&terminal).map_err(reason)?;
        answers.push(password?);
    }
    drop(hidden);
    let first = answers.pop();
    match first {
        Some(first) if answers.iter().all(|other| *other == first) => Ok(first),
        _ => Err(refused("these are two different passwords")),
    }
}

fn refused(reason: impl Into<String>) -> Failure {
    Failure::Refused(reason.into())
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a std::fs::File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a std::fs::File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away shows nothing anyway.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_without_its_end() {
        for (input, password) in [
            ("s3cret\n", "s3cret"),
            ("s3cret", "s3cret"),
            ("s3cret\r\nmore\n", "s3cret"),
            (" with blanks \n", " with blanks "),
            ("pässword\n", "pässword"),
        ] {
            let read = from_line(&mut input.as_bytes()).expect(input);
            assert_eq!(read.expose(), password);
        }
    }

    #[test]
    fn what_is_no_password_is_refused() {
        let long = "x".repeat(9000) + "\n";
        for input in ["", "\n", "\r\n", "a\tb\n", "a\0b\n", &long] {
            let refused = from_line(&mut input.as_bytes());
            assert!(matches!(refused, Err(Failure::Refused(_))), "{input:?}");
        }
        let refused = from_line(&mut &b"\xff\xfe\n"[..]);
        assert!(matches!(refused, Err(Failure::Refused(_))));
    }
}
