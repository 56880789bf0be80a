//! `fabric-ca-server` and `fabric-ca-client`: Fabric CA's programs, with their flags, variables,
//! files and folders, over [`consilium_ca`].
//!
//! A setting is a flag, or else a variable (`FABRIC_CA_CLIENT_TLS_CERTFILES`), or else a key of the
//! configuration file (`tls.certfiles`). fabric-ca: cmd, util/flag.go

mod asking;
mod flags;
mod log;
mod serving;
mod settings;

use std::{ffi::OsString, process::ExitCode};

use clap::error::ErrorKind;

use super::peer::complaint;

/// Runs `fabric-ca-server` with the arguments that follow its name.
pub fn server(arguments: Vec<OsString>) -> ExitCode {
    Program::Server.run(arguments)
}

/// Runs `fabric-ca-client` with the arguments that follow its name.
pub fn client(arguments: Vec<OsString>) -> ExitCode {
    Program::Client.run(arguments)
}

/// One of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// `fabric-ca-server`
    Server,
    /// `fabric-ca-client`
    Client,
}

impl Program {
    /// Its name.
    fn name(self) -> &'static str {
        match self {
            Self::Server => "fabric-ca-server",
            Self::Client => "fabric-ca-client",
        }
    }

    /// What its variables begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Server => "FABRIC_CA_SERVER",
            Self::Client => "FABRIC_CA_CLIENT",
        }
    }

    fn run(self, arguments: Vec<OsString>) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.execute(arguments)),
            Err(error) => {
                eprintln!("Error: cannot start the runtime: {error}");
                ExitCode::FAILURE
            }
        }
    }

    async fn execute(self, arguments: Vec<OsString>) -> ExitCode {
        let command = match self {
            Self::Server => serving::command(),
            Self::Client => asking::command(),
        };
        let name = OsString::from(self.name());
        let line = std::iter::once(name).chain(arguments);
        let matches = match command.try_get_matches_from(line) {
            Ok(matches) => matches,
            Err(error) => return self.explain(&error),
        };
        let done = match self {
            Self::Server => serving::run(&matches).await,
            Self::Client => asking::run(&matches).await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("Error: {}", super::told(&error));
                ExitCode::FAILURE
            }
        }
    }

    fn explain(self, error: &clap::Error) -> ExitCode {
        match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                print!("{}", error.render());
                ExitCode::SUCCESS
            }
            ErrorKind::DisplayHelp => {
                // Nobody is there to be told of a closed output.
                let _ = error.print();
                ExitCode::SUCCESS
            }
            _ => {
                match complaint(error, self.name()) {
                    Some(complaint) => eprintln!(
                        "Error: {complaint}\nRun '{} --help' for usage.",
                        self.name()
                    ),
                    None => {
                        let _ = error.print();
                    }
                }
                ExitCode::FAILURE
            }
        }
    }
}
