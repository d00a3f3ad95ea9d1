//! Reads a password from the terminal or from a program.

use std::io::{self, BufRead, BufReader, Read, Write};

use relay_smtp::sasl::{Secret, SecretError};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The input cannot be read.
    #[error("the password cannot be read: {0}")]
    Read(io::Error),
    /// There is no terminal.
    #[error("there is no terminal to ask for the password ({0}); use --password-stdin")]
    NoTerminal(io::Error),
    /// The line is empty.
    #[error("an empty password is not allowed")]
    Empty,
    /// The two passwords differ.
    #[error("the two passwords differ")]
    Differ,
    /// The password has characters that no login could send.
    #[error(transparent)]
    Invalid(#[from] SecretError),
}

/// The most octets read of a line; no password may be that long.
const LONGEST: u64 = 16 * 1024;

/// Reads one line from `input` as the password. The line end is optional.
pub fn from_line(input: &mut impl BufRead) -> Result<Secret, PasswordError> {
    let mut line = String::new();
    let read = input.take(LONGEST).read_line(&mut line);
    read.map_err(PasswordError::Read)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    Ok(Secret::new(password)?)
}

/// Asks for a new password twice on the terminal, without showing it.
pub fn ask(name: &str) -> Result<Secret, PasswordError> {
    asked(name, &["Password", "Repeat the password"])
}

/// Asks once for a password that another server will check.
pub fn ask_once(name: &str) -> Result<Secret, PasswordError> {
    asked(name, &["Password"])
}

fn asked(name: &str, questions: &[&str]) -> Result<Secret, PasswordError> {
    let terminal = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(PasswordError::NoTerminal)?;
    let hidden = Hidden::new(&terminal).map_err(PasswordError::NoTerminal)?;
    let mut lines = BufReader::new(&terminal);
    let mut answers = Vec::new();
    for question in questions {
        let shown = write!(&terminal, "{question} for {name}: ").and_then(|()| (&terminal).flush());
        shown.map_err(PasswordError::NoTerminal)?;
        let password = from_line(&mut lines);
        // The line end that the user typed is not shown either.
        writeln!(&terminal).map_err(PasswordError::NoTerminal)?;
        answers.push(password?);
    }
    drop(hidden);
    let first = answers.pop();
    match first {
        Some(first) if answers.iter().all(|other| *other == first) => Ok(first),
        _ => Err(PasswordError::Differ),
    }
}

/// Turns off the terminal's echo until it is dropped.
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
        // A terminal that has gone away shows nothing.
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
    fn an_invalid_password_is_refused() {
        let long = "x".repeat(9000) + "\n";
        for input in ["", "\n", "\r\n", "a\tb\n", "a\0b\n", &long] {
            let refused = from_line(&mut input.as_bytes());
            assert!(refused.is_err(), "{input:?}");
        }
        let refused = from_line(&mut &b"\xff\xfe\n"[..]);
        assert!(matches!(refused, Err(PasswordError::Read(_))));
    }
}
