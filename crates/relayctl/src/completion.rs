//! `completion`: completion scripts for shells.

use std::io::{self, Write};

use clap::{Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::{Shell, generate};

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell to complete in
    #[arg(value_enum)]
    shell: KnownShell,
}

/// A shell that there is a script for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KnownShell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for `relayctl` and, where a script may complete several commands, for `relayd`.
pub(crate) fn run(
    args: &CompletionArgs,
    mut relayctl: Command,
    out: &mut impl Write,
) -> io::Result<()> {
    let shell = match args.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    // The generator panics on a write error, such as a closed pipe. Writing to memory cannot fail.
    let mut script = Vec::new();
    generate(shell, &mut relayctl, "relayctl", &mut script);
    // A script for zsh is named after the one command that it completes.
    if shell != Shell::Zsh {
        let mut relayd = relay_cli::relayd::Cli::command();
        generate(shell, &mut relayd, "relayd", &mut script);
    }
    out.write_all(&script)
}
