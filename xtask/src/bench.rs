//! `cargo xtask bench`: the same contract as Fabric's shims run it in four languages, beside one in
//! the peer, under `consilium bench contracts`.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use crate::{
    contracts,
    demo::{BINARY, build},
    run::{command, run, succeeds},
    system,
    test::with_network,
};

/// Options of the benchmark.
#[derive(Args)]
pub struct Bench {
    /// Further options of `consilium bench contracts`, after `--`.
    #[arg(last = true)]
    options: Vec<String>,
}

/// The same as that of `kv`, with which the services are compared.
const POLICY: &str = "AND('HospitalMSP.peer','MakerMSP.peer')";

/// A language, and what runs its contract, relative to the repository.
const LANGUAGES: [(&str, &[&str]); 4] = [
    ("go", &["target/test/contracts/notes"]),
    ("node", &["node", "tests/contracts/node/notes.js"]),
    (
        "java",
        &[
            "java",
            "-cp",
            "tests/contracts/java/target/classes:tests/contracts/java/target/dependency/*",
            "Notes",
        ],
    ),
    (
        "python",
        &[
            "target/test/python/bin/python",
            "tests/contracts/python/notes.py",
        ],
    ),
];

impl Bench {
    /// Builds everything, starts a network and the services, and measures.
    ///
    /// # Errors
    /// A step that failed.
    pub fn run(self) -> anyhow::Result<()> {
        system::for_build()?;
        system::for_tests()?;
        build()?;
        contracts::build()?;
        with_network(|network| {
            let mut services = Vec::new();
            let outcome = LANGUAGES
                .iter()
                .try_for_each(|(language, program)| {
                    services.push(Service::deploy(network, language, program)?);
                    Ok(())
                })
                .and_then(|()| {
                    let folder = network.to_string_lossy();
                    let mut bench = command(BINARY, ["bench", "contracts", "--network", &folder]);
                    bench.args(&self.options).arg("kv");
                    run(bench.args(services.iter().map(|service| &service.name)))
                });
            drop(services);
            outcome
        })
    }
}

/// A contract that runs as a service, until this is dropped.
struct Service {
    name: String,
    process: Child,
}

impl Service {
    fn deploy(network: &Path, language: &str, program: &[&str]) -> anyhow::Result<Self> {
        let name = format!("notes-{language}");
        let folder = network.to_string_lossy();
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let address = format!("localhost:{port}");
        let deploy = [
            "network",
            "deploy",
            "--dir",
            &folder,
            "--service",
            &address,
            "--policy",
            POLICY,
            &name,
        ];
        let printed = Command::new(BINARY).args(deploy).output()?;
        anyhow::ensure!(
            printed.status.success(),
            "cannot deploy {name}: {}",
            String::from_utf8_lossy(&printed.stderr)
        );
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        let package = printed
            .lines()
            .find_map(|line| line.strip_prefix("package id: "))
            .with_context(|| format!("no package id in `{printed}`"))?;
        let (command, args) = program.split_first().context("a program has a name")?;
        let process = Command::new(command)
            .args(args)
            .env("CHAINCODE_ID", package)
            .env("CORE_CHAINCODE_ID_NAME", package)
            .env("CHAINCODE_SERVER_ADDRESS", format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command}"))?;
        let service = Self { name, process };
        service.answers(&folder)?;
        Ok(service)
    }

    /// Waits until the peers have dialled it.
    fn answers(&self, network: &str) -> anyhow::Result<()> {
        for _ in 0..120 {
            if succeeds(
                BINARY,
                &[
                    "invoke",
                    "--network",
                    network,
                    &self.name,
                    "put",
                    "ready",
                    "yes",
                ],
            ) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(250));
        }
        anyhow::bail!("{} does not answer", self.name)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
