//! Building the targets, in either way.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context;

use super::FOLDER;
use crate::run::{command, output, run, succeeds};

/// Tells this program, where cargo calls it, that it is the compiler's wrapper.
const WRAPPER: &str = "XTASK_FUZZ_WRAPPER";

/// What libFuzzer follows; the same that cargo-fuzz asks the compiler for.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// Programs of targets.
pub enum Built {
    /// One program for all.
    Workspace(PathBuf),
    /// A program for each, in this folder.
    CargoFuzz(PathBuf),
}

impl Built {
    /// The fuzzer of a target, without options.
    pub fn command(&self, target: &str) -> Command {
        match self {
            Self::Workspace(program) => {
                let mut command = Command::new(program);
                command.env("FUZZ_TARGET", target);
                command
            }
            Self::CargoFuzz(folder) => Command::new(folder.join(target)),
        }
    }
}

/// Builds with the workspace's toolchain and whatever is compiled of dependencies.
pub fn with_workspace() -> anyhow::Result<Built> {
    let args = "build --workspace --example libfuzzer --features consilium-fuzzing/libfuzzer";
    let mut build = command("cargo", args.split(' '));
    build
        .env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?)
        .env(WRAPPER, "1")
        .env("CARGO_INCREMENTAL", "0");
    run(&mut build)?;
    Ok(Built::Workspace(
        target_folder().join("debug/examples/libfuzzer"),
    ))
}

/// Builds with cargo-fuzz, which is installed if need be, as the nightly toolchain is.
pub fn with_cargo_fuzz(targets: &[String]) -> anyhow::Result<Built> {
    if !succeeds("cargo", &["+nightly", "--version"]) {
        let install = "toolchain install nightly --profile minimal";
        run(&mut command("rustup", install.split(' ')))?;
    }
    if !succeeds("cargo", &["fuzz", "--version"]) {
        println!("cargo-fuzz is missing: it is compiled and installed into cargo's folder");
        run(&mut command("cargo", ["install", "cargo-fuzz", "--locked"]))?;
    }
    for target in targets {
        // No sanitizer: there is no unsafe code of ours, and C++ is compiled without.
        let args = ["+nightly", "fuzz", "build", "--sanitizer", "none", target];
        let mut build = command("cargo", args);
        if let Some(folder) = rocksdb() {
            build
                .env("ROCKSDB_LIB_DIR", folder)
                .env("ROCKSDB_STATIC", "1");
        }
        run(&mut build)?;
    }
    let host = output("rustc", &["+nightly", "--print", "host-tuple"]);
    let host = host.context("the nightly compiler does not tell its host")?;
    let folder = Path::new(FOLDER).join("target").join(host).join("release");
    Ok(Built::CargoFuzz(folder))
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// The RocksDB that the workspace's build compiled, so that it is not compiled once more.
fn rocksdb() -> Option<PathBuf> {
    let builds = std::fs::read_dir(target_folder().join("debug/build")).ok()?;
    let folders = builds.flatten().map(|build| build.path().join("out"));
    let folder = folders
        .into_iter()
        .find(|out| out.join("librocksdb.a").is_file())?;
    folder.canonicalize().ok()
}

/// If cargo calls this program around the compiler: compiles, and gives the exit code.
pub fn wrapped() -> Option<ExitCode> {
    std::env::var_os(WRAPPER)?;
    let mut args = std::env::args_os().skip(1);
    let mut compiler = Command::new(args.next()?);
    let args: Vec<_> = args.collect();
    let words: Vec<_> = args.iter().filter_map(|arg| arg.to_str()).collect();
    compiler.args(&args);
    if is_covered(&words) {
        compiler.args(COVERAGE);
    }
    let status = match compiler.status() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("cannot start the compiler: {error}");
            return Some(ExitCode::FAILURE);
        }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Whether these arguments compile something that goes into a fuzzer: build scripts run by
/// themselves, and other calls only ask the compiler for its version.
fn is_covered(args: &[&str]) -> bool {
    let mut names = args.windows(2).filter(|pair| pair[0] == "--crate-name");
    names.any(|pair| !matches!(pair[1], "build_script_build" | "___"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_scripts_and_questions_get_no_coverage() {
        for (args, covered) in [
            (
                &["--crate-name", "consilium_ledger", "src/lib.rs"][..],
                true,
            ),
            (&["--crate-name", "build_script_build", "build.rs"], false),
            (&["-", "--crate-name", "___", "--print=cfg"], false),
            (&["-vV"], false),
        ] {
            assert_eq!(is_covered(args), covered, "{args:?}");
        }
    }
}
