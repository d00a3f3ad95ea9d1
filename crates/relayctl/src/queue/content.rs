//! Splits the octets of a message into headers and body, and prints them safely.

use std::io::{self, Write};

use relay_terminal::{escape, escape_json};

/// Finds the empty line between headers and body. The input may come in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// How many octets the current line has, without CR.
    line: usize,
    is_in_body: bool,
}

impl Splitter {
    /// Splits the next piece into the part that belongs to the headers, including the empty line,
    /// and the part that belongs to the body.
    pub(super) fn split<'a>(&mut self, octets: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        if self.is_in_body {
            return (&[], octets);
        }
        for (at, octet) in octets.iter().enumerate() {
            match octet {
                b'\n' if self.line == 0 => {
                    self.is_in_body = true;
                    return octets.split_at(at + 1);
                }
                b'\n' => self.line = 0,
                b'\r' => {}
                _ => self.line += 1,
            }
        }
        (octets, &[])
    }

    /// Returns whether the headers are complete.
    pub(super) fn is_in_body(&self) -> bool {
        self.is_in_body
    }
}

/// How octets are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Unchanged.
    Octets,
    /// Escaped, so that they cannot control the terminal.
    Screen,
    /// As the content of a JSON string. Octets that are not UTF-8 become U+FFFD.
    Json,
}

/// Prints octets that arrive in pieces. A piece may end within a character.
#[derive(Debug)]
pub(super) struct Printer {
    form: Form,
    /// The beginning of an incomplete character or line end.
    partial: Vec<u8>,
}

impl Printer {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            partial: Vec::new(),
        }
    }

    pub(super) fn print(&mut self, octets: &[u8], out: &mut impl Write) -> io::Result<()> {
        if self.form == Form::Octets {
            return out.write_all(octets);
        }
        self.partial.extend_from_slice(octets);
        let octets = std::mem::take(&mut self.partial);
        let mut rest = octets.as_slice();
        loop {
            let reason = match str::from_utf8(rest) {
                Ok(text) => {
                    let (text, partial) = self.whole(text);
                    self.partial = partial.into();
                    return self.write(text, out);
                }
                Err(reason) => reason,
            };
            let (good, bad) = rest.split_at(reason.valid_up_to());
            self.write(str::from_utf8(good).unwrap_or_default(), out)?;
            let Some(length) = reason.error_len() else {
                // The next piece may have the rest of the character.
                self.partial = bad.to_vec();
                return Ok(());
            };
            self.write("\u{fffd}", out)?;
            rest = &bad[length..];
        }
    }

    /// Returns the complete part and the rest. For a screen, a CR at the end is incomplete, because
    /// the next character decides what it means.
    fn whole<'a>(&self, text: &'a str) -> (&'a str, &'a str) {
        match text.strip_suffix('\r') {
            Some(whole) if self.form == Form::Screen => text.split_at(whole.len()),
            _ => (text, ""),
        }
    }

    /// Prints the rest. An incomplete character is replaced by U+FFFD.
    pub(super) fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        match std::mem::take(&mut self.partial).as_slice() {
            [] => Ok(()),
            b"\r" => self.write("\\r", out),
            _ => self.write("\u{fffd}", out),
        }
    }

    fn write(&self, text: &str, out: &mut impl Write) -> io::Result<()> {
        match self.form {
            Form::Octets => out.write_all(text.as_bytes()),
            Form::Json => {
                let quoted = serde_json::to_string(text)?;
                let quoted = escape_json(&quoted);
                out.write_all(&quoted.as_bytes()[1..quoted.len() - 1])
            }
            Form::Screen => write_shown(text, out),
        }
    }
}

/// Prints text with all control characters escaped except line ends and tabs.
fn write_shown(text: &str, out: &mut impl Write) -> io::Result<()> {
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.write_all(b"\n")?;
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        let parts: Vec<_> = line.split('\t').map(escape).collect();
        out.write_all(parts.join("\t").as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the headers and the body when the message arrives in pieces of this length.
    fn split(message: &[u8], length: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut splitter, mut headers, mut body) = (Splitter::default(), Vec::new(), Vec::new());
        for piece in message.chunks(length) {
            let (first, second) = splitter.split(piece);
            headers.extend_from_slice(first);
            body.extend_from_slice(second);
        }
        (headers, body)
    }

    #[test]
    fn the_first_empty_line_ends_the_headers_in_pieces_of_any_length() {
        for (headers, body) in [
            ("A: b\r\n c\r\n\r\n", "x\r\n\r\ny\r\n"),
            ("A: b\n\n", "x"),
            ("A: b\r\n", ""),
            ("\r\n", "A: b\r\n"),
        ] {
            let message = [headers, body].concat();
            for length in 1..=message.len() {
                let found = split(message.as_bytes(), length);
                assert_eq!(found, (headers.into(), body.into()), "{length}");
            }
        }
    }

    fn printed(form: Form, octets: &[u8], length: usize) -> Vec<u8> {
        let (mut printer, mut out) = (Printer::new(form), Vec::new());
        for piece in octets.chunks(length) {
            printer.print(piece, &mut out).expect("memory");
        }
        printer.end(&mut out).expect("memory");
        out
    }

    #[test]
    fn a_terminal_gets_escaped_text_and_a_pipe_the_octets() {
        let octets = b"a\tb\x1b[2J\r\nc\rd\xc2\x9b2J\n\xc3\xa4\xff\xe2\x82";
        for length in 1..=octets.len() {
            assert_eq!(printed(Form::Octets, octets, length), octets);
            let screen = String::from_utf8(printed(Form::Screen, octets, length));
            let expected = "a\tb\\u{1b}[2J\nc\\rd\\u{9b}2J\n\u{e4}\u{fffd}\u{fffd}";
            assert_eq!(screen.as_deref(), Ok(expected), "{length}");
            let quoted = [b"\"", &*printed(Form::Json, octets, length), b"\""].concat();
            let quoted = String::from_utf8(quoted).expect("text");
            assert!(!quoted.contains(char::is_control), "{quoted:?}");
            let text: String = serde_json::from_str(&quoted).expect("a string");
            let expected = "a\tb\u{1b}[2J\r\nc\rd\u{9b}2J\n\u{e4}\u{fffd}\u{fffd}";
            assert_eq!(text, expected, "{length}");
        }
    }
}
