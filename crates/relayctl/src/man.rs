//! `man`: generates the man pages from the definitions of the command lines and `etc/relayd.toml`.

mod command;
mod config;
mod sendmail;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::roff::{Roff, bold, roman};

use crate::clock;
use crate::error::RelayctlError;

/// The configuration file as it is shipped, with every key and its default.
const CONFIG: &str = include_str!("../../../etc/relayd.toml");

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write the pages to this directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes relayd(8), relayctl(8), sendmail(8) and relayd.toml(5).
pub(crate) fn run(args: &ManArgs, relayctl: Command) -> Result<(), RelayctlError> {
    write_pages(&args.out, relayctl, &date()).map_err(RelayctlError::Output)
}

fn write_pages(directory: &Path, relayctl: Command, date: &str) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, page) in pages(relayctl, date) {
        fs::write(directory.join(name), page)?;
    }
    Ok(())
}

/// Returns the names of the files and their content.
fn pages(relayctl: Command, date: &str) -> [(&'static str, String); 4] {
    let relayctl = command::page(relayctl, date, &[("relayd", 8), ("relayd.toml", 5)]);
    let relayd = command::page(
        relay_cli::relayd::Cli::command(),
        date,
        &[("relayctl", 8), ("sendmail", 8), ("relayd.toml", 5)],
    );
    [
        ("relayctl.8", wrapped(&relayctl)),
        ("relayd.8", wrapped(&relayd)),
        ("sendmail.8", wrapped(&sendmail::page(date))),
        ("relayd.toml.5", wrapped(&config::page(CONFIG, date))),
    ]
}

/// Wraps the lines of text at 80 octets, as mandoc recommends.
fn wrapped(page: &str) -> String {
    let mut wrapped = String::new();
    let mut is_filled = true;
    for line in page.lines() {
        match line.trim_end() {
            ".nf" => is_filled = false,
            ".fi" => is_filled = true,
            _ => {}
        }
        // A request is one line, and unfilled text must stay unchanged.
        if line.starts_with('.') || !is_filled {
            wrapped.push_str(line.trim_end());
        } else {
            wrap(line, &mut wrapped);
        }
        wrapped.push('\n');
    }
    wrapped
}

fn wrap(line: &str, out: &mut String) {
    let mut length = 0;
    for word in line.split_whitespace() {
        // A dot or an apostrophe at the beginning of a line would start a request.
        let may_begin = !word.starts_with(['.', '\'']);
        if length > 0 && length + 1 + word.len() > 80 && may_begin {
            out.push('\n');
            length = 0;
        }
        if length > 0 {
            out.push(' ');
            length += 1;
        }
        out.push_str(word);
        length += word.len();
    }
}

/// Returns the date of `SOURCE_DATE_EPOCH`, for reproducible builds, or today.
fn date() -> String {
    let epoch = env::var("SOURCE_DATE_EPOCH").ok();
    let given = epoch.and_then(|seconds| seconds.parse().ok());
    let time = given.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    day(time.unwrap_or_else(clock::now))
}

/// Formats a date as `2026-11-21`.
fn day(time: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(time).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}

/// Writes the title of a page that is not generated from a command.
fn title(roff: &mut Roff, name: &str, section: &str, date: &str) {
    let source = concat!("relayd ", env!("CARGO_PKG_VERSION"));
    let upper = name.to_uppercase();
    roff.control("TH", [upper.as_str(), section, date, source]);
}

/// Writes the related pages. mandoc requires the order of their sections.
fn see_also(roff: &mut Roff, pages: &[(&str, u8)]) {
    let mut pages = pages.to_vec();
    pages.sort_by_key(|&(name, section)| (section, name));
    roff.control("SH", ["SEE ALSO"]);
    let last = pages.len().saturating_sub(1);
    for (index, (name, section)) in pages.iter().enumerate() {
        let comma = if index == last { "" } else { "," };
        roff.text([bold(*name), roman(format!("({section}){comma}"))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn the_pages_name_every_verb_and_option() {
        fn check(command: &clap::Command, page: &str) {
            for option in command
                .get_arguments()
                .filter(|option| !option.is_hide_set())
            {
                if let Some(long) = option.get_long() {
                    let long = format!("--{long}").replace('-', "\\-");
                    assert!(page.contains(&long), "{}: {long}", command.get_name());
                }
            }
            for inner in command.get_subcommands() {
                assert!(page.contains(inner.get_name()), "{}", inner.get_name());
                check(inner, page);
            }
        }
        let pages = pages(cli::command(), "2026-11-21");
        check(&cli::command(), &pages[0].1);
        check(&relay_cli::relayd::Cli::command(), &pages[1].1);
        for option in relay_cli::sendmail::OPTIONS {
            assert!(pages[2].1.contains(&option.names.replace('-', "\\-")));
        }
    }

    #[test]
    fn text_is_wrapped_and_requests_are_not() {
        let long = "word ".repeat(30);
        let page = format!(".SS {long}\n{long}.toml x\n.nf\n{long}\n.fi\n");
        let lines: Vec<_> = wrapped(&page).lines().map(str::to_owned).collect();
        assert_eq!(
            lines.iter().filter(|line| line.len() > 80).count(),
            2,
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| !line.starts_with(".toml")));
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&wrapped(&page)), words(&page));
    }

    #[test]
    fn a_date_is_a_day() {
        let time = UNIX_EPOCH + Duration::from_mins(29_920_510);
        assert_eq!(day(time), "2026-11-21");
    }
}
