//! `anomalyd completions`: what a shell needs to complete the command line.

use std::io::Write;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::output::Output;
use crate::cli::Cli;
use crate::error::{Failure, Kind, Result};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: For,
}

/// The shells there are completions for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum For {
    /// `/usr/share/bash-completion/completions/anomalyd`
    Bash,
    /// `/usr/share/zsh/vendor-completions/_anomalyd`
    Zsh,
    /// `/usr/share/fish/vendor_completions.d/anomalyd.fish`
    Fish,
}

/// Runs `completions`.
///
/// # Errors
/// [`Kind::Io`] where stdout cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let shell = match args.shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "anomalyd", &mut script);
    Output
        .write_all(&script)
        .and_then(|()| Output.flush())
        .map_err(|error| Failure::new(Kind::Io, format!("cannot write the completions: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_subcommand() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "anomalyd", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
