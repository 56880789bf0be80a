//! Command lines as the programs of Fabric read them that are built on `kingpin`: cryptogen,
//! configtxlator, osnadmin, ledgerutil. source: gopkg.in/alecthomas/kingpin.v2

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Reads the arguments behind a program's name.
///
/// # Errors
/// What to end with, after help or a complaint was printed.
pub fn parse<T: Parser>(program: &str, arguments: Vec<OsString>) -> Result<T, ExitCode> {
    read(program, arguments, refuse)
}

/// Reads the arguments behind a program's name; `refuse` says what is wrong with them.
///
/// # Errors
/// What to end with, after help or a complaint was printed.
pub fn read<T: Parser>(
    program: &str,
    arguments: Vec<OsString>,
    refuse: impl Fn(&str, &str) -> ExitCode,
) -> Result<T, ExitCode> {
    let line = std::iter::once(OsString::from(program)).chain(arguments);
    T::try_parse_from(line).map_err(|error| match complaint(&error) {
        Some(complaint) => refuse(program, &complaint),
        None => {
            // Nobody is there to be told of a closed output.
            let _ = error.print();
            // Help that was asked for, or is shown for want of a command.
            ExitCode::SUCCESS
        }
    })
}

/// Says what is wrong with the command line.
pub fn refuse(program: &str, complaint: &str) -> ExitCode {
    fail(program, &format!("{complaint}, try --help"))
}

/// Says why a program ends.
pub fn fail(program: &str, complaint: &str) -> ExitCode {
    eprintln!("{program}: error: {complaint}");
    ExitCode::FAILURE
}

/// What is wrong; `None` where the error is help that was asked for.
pub fn complaint(error: &clap::Error) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    let arg = context(ContextKind::InvalidArg);
    Some(match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return None,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let group = group(error);
            if group.is_empty() {
                return None;
            }
            format!("must select a subcommand of '{group}'")
        }
        ErrorKind::UnknownArgument if arg.starts_with("--") => {
            format!("unknown long flag '{}'", flag(arg))
        }
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            format!("unknown short flag '{}'", flag(arg))
        }
        ErrorKind::UnknownArgument => format!("unexpected {arg}"),
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand);
            format!("expected command but got {name:?}")
        }
        ErrorKind::MissingRequiredArgument if arg.starts_with('<') => {
            let name = arg.trim_matches(['<', '>']);
            format!("required argument '{name}' not provided")
        }
        ErrorKind::MissingRequiredArgument => {
            format!("required flag {} not provided", flag(arg))
        }
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            format!("expected argument for flag '{}'", flag(arg))
        }
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            reason.unwrap_or_default()
        }
        _ => error.kind().to_string(),
    })
}

/// The command whose subcommand is missing, without the program's name.
fn group(error: &clap::Error) -> String {
    let help = error.render().to_string();
    let usage = help.lines().find_map(|line| line.strip_prefix("Usage: "));
    let words = usage.unwrap_or_default().split_whitespace().skip(1);
    let names: Vec<_> = words
        .take_while(|word| !word.starts_with(['[', '<']))
        .collect();
    names.join(" ")
}

/// `--type` of `--type <NAME>`.
fn flag(arg: &str) -> &str {
    let end = arg.find([' ', '[', '=']).unwrap_or(arg.len());
    arg.get(..end).unwrap_or(arg)
}
