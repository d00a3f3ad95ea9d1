//! The command line of `sendmail`. The program reads its arguments itself, because sendmail's options
//! follow rules of their own; its help and its man page are made from this table.

use std::fmt::Write as _;

/// One line, for the head of the man page.
pub const ABOUT: &str = "Read a message from standard input and submit it to the relay.";

/// How the command is called.
pub const USAGE: &[(&str, &str)] = &[
    (
        "sendmail [OPTIONS] [RECIPIENT...]",
        "reads and submits a message",
    ),
    ("mailq", "shows the queue, as sendmail -bp"),
    ("newaliases", "does nothing: the relay has no aliases"),
];

/// What else there is to know, a paragraph each.
pub const NOTES: &[&str] = &[
    "Options of other sendmail programs that make no difference here are accepted and ignored; an unknown \
     option is an error. If the relay is not running, the message is stored in the maildrop, and the relay \
     collects it when it runs.",
    "The exit status is one of sysexits.h: 0 only if the message is safe, 75 if the caller should try \
     again.",
];

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    /// Its names, separated by commas.
    pub names: &'static str,
    /// The name of its value; empty if it takes none.
    pub value: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// The options that have an effect.
pub const OPTIONS: &[Opt] = &[
    Opt {
        names: "-t",
        value: "",
        help: "also send to the addresses in To, Cc and Bcc; Bcc is removed",
    },
    Opt {
        names: "-i, -oi",
        value: "",
        help: "do not end the message at a line with a single dot",
    },
    Opt {
        names: "-f, -r",
        value: "SENDER",
        help: "set the envelope sender; '<>' for the null sender",
    },
    Opt {
        names: "-F",
        value: "NAME",
        help: "set the sender's full name if the message has no From",
    },
    Opt {
        names: "-N",
        value: "WHEN",
        help: "request notices: never, or a list of success, failure, delay",
    },
    Opt {
        names: "-R",
        value: "full|hdrs",
        help: "return the full message or only its header in a notice",
    },
    Opt {
        names: "-V",
        value: "ID",
        help: "set the envelope id that notices contain",
    },
    Opt {
        names: "-bs",
        value: "",
        help: "speak SMTP on standard input and output",
    },
    Opt {
        names: "-bp",
        value: "",
        help: "show the queue, as mailq does",
    },
    Opt {
        names: "-q",
        value: "",
        help: "try all waiting messages now",
    },
    Opt {
        names: "-C, --config",
        value: "FILE",
        help: "read this configuration of the relay",
    },
    Opt {
        names: "--version",
        value: "",
        help: "print the version",
    },
    Opt {
        names: "--help",
        value: "",
        help: "print this help",
    },
];

/// The text that `sendmail --help` prints.
pub fn help() -> String {
    let mut text = format!("{ABOUT}\n\nUsage:\n");
    for (usage, what) in USAGE {
        // Writing to memory does not fail.
        let _ = writeln!(text, "  {usage:<34} {what}");
    }
    text.push_str("\nOptions:\n");
    for Opt { names, value, help } in OPTIONS {
        let option = format!("{names} {value}");
        let _ = writeln!(text, "  {option:<17} {help}");
    }
    for note in NOTES {
        text.push('\n');
        text.push_str(&wrapped(note));
    }
    text
}

/// A paragraph in lines of at most 79 columns.
fn wrapped(paragraph: &str) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > 79 {
            text.push('\n');
            column = 0;
        }
        if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_fits_a_screen_and_names_every_option() {
        let help = help();
        assert!(help.lines().count() <= 40, "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 80),
            "{help}"
        );
        for option in OPTIONS {
            assert!(help.contains(option.names), "{}", option.names);
        }
    }
}
