//! `cargo xtask simulate`: seeds for the ordering service's simulator.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::{
    run::{command, run},
    system,
};

/// Options of the simulator.
#[derive(Args)]
pub struct Simulate {
    /// How many seeds to run, unless `--minutes` is given.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// Run new seeds for so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// The first seed; without it one that is new every second.
    #[arg(long)]
    from: Option<u64>,
    /// Replay one seed and tell its story. `RUST_LOG` shows what the nodes say.
    #[arg(long)]
    seed: Option<u64>,
}

impl Simulate {
    /// Runs seeds until one fails or there are no more.
    ///
    /// # Errors
    /// A seed that fails; its number and story are printed.
    pub fn run(self) -> anyhow::Result<()> {
        system::for_build()?;
        let mut tests = command(
            "cargo",
            [
                "test",
                "--package",
                "consilium-orderer",
                "--test",
                "simulation",
                "--",
                "--nocapture",
                "whatever_the_seed",
            ],
        );
        if let Some(seed) = self.seed {
            return run(tests.env("SIMULATION_SEED", seed.to_string()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let from = self.from.unwrap_or(now.saturating_mul(100_000));
        println!("seeds from {from}");
        tests.env("SIMULATION_FROM", from.to_string());
        tests.env("SIMULATION_SEEDS", self.seeds.to_string());
        if let Some(minutes) = self.minutes {
            tests.env("SIMULATION_MINUTES", minutes.to_string());
        }
        run(&mut tests)
    }
}
