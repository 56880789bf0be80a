//! What is wrong with a command line of `peer` or another of Fabric's programs, in their words.
//!
//! source: github.com/spf13/cobra, github.com/spf13/pflag

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The complaint about a line of `program`; `None` where the error is help that was asked for, or is told best in its own words.
pub fn complaint(error: &clap::Error, program: &str) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let arg = context(ContextKind::InvalidArg).unwrap_or_default();
    Some(match error.kind() {
        ErrorKind::UnknownArgument => match arg.strip_prefix('-') {
            Some(long) if long.starts_with('-') => format!("unknown flag: {arg}"),
            Some(short) => format!("unknown shorthand flag: '{}' in {arg}", first(short)),
            None => format!("unknown argument: {arg}"),
        },
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!(
                "unknown command \"{name}\" for \"{}\"",
                group(error, program)
            )
        }
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).unwrap_or_default() == "" => {
            format!("flag needs an argument: {}", flag(arg))
        }
        ErrorKind::ValueValidation => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            let reason = std::error::Error::source(error).map(ToString::to_string);
            format!(
                "invalid argument \"{value}\" for \"{}\" flag: {}",
                flag(arg),
                reason.unwrap_or_default()
            )
        }
        _ => return None,
    })
}

/// The command whose subcommand is not known, as the usage that goes with the error shows it.
fn group(error: &clap::Error, program: &str) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let words = usage.split_whitespace().skip(1);
    let names = words.skip_while(|word| *word != program);
    let names = names.take_while(|word| !word.starts_with(['[', '<']));
    names.collect::<Vec<_>>().join(" ")
}

fn first(text: &str) -> String {
    text.chars().take(1).collect()
}

/// `--sequence` of `--sequence <NUMBER>`.
fn flag(arg: &str) -> &str {
    let end = arg.find([' ', '[', '=']).unwrap_or(arg.len());
    arg.get(..end).unwrap_or(arg)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::PeerCli;

    fn refused(line: &str) -> clap::Error {
        let line = ["peer"].into_iter().chain(line.split(' '));
        PeerCli::try_parse_from(line).err().unwrap()
    }

    #[test]
    fn a_line_that_cannot_be_read_is_refused_in_fabrics_words() {
        for (line, expected) in [
            ("channel list --nonsense", "unknown flag: --nonsense"),
            ("channel list -z", "unknown shorthand flag: 'z' in -z"),
            ("nonsense", "unknown command \"nonsense\" for \"peer\""),
            (
                "channel nonsense",
                "unknown command \"nonsense\" for \"peer channel\"",
            ),
            ("channel getinfo -c", "flag needs an argument: --channelID"),
            (
                "node rollback -c health -b x",
                "invalid argument \"x\" for \"--blockNumber\" flag: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "channel list --tls=perhaps",
                "invalid argument \"perhaps\" for \"--tls\" flag: strconv.ParseBool: parsing \"perhaps\": invalid syntax",
            ),
            (
                "lifecycle chaincode commit --waitForEventTimeout soon",
                "invalid argument \"soon\" for \"--waitForEventTimeout\" flag: time: invalid duration \"soon\"",
            ),
        ] {
            assert_eq!(
                complaint(&refused(line), "peer").as_deref(),
                Some(expected),
                "{line}"
            );
        }
    }

    #[test]
    fn every_command_of_the_three_groups_takes_every_flag_of_orderers() {
        let flags = "-o a:1 --tls --cafile a --clientauth --certfile b --keyfile c \
                     --ordererTLSHostnameOverride d --connTimeout 1s --tlsHandshakeTimeShift 1s";
        let mut commands = PeerCli::command();
        commands.build();
        let mut lines = 0;
        for group in ["channel", "chaincode", "lifecycle chaincode"] {
            let found = group.split(' ').fold(&commands, |command, name| {
                command.find_subcommand(name).unwrap()
            });
            for leaf in found.get_subcommands().map(clap::Command::get_name) {
                if leaf == "help" {
                    continue;
                }
                let line = format!("peer {group} {leaf} {flags}");
                let parsed = PeerCli::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{}", parsed.err().unwrap());
                lines += 1;
            }
        }
        assert_eq!(lines, 8 + 2 + 10);
    }

    #[test]
    fn help_is_no_complaint() {
        for line in [
            "--help",
            "channel",
            "channel join -h",
            "lifecycle chaincode",
        ] {
            assert_eq!(complaint(&refused(line), "peer"), None, "{line}");
        }
    }

    #[test]
    fn flags_stand_before_and_behind_a_commands_name_and_the_last_one_counts() {
        for line in [
            "channel -o a:1 --tls fetch newest -c one -c two",
            "channel fetch -c two -o a:1 newest --tls=true",
            "chaincode invoke -C=one -n=kv -c={} --peerAddresses a:1 --peerAddresses b:2",
            "lifecycle chaincode approveformyorg -v 1 --version 2 -V vscc --waitForEvent=false",
            "lifecycle chaincode install package.tar.gz --tlsRootCertFiles a.crt",
            "node start",
            "version",
        ] {
            let line = ["peer"].into_iter().chain(line.split(' '));
            let parsed = PeerCli::try_parse_from(line);
            assert!(parsed.is_ok(), "{}", parsed.err().unwrap());
        }
    }
}
