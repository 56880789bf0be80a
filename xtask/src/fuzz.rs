//! `cargo xtask fuzz`: every decoder under libFuzzer, for as long as asked.
//!
//! Two ways lead to the same targets. By itself it builds them with the toolchain of the workspace:
//! dependencies stay as they are compiled, and our own crates get the coverage that libFuzzer
//! follows, by a wrapper around the compiler, which is this program. With `--cargo-fuzz` it is
//! cargo-fuzz with a nightly compiler, and dependencies get coverage too.

mod build;
mod report;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use clap::Args;

pub use build::wrapped;

/// Options of the fuzzing.
#[derive(Args)]
pub struct Fuzz {
    /// Only this target; all of them without.
    #[arg(long)]
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Build with cargo-fuzz and a nightly compiler, so that dependencies get coverage, too.
    #[arg(long)]
    cargo_fuzz: bool,
}

/// Where everything about fuzzing lies.
const FOLDER: &str = "fuzz";

impl Fuzz {
    /// Runs the targets one after another.
    ///
    /// # Errors
    /// A target that cannot be built, or one that failed on an input; the input and what to do with
    /// it are printed.
    pub fn run(self) -> anyhow::Result<()> {
        let targets = self.targets()?;
        let built = if self.cargo_fuzz {
            build::with_cargo_fuzz(&targets)?
        } else {
            build::with_workspace()?
        };
        println!("{}", report::HEADING);
        let mut failed = Vec::new();
        for target in &targets {
            let mut command = built.command(target);
            let outcome = fuzz(&mut command, target, self.seconds)?;
            println!("{}", outcome.row(target));
            if !outcome.succeeded {
                failed.push(target.as_str());
                println!("{}", report::advice(target, &outcome));
            }
        }
        println!("{}", report::closing(targets.len(), self.seconds, &failed));
        if failed.is_empty() {
            return Ok(());
        }
        bail!("{} of {} targets failed", failed.len(), targets.len());
    }

    fn targets(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(Path::new(FOLDER).join("fuzz_targets"))? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            names.extend(stem.map(str::to_owned));
        }
        names.sort();
        match &self.target {
            None => Ok(names),
            Some(name) if names.contains(name) => Ok(vec![name.clone()]),
            Some(name) => bail!("there is no target {name}; there are {}", names.join(", ")),
        }
    }
}

/// Runs one target, with what it prints in a file.
fn fuzz(command: &mut Command, target: &str, seconds: u64) -> anyhow::Result<report::Outcome> {
    let folder = |kind: &str| PathBuf::from(FOLDER).join(kind).join(target);
    let (corpus, artifacts) = (folder("corpus"), folder("artifacts"));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder)?;
    }
    let before = files(&artifacts)?;
    let log = artifacts.with_extension("log");
    // New inputs go to the first folder.
    command.arg(&corpus).arg(folder("seeds"));
    let regressions = folder("regressions");
    if regressions.is_dir() {
        command.arg(regressions);
    }
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=20", "-rss_limit_mb=2048", "-max_len=65536"])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log)?);
    let status = command.status().context("cannot start the fuzzer")?;
    let printed = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let mut found = files(&artifacts)?;
    found.retain(|path| !before.contains(path));
    Ok(report::Outcome {
        succeeded: status.success(),
        progress: report::last_progress(&printed),
        runs: report::runs(&printed),
        inputs: found,
        log,
    })
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::{Cli, Command, seeded::guard};

    const DOCS: &str = include_str!("../../docs/fuzzing.md");

    #[test]
    fn the_documented_commands_are_understood() {
        let commands = guard::commands(DOCS, "xtask fuzz");
        assert!(commands.len() > 1, "the documentation shows how to fuzz");
        for line in commands {
            let words = line.split_whitespace().skip_while(|word| *word != "xtask");
            let parsed = Cli::try_parse_from(words).map(|cli| cli.command);
            assert!(matches!(parsed, Ok(Command::Fuzz(_))), "{line}");
        }
    }

    /// The table says what each target is fed with.
    #[test]
    fn every_target_is_documented() {
        for entry in std::fs::read_dir("../fuzz/fuzz_targets").unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(DOCS.contains(&format!("\n| `{name}` |")), "{name}");
        }
    }
}
