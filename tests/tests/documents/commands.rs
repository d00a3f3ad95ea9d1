//! Every `relayd` and `relayctl` command line in the documents exists, with its options.

use std::collections::HashMap;

use relay_tests::help;

use crate::text::{self, Parts};

/// Options before the verb that take a value.
const WITH_VALUE: &[&str] = &["--socket", "--config"];

/// A command line of this project.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    program: &'a str,
    /// Options before the verb.
    global: Vec<&'a str>,
    /// The verb and all that follows.
    rest: Vec<&'a str>,
}

/// Parses the command line in one part of a pipeline. Returns `None` if it is not of this project.
/// It may be run by cargo, ssh or runuser.
fn parse(segment: &str) -> Option<Line<'_>> {
    let words: Vec<&str> = segment.split_whitespace().collect();
    let start = usize::from(matches!(words.first(), Some(&("$" | "#"))));
    let words = &words[start..];
    let dashes = words.iter().rposition(|word| *word == "--");
    let behind = &words[dashes.map_or(0, |at| at + 1)..];
    let (program, arguments) = match words.iter().position(|word| *word == "--bin") {
        Some(at) => (words.get(at + 1)?, behind),
        None => behind.split_first()?,
    };
    if !matches!(*program, "relayd" | "relayctl") {
        return None;
    }
    let mut global = Vec::new();
    let mut rest = arguments;
    while let Some((option, others)) = rest.split_first() {
        if !option.starts_with("--") {
            break;
        }
        global.push(*option);
        rest = &others[usize::from(WITH_VALUE.contains(option)).min(others.len())..];
    }
    Some(Line {
        program,
        global,
        rest: rest.to_vec(),
    })
}

/// The help of each verb, or the reason that there is none.
#[derive(Default)]
struct Helps(HashMap<(String, Vec<String>), Result<String, String>>);

impl Helps {
    fn get(&mut self, program: &str, verb: &[&str]) -> Result<String, String> {
        let key = (
            program.to_owned(),
            verb.iter().map(ToString::to_string).collect(),
        );
        let ask = || {
            let output = help(program, verb);
            if output.status.success() {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            } else {
                Err(String::from_utf8_lossy(&output.stderr).into_owned())
            }
        };
        self.0.entry(key).or_insert_with(ask).clone()
    }

    /// Checks that the program has this verb with these options.
    fn check(&mut self, line: &Line<'_>) -> Result<(), String> {
        let has = |help: &str, option: &str| {
            let name = option.split('=').next().unwrap_or_default();
            let mut words = help.split_whitespace();
            if words.any(|word| word.trim_matches([',', '[', ']', '<', '>']) == name) {
                Ok(())
            } else {
                Err(format!("there is no {name}"))
            }
        };
        let general = self.get(line.program, &[])?;
        line.global
            .iter()
            .try_for_each(|option| has(&general, option))?;
        let Some((verb, mut rest)) = line.rest.split_first() else {
            return Ok(());
        };
        let mut help = self.get(line.program, &[verb])?;
        if let (true, Some((below, others))) = (help.contains("Commands:"), rest.split_first()) {
            help = self.get(line.program, &[verb, below])?;
            rest = others;
        }
        let mut options = rest.iter().filter(|word| word.starts_with("--"));
        options.try_for_each(|option| has(&help, option))
    }
}

/// Returns the command lines of a document: in blocks without a language, and between backticks.
fn segments(parts: &Parts) -> Vec<String> {
    let blocks = parts.blocks_in("").flat_map(str::lines);
    let lines = blocks.map(str::to_owned).chain(parts.code_spans());
    let split = |line: String| -> Vec<String> {
        let pieces = line.split(['|', ';', '&']).map(str::trim);
        pieces.map(str::to_owned).collect()
    };
    lines.flat_map(split).collect()
}

#[test]
fn every_command_line_in_the_documents_exists_with_its_options() {
    let mut helps = Helps::default();
    let mut count = 0;
    let mut faults = Vec::new();
    for document in text::all() {
        // The changelog also names commands that were removed.
        if document == "CHANGELOG.md" {
            continue;
        }
        let segments = segments(&Parts::of(&text::read(&document)));
        for line in segments.iter().filter_map(|segment| parse(segment)) {
            count += 1;
            if let Err(fault) = helps.check(&line) {
                faults.push(format!("{document}: {line:?}: {fault}"));
            }
        }
    }
    assert!(count > 100, "only {count} command lines were found");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_command_that_does_not_exist_is_noticed() {
    let mut helps = Helps::default();
    for (text, is_good) in [
        ("relayctl queue hold --incoming --domain example.net", true),
        (
            "cargo run --release --bin relayctl -- --socket PATH qstat",
            true,
        ),
        ("# runuser -u relayd -- relayd export", true),
        ("relayctl queue hodl ID", false),
        ("relayctl queue hold --outgoing", false),
        ("relayctl --verbose qstat", false),
        ("relayd --chekc", false),
    ] {
        let line = parse(text).expect("a command line of this project");
        assert_eq!(helps.check(&line).is_ok(), is_good, "{text}");
    }
    assert_eq!(parse("systemctl restart relayd"), None);
}
