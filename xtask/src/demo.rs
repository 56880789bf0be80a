//! `cargo xtask demo`.

use clap::Args;

use crate::{
    data,
    run::{command, run, stage},
    system,
};

/// Folder of the demo's network.
const NETWORK: &str = "target/demo/network";

/// Options of the demo.
#[derive(Args)]
pub struct Demo {
    /// Stop the network at the end, instead of leaving it running.
    #[arg(long)]
    once: bool,
}

impl Demo {
    /// Installs, builds, and hands over to `consilium demo`.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn run(self) -> anyhow::Result<()> {
        stage("what this machine lacks", system::for_build)?;
        stage("build (RocksDB takes a while the first time)", build)?;
        let data = stage("health data", data::population)?;
        let mut demo = command(
            BINARY,
            [
                "demo",
                "--fresh",
                "--dir",
                NETWORK,
                "--data",
                &data.to_string_lossy(),
            ],
        );
        if self.once {
            demo.arg("--once");
        }
        run(&mut demo)
    }
}

/// The program that [`build`] makes.
pub const BINARY: &str = "target/debug/consilium";

/// Builds the binary, with the features that the tests build with, so that nothing is built twice.
///
/// # Errors
/// It does not compile.
pub fn build() -> anyhow::Result<()> {
    run(&mut command("cargo", ["build", "--workspace"]))
}
