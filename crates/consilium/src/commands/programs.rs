//! The programs of Fabric that this one is, too: under their names, by links, or as a first word.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{configtxgen, configtxlator, cryptogen, fabric_ca, ledgerutil, orderer, osnadmin};

/// A program that reads its own command line.
type Program = fn(Vec<OsString>) -> ExitCode;

/// By name.
const PROGRAMS: [(&str, Program); 7] = [
    ("configtxgen", configtxgen::run),
    ("configtxlator", configtxlator::run),
    ("cryptogen", cryptogen::run),
    ("fabric-ca-client", fabric_ca::client),
    ("fabric-ca-server", fabric_ca::server),
    ("ledgerutil", ledgerutil::run),
    ("osnadmin", osnadmin::run),
];

/// Those that are commands of this program, too: what it does under their names alone is decided
/// elsewhere.
const COMMANDS: [&str; 3] = ["discover", "orderer", "peer"];

/// Arguments of `consilium link-programs`.
#[derive(Debug, Args)]
pub struct LinkPrograms {
    /// Folder for the links; it is made.
    pub folder: PathBuf,
}

/// Makes links to this program under the names of Fabric's.
///
/// # Errors
/// A file that is no link is in the way, or the folder cannot be written.
pub fn link(args: &LinkPrograms) -> anyhow::Result<()> {
    let target = std::env::current_exe().context("cannot find this program's own file")?;
    let folder = &args.folder;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let names = PROGRAMS.iter().map(|(name, _)| *name).chain(COMMANDS);
    for name in names {
        let link = folder.join(name);
        if let Ok(found) = link.symlink_metadata() {
            anyhow::ensure!(
                found.is_symlink(),
                "{} is there already and no link; move it away first",
                link.display()
            );
            std::fs::remove_file(&link)
                .with_context(|| format!("cannot replace {}", link.display()))?;
        }
        std::os::unix::fs::symlink(&target, &link)
            .with_context(|| format!("cannot make the link {}", link.display()))?;
        println!("{}", link.display());
    }
    Ok(())
}

/// Runs the program that is meant by the name under which this one was started, or by the first
/// argument. `None`: it is no other.
pub fn run(line: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut line = line.into_iter();
    let name = line.next()?;
    let name = Path::new(&name).file_stem();
    if name == Some(OsStr::new("orderer")) {
        return Some(orderer::run(line.collect()));
    }
    if let Some(program) = called(name) {
        return Some(program(line.collect()));
    }
    let program = called(line.next().as_deref())?;
    Some(program(line.collect()))
}

fn called(name: Option<&OsStr>) -> Option<Program> {
    let found = PROGRAMS
        .iter()
        .find(|(program, _)| name == Some(OsStr::new(program)));
    found.map(|(_, program)| *program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_mean_no_program() {
        for line in [
            &[][..],
            &["consilium"],
            &["consilium", "network"],
            &["/bin/consilium", "--help", "cryptogen"],
        ] {
            assert!(run(line.iter().map(OsString::from)).is_none(), "{line:?}");
        }
    }

    #[test]
    fn a_programs_name_counts_with_and_without_its_folder() {
        for line in [
            &["cryptogen", "version"][..],
            &["/usr/bin/cryptogen", "version"],
            &["consilium", "cryptogen", "version"],
        ] {
            assert_eq!(
                run(line.iter().map(OsString::from)),
                Some(ExitCode::SUCCESS),
                "{line:?}"
            );
        }
    }
}
