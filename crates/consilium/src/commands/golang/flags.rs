//! Command lines as Go's `flag` package reads them: flags begin with one dash or two.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Reads the arguments behind a program's name.
///
/// # Errors
/// What to end with, after help or a complaint was printed.
pub fn parse<T: Parser>(program: &str, arguments: Vec<OsString>) -> Result<T, ExitCode> {
    let line = std::iter::once(OsString::from(program)).chain(doubled(arguments));
    T::try_parse_from(line).map_err(|error| {
        let Some(complaint) = complaint(&error) else {
            // Nobody is there to be told of a closed output.
            let _ = error.print();
            return ExitCode::SUCCESS;
        };
        eprintln!("{complaint}\nFor more information, try '-help'.");
        ExitCode::from(2)
    })
}

/// With two dashes before the name of each flag. What follows the first argument that is no flag is
/// left as it is.
fn doubled(arguments: Vec<OsString>) -> Vec<OsString> {
    let double = |argument: OsString| match argument.to_str() {
        Some("-h" | "-help" | "--help") => "--help".into(),
        Some(text) if text.starts_with('-') && !text.starts_with("--") && text.len() > 2 => {
            format!("-{text}").into()
        }
        _ => argument,
    };
    arguments.into_iter().map(double).collect()
}

fn complaint(error: &clap::Error) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let arg = context(ContextKind::InvalidArg);
    let end = arg.find([' ', '[', '=']).unwrap_or(arg.len());
    let name = arg.get(..end).unwrap_or(arg).trim_start_matches('-');
    Some(match error.kind() {
        ErrorKind::DisplayHelp => return None,
        ErrorKind::UnknownArgument => format!("flag provided but not defined: -{name}"),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            format!("flag needs an argument: -{name}")
        }
        kind => format!("{kind}: -{name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[arg(long, default_value = "")]
        profile: String,
    }

    fn read(line: &str) -> Result<Program, clap::Error> {
        let line = line.split_whitespace().map(OsString::from).collect();
        let line = std::iter::once(OsString::from("program")).chain(doubled(line));
        Program::try_parse_from(line)
    }

    #[test]
    fn flags_begin_with_one_dash_or_two() {
        for line in [
            "-profile one",
            "--profile one",
            "-profile=one",
            "--profile=one",
        ] {
            assert_eq!(read(line).unwrap().profile, "one", "{line}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_refused_in_gos_words() {
        for (line, expected) in [
            (
                "-nonsense",
                Some("flag provided but not defined: -nonsense"),
            ),
            ("-profile", Some("flag needs an argument: -profile")),
            ("-h", None),
            ("-help", None),
        ] {
            let error = read(line).unwrap_err();
            assert_eq!(complaint(&error).as_deref(), expected, "{line}");
        }
    }
}
