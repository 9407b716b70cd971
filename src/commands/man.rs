//! `anomalyd man`: the manual pages, made from the command line's own descriptions.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Cli;
use crate::error::{Failure, Kind, Result};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for anomalyd.1, anomalyd-watch.1, ...; made where it is missing.
    folder: PathBuf,
}

/// Exit codes, as the top page lists them.
const EXIT_CODES: [(&str, &str); 10] = [
    ("0", "done; for watch, drained and stopped"),
    ("1", "something failed that is nobody's input: a device, a bug"),
    ("2", "the command line, or the SQL, is wrong"),
    ("3", "a settings or pipeline file is wrong"),
    ("4", "a model is missing, damaged, or does not fit the pipeline"),
    ("5", "the data given cannot serve: none, too few, or of the wrong shape"),
    ("6", "a file or folder cannot be read or written, or the disk fails"),
    ("7", "another process holds the state folder"),
    ("8", "a worker hung on a file: the next start counts a try against it"),
    ("130", "stopped by the user before anything useful was kept"),
];

/// Files, as the top page lists them.
const FILES: [(&str, &str); 4] = [
    (
        "anomalyd.toml, /etc/anomalyd/anomalyd.toml",
        "settings; the first that is there is read, unless --config names one",
    ),
    ("/etc/anomalyd/pipelines/*.toml", "one file an instrument, where the service looks for them"),
    ("/usr/share/anomalyd/models", "the models that were installed"),
    ("/var/lib/anomalyd", "ledger and reports of the service"),
];

/// Environment variables, as the top page lists them.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("ANOMALYD__KEY, ANOMALYD__TABLE__KEY", "a setting, over that of the settings file: ANOMALYD__FLUSH_MS=500"),
    ("ANOMALYD_LOG", "which log lines are written: warn, info, anomalyd=debug, ..."),
    ("STATE_DIRECTORY", "the state folder, set by systemd"),
];

/// Runs `man`.
///
/// # Errors
/// [`Kind::Io`] naming the file.
pub fn run(args: &Args) -> Result<()> {
    fs::create_dir_all(&args.folder).map_err(|error| Failure::io(&args.folder, error))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    pages(&command, &args.folder)
}

/// The pages of a command and of its subcommands.
fn pages(command: &Command, folder: &Path) -> Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        pages(subcommand, folder)?;
    }
    let is_top = command.get_name() == "anomalyd";
    let man = Man::new(command.clone()).manual("anomalyd").source(concat!("anomalyd ", env!("CARGO_PKG_VERSION")));
    let path = folder.join(man.get_filename());
    let mut text = Vec::new();
    man.render(&mut text)
        .and_then(|()| if is_top { closing().to_writer(&mut text) } else { see_also().to_writer(&mut text) })
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot render {}: {error}", path.display())))?;
    fs::write(&path, text).map_err(|error| Failure::io(&path, error))
}

/// What the top page says after the options.
fn closing() -> Roff {
    let mut roff = Roff::new();
    for (title, entries) in [("EXIT STATUS", &EXIT_CODES[..]), ("FILES", &FILES), ("ENVIRONMENT", &ENVIRONMENT)] {
        roff.control("SH", [title]);
        for (term, meaning) in entries {
            roff.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
        }
    }
    roff
}

/// Where the pages of the subcommands send their reader.
fn see_also() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text([bold("anomalyd"), roman("(1): exit status, files, environment")]);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_its_page_and_the_top_page_every_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        run(&Args { folder: folder.path().join("man") }).unwrap();
        let page = |name: &str| fs::read_to_string(folder.path().join("man").join(name)).unwrap();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let text = page(&format!("anomalyd-{}.1", command.get_name()));
            assert!(text.contains(".SH SYNOPSIS") && text.contains(".SH \"SEE ALSO\""), "{text}");
        }
        let top = page("anomalyd.1");
        for (code, _) in EXIT_CODES {
            assert!(top.contains(&format!("\\fB{code}\\fR")), "{top}");
        }
    }
}
