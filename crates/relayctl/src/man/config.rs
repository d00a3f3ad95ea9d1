//! relayd.toml(5), made from the comments and keys of the shipped configuration file.

use clap_mangen::roff::{Roff, bold, roman};

use super::{see_also, title};

/// A part of the configuration file.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A table with the comment before it.
    Table(String, Vec<String>),
    /// Keys that share a comment, with their defaults, if they have any.
    Keys(Vec<(String, Option<String>)>, Vec<String>),
    /// A comment that has no key.
    Text(Vec<String>),
    /// Lines that show an example.
    Example(Vec<String>),
}

pub(super) fn page(text: &str, date: &str) -> String {
    let mut roff = Roff::new();
    title(&mut roff, "relayd.toml", "5", date);
    roff.control("SH", ["NAME"]);
    roff.text([roman("relayd.toml - the configuration of relayd")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("/etc/relayd/relayd.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut is_first = true;
    for part in parse(text) {
        render(&mut roff, &part, is_first);
        if std::mem::take(&mut is_first) {
            roff.control("SH", ["KEYS"]);
        }
    }
    see_also(&mut roff, &[("relayctl", 8), ("relayd", 8)]);
    roff.to_roff()
}

fn render(roff: &mut Roff, part: &Part, is_first: bool) {
    match part {
        Part::Table(name, comment) => {
            roff.control("SS", [name.as_str()]);
            paragraphs(roff, comment, false);
        }
        Part::Keys(keys, comment) => {
            for (index, (name, default)) in keys.iter().enumerate() {
                roff.control(if index == 0 { "TP" } else { "TQ" }, []);
                match default {
                    Some(default) => roff.text([bold(name), roman(format!(" = {default}"))]),
                    None => roff.text([bold(name)]),
                };
            }
            match comment.first() {
                Some(first) => roff.text([roman(first)]),
                None => roff.text([roman("See above.")]),
            };
        }
        Part::Text(comment) => paragraphs(roff, comment, !is_first),
        Part::Example(lines) => {
            roff.control("PP", []);
            roff.control("nf", []);
            for line in lines {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
        }
    }
}

/// Writes the paragraphs. `apart` is whether the section has other text before them.
fn paragraphs(roff: &mut Roff, paragraphs: &[String], apart: bool) {
    for (index, paragraph) in paragraphs.iter().enumerate() {
        if apart || index > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph)]);
    }
}

/// Parses the file. Blank lines separate its blocks. A line with only `#` separates paragraphs of a
/// comment.
fn parse(text: &str) -> Vec<Part> {
    let mut parser = Parser::default();
    for line in text.lines() {
        parser.line(line);
    }
    parser.end_block();
    parser.parts
}

#[derive(Debug, Default)]
struct Parser {
    parts: Vec<Part>,
    /// The paragraphs of the comment so far.
    comment: Vec<String>,
    /// Whether the next line of a comment begins a paragraph.
    begins: bool,
    keys: Vec<(String, Option<String>)>,
    example: Vec<String>,
}

impl Parser {
    fn line(&mut self, line: &str) {
        let commented = line.strip_prefix('#');
        let content = commented.map(|rest| rest.strip_prefix(' ').unwrap_or(rest));
        match content {
            None if line.is_empty() => self.end_block(),
            None => self.table(line),
            Some("") => {
                self.end_example();
                self.end_keys();
                self.begins = true;
            }
            Some(rest) if !self.example.is_empty() => self.example.push(rest.to_owned()),
            Some(rest) if rest.starts_with("[[") && rest.ends_with("]]") => {
                self.end_text();
                self.example.push(rest.to_owned());
            }
            Some(rest) => match key(rest) {
                Some((name, value)) => {
                    // A key after "# " has no default. Its value is an example only.
                    let has_default = commented == Some(rest);
                    let default = has_default.then(|| value.to_owned());
                    self.keys.push((name.to_owned(), default));
                }
                None => self.text(rest),
            },
        }
    }

    fn text(&mut self, text: &str) {
        self.end_keys();
        match self.comment.last_mut() {
            Some(last) if !self.begins => {
                last.push(' ');
                last.push_str(text);
            }
            _ => self.comment.push(text.to_owned()),
        }
        self.begins = false;
    }

    fn table(&mut self, line: &str) {
        self.end_keys();
        let comment = std::mem::take(&mut self.comment);
        self.parts.push(Part::Table(line.to_owned(), comment));
    }

    fn end_block(&mut self) {
        self.end_example();
        self.end_text();
    }

    fn end_text(&mut self) {
        self.end_keys();
        if !self.comment.is_empty() {
            self.parts
                .push(Part::Text(std::mem::take(&mut self.comment)));
        }
        self.begins = false;
    }

    fn end_keys(&mut self) {
        if !self.keys.is_empty() {
            let keys = std::mem::take(&mut self.keys);
            let comment = std::mem::take(&mut self.comment);
            self.parts.push(Part::Keys(keys, vec![comment.join(" ")]));
        }
    }

    fn end_example(&mut self) {
        if !self.example.is_empty() {
            self.parts
                .push(Part::Example(std::mem::take(&mut self.example)));
        }
    }
}

/// Parses a line such as `message_size = "25MiB"`.
fn key(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(" = ")?;
    let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_the_text_of_what_follows_them() {
        let text = "\
# About the file,
# in two lines.

# A name.
# hostname = \"h\"

# Limits.
[limits]
# Sizes.
#size = 1
#number = 2
# Time.
#time = \"5m\"

# Routes.
#
# [[route]]
# host = [\"a\"]
";
        let text_of = |s: &str| vec![s.to_owned()];
        assert_eq!(
            parse(text),
            [
                Part::Text(text_of("About the file, in two lines.")),
                Part::Keys(vec![("hostname".to_owned(), None)], text_of("A name.")),
                Part::Table("[limits]".to_owned(), text_of("Limits.")),
                Part::Keys(
                    vec![
                        ("size".to_owned(), Some("1".to_owned())),
                        ("number".to_owned(), Some("2".to_owned())),
                    ],
                    text_of("Sizes.")
                ),
                Part::Keys(
                    vec![("time".to_owned(), Some("\"5m\"".to_owned()))],
                    text_of("Time.")
                ),
                Part::Text(text_of("Routes.")),
                Part::Example(vec!["[[route]]".to_owned(), "host = [\"a\"]".to_owned()]),
            ]
        );
    }

    #[test]
    fn every_key_of_the_shipped_file_has_a_text() {
        let parts = parse(super::super::CONFIG);
        let mut count = 0;
        for part in &parts {
            if let Part::Keys(keys, comment) = part {
                count += keys.len();
                assert!(comment.iter().all(|text| !text.is_empty()), "{keys:?}");
            }
        }
        assert!(count > 40, "{count} keys");
    }
}
