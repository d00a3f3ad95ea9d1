//! The man page of a program with a clap command line.

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::see_also;

const SECTION: &str = "8";

/// Returns the whole page. Each verb and subcommand has one section.
pub(super) fn page(command: Command, date: &str, related: &[(&str, u8)]) -> String {
    let mut built = command.clone().disable_help_subcommand(true);
    built.build();
    let name = built.get_name().to_owned();
    let head = Man::new(command.disable_help_subcommand(true))
        .title(name.to_uppercase())
        .section(SECTION)
        .date(date)
        .source(concat!("relayd ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    let rendered = head
        .render_title(&mut page)
        .and_then(|()| head.render_name_section(&mut page))
        .and_then(|()| head.render_synopsis_section(&mut page))
        .and_then(|()| head.render_description_section(&mut page));
    rendered.expect("memory takes everything");
    let mut roff = Roff::new();
    roff.control("SH", ["OPTIONS"]);
    arguments(&mut roff, &built, true);
    roff.control("SH", ["COMMANDS"]);
    for verb in built.get_subcommands() {
        verbs(&mut roff, verb, &name);
    }
    let (status, notes): (Vec<_>, Vec<_>) = after_help(&built);
    for note in notes {
        roff.text([roman(note)]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    exit_status(&mut roff, &status);
    see_also(&mut roff, related);
    String::from_utf8_lossy(&page).into_owned() + &roff.to_roff()
}

/// Writes the sections of a verb and its subcommands.
fn verbs(roff: &mut Roff, verb: &Command, path: &str) {
    let path = format!("{path} {}", verb.get_name());
    if verb.has_subcommands() {
        for inner in verb.get_subcommands() {
            verbs(roff, inner, &path);
        }
        return;
    }
    let usage = usage(verb, &path);
    roff.control("SS", [usage.as_str()]);
    let about = verb
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    roff.text([roman(format!("{about}."))]);
    arguments(roff, verb, false);
    let (status, notes) = after_help(verb);
    for note in notes {
        roff.control("PP", []);
        roff.text([roman(note)]);
    }
    if !status.is_empty() {
        roff.control("PP", []);
        roff.text([roman("Exit status:")]);
        exit_status(roff, &status);
    }
}

/// Returns the usage, such as `relayctl mx [OPTIONS] DOMAIN`.
fn usage(verb: &Command, path: &str) -> String {
    let mut usage = path.to_owned();
    let has_options = verb.get_opts().any(is_own);
    if has_options {
        usage.push_str(" [OPTIONS]");
    }
    for argument in verb.get_positionals() {
        let name = value_name(argument);
        let word = if argument.is_required_set() {
            format!(" {name}")
        } else {
            format!(" [{name}]")
        };
        usage.push_str(&word);
    }
    usage
}

/// Returns whether an option is shown and belongs to this verb only.
fn is_own(option: &Arg) -> bool {
    let is_usual = matches!(option.get_id().as_str(), "help" | "version");
    !option.is_hide_set() && !option.is_global_set() && !is_usual
}

fn arguments(roff: &mut Roff, command: &Command, with_global: bool) {
    for argument in command.get_arguments() {
        let is_shown = is_own(argument) || with_global && !argument.is_hide_set();
        if is_shown {
            roff.control("TP", []);
            roff.text(heading(argument));
            roff.text([roman(help(argument))]);
        }
    }
}

/// Returns the heading of an option, such as `--config FILE`.
fn heading(argument: &Arg) -> Vec<Inline> {
    if argument.is_positional() {
        return vec![italic(value_name(argument))];
    }
    let mut heading = Vec::new();
    if let Some(short) = argument.get_short() {
        heading.extend([bold(format!("-{short}")), roman(", ")]);
    }
    heading.push(bold(format!(
        "--{}",
        argument.get_long().unwrap_or_default()
    )));
    if argument.get_action().takes_values() {
        heading.extend([roman(" "), italic(value_name(argument))]);
    }
    heading
}

fn value_name(argument: &Arg) -> String {
    match argument.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => argument.get_id().as_str().to_uppercase(),
    }
}

fn help(argument: &Arg) -> String {
    let mut help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        help = format!("{help} [default: {}]", defaults.join(" "));
    }
    let values: Vec<_> = argument.get_possible_values();
    if !values.is_empty() && argument.get_action().takes_values() {
        let names: Vec<_> = values
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        help = format!("{help} [one of: {}]", names.join(", "));
    }
    help
}

/// Splits the text after the options into the exit codes and the other lines.
fn after_help(command: &Command) -> (Vec<String>, Vec<String>) {
    let text = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    text.lines()
        .filter(|line| !line.is_empty() && *line != "Exit status:")
        .map(str::to_owned)
        .partition(|line| line.starts_with("  "))
}

/// Writes the exit codes as a list. `  0  done` becomes one entry.
fn exit_status(roff: &mut Roff, lines: &[String]) {
    for line in lines {
        let (code, meaning) = line.trim().split_once("  ").unwrap_or((line, ""));
        roff.control("TP", []);
        roff.text([bold(code)]);
        roff.text([roman(meaning)]);
    }
}
