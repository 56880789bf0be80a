//! Contracts on Fabric's Go, Node, Java and Python shims: what they need, built side by side.

use std::{fs, io::Write, path::Path, thread};

use anyhow::{Context, anyhow};

use crate::{
    data,
    demo::BINARY,
    run::{command, run, succeeds},
};

/// Shorter than the 10 seconds that a gateway waits for an endorser, so that applications hear what
/// the peer says about a contract that does not end.
const EXECUTE_TIMEOUT: &str = "chaincode:\n  executetimeout: 6s\n";

/// Installs what the lock files name and builds the contracts, all languages at once.
///
/// # Errors
/// Those of every language that failed.
pub fn build() -> anyhow::Result<()> {
    let languages: [fn() -> anyhow::Result<()>; 4] = [go, node, java, python];
    thread::scope(|scope| {
        let builds = languages.map(|build| scope.spawn(build));
        let mut outcome: anyhow::Result<()> = Ok(());
        for build in builds {
            let built = build.join().map_err(|_| anyhow!("a build panicked"));
            outcome = match (outcome, built.and_then(|built| built)) {
                (Err(before), Err(error)) => Err(before.context(format!("{error:#}"))),
                (before, built) => before.and(built),
            };
        }
        outcome
    })
}

/// Builds the contracts in Go.
///
/// # Errors
/// The compiler's.
pub fn go() -> anyhow::Result<()> {
    let target = std::path::absolute("target/test/contracts")?;
    fs::create_dir_all(&target)?;
    // The slash says that it is a folder.
    let folder = format!("{}/", target.display());
    let mut build = command("go", ["build", "-o", &folder, "./..."]);
    run(build.current_dir("tests/contracts/go"))
}

fn node() -> anyhow::Result<()> {
    let options = [
        "ci",
        "--prefix",
        "tests/contracts/node",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    run(&mut command("npm", options))
}

fn java() -> anyhow::Result<()> {
    maven("compile")
}

/// Maven asks its servers only when something is not there yet.
fn maven(phase: &str) -> anyhow::Result<()> {
    let pom = "tests/contracts/java/pom.xml";
    if succeeds("mvn", &["-o", "-q", "-B", "-f", pom, phase]) {
        return Ok(());
    }
    run(&mut command("mvn", ["-q", "-B", "-f", pom, phase]))
}

/// Runs the tests that the contracts have by themselves, as their authors would.
///
/// # Errors
/// The first that fails.
pub fn unit_tests() -> anyhow::Result<()> {
    run(command("go", ["test", "-count=1", "./..."]).current_dir("tests/contracts/go"))?;
    run(command("node", ["--test"]).current_dir("tests/contracts/node"))?;
    maven("test")?;
    let python = std::path::absolute("target/test/python/bin/python")?;
    let tests = ["-B", "-m", "unittest", "-q"];
    run(command(&python.to_string_lossy(), tests).current_dir("tests/contracts/python"))
}

fn python() -> anyhow::Result<()> {
    let file = "tests/contracts/python/requirements.txt";
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let packages: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    data::venv("target/test/python", &packages).map(|_| ())
}

/// Restarts the network in `folder` with peers that wait less long for contracts.
///
/// # Errors
/// A configuration file cannot be written, or a process does not stop or start.
pub fn shorten_patience(folder: &Path) -> anyhow::Result<()> {
    let dir = folder.to_string_lossy();
    run(&mut command(BINARY, ["network", "down", "--dir", &dir]))?;
    for organization in fs::read_dir(folder.join("organizations"))? {
        for peer in fs::read_dir(organization?.path().join("peers"))? {
            let file = peer?.path().join("core.yaml");
            fs::File::options()
                .append(true)
                .open(&file)
                .and_then(|mut file| file.write_all(EXECUTE_TIMEOUT.as_bytes()))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    run(&mut command(BINARY, ["network", "up", "--dir", &dir]))
}
