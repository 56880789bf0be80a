//! `cargo xtask test`: all tests, cheap ones first.

use clap::Args;

use crate::{
    data,
    demo::{BINARY, build},
    run::{command, run, stage},
    system,
};

/// Options of the tests.
#[derive(Args)]
pub struct Test {
    /// Run only stages whose name contains this text.
    #[arg(long)]
    only: Option<String>,
}

type Stage = (&'static str, fn() -> anyhow::Result<()>);

const STAGES: [Stage; 8] = [
    ("system packages", || {
        system::for_build()?;
        system::for_tests()
    }),
    ("format", || {
        run(&mut command("cargo", ["fmt", "--all", "--check"]))
    }),
    ("lints", || {
        run(&mut command(
            "cargo",
            [
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ))
    }),
    ("unit and property tests", || {
        run(&mut command("cargo", ["test", "--workspace"]))
    }),
    ("build", build),
    ("manifests", manifests),
    ("a network under real clients", node),
    ("faults", faults),
];

impl Test {
    /// Runs the stages in order.
    ///
    /// # Errors
    /// The first stage that fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut passed = 0;
        for (name, work) in STAGES {
            if self.only.as_deref().is_none_or(|only| name.contains(only)) {
                stage(name, work)?;
                passed += 1;
            }
        }
        anyhow::ensure!(passed > 0, "no stage has such a name");
        println!("\nstages: {passed} passed, 0 failed");
        Ok(())
    }
}

/// Kubernetes manifests against the schemas.
fn manifests() -> anyhow::Result<()> {
    let venv = data::venv(
        "target/test/venv",
        &["kubernetes-validate==1.37.0", "PyYAML==6.0.3"],
    )?;
    run(&mut command(
        &venv.join("bin/python").to_string_lossy(),
        ["tests/deploy/manifests.py"],
    ))
}

/// npm's Fabric SDK, shim and CA client against a network of our processes.
fn node() -> anyhow::Result<()> {
    run(&mut command(
        "npm",
        [
            "ci",
            "--prefix",
            "tests/node",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ],
    ))?;
    run(command("npm", ["test", "--prefix", "tests/node"]).env("CONSILIUM", absolute(BINARY)?))
}

/// `kill -9` at random points.
fn faults() -> anyhow::Result<()> {
    let data = data::population()?;
    run(command("tests/faults/kill.sh", [])
        .env("CONSILIUM", absolute(BINARY)?)
        .env("DATA", data))
}

fn absolute(path: &str) -> anyhow::Result<std::path::PathBuf> {
    Ok(std::path::absolute(path)?)
}
