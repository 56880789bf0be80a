//! `cargo xtask validate`: random transactions through a peer and through the reference validator.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::{
    run::{command, run},
    system,
};

/// Options of the comparison.
#[derive(Args)]
pub struct Validate {
    /// How many transactions to compare.
    #[arg(long, default_value_t = 1_000_000)]
    transactions: u64,
    /// The first seed; without it one that is new every second.
    #[arg(long)]
    from: Option<u64>,
    /// Replay the chain of one seed.
    #[arg(long)]
    seed: Option<u64>,
}

impl Validate {
    /// Compares until something differs or there are enough transactions.
    ///
    /// # Errors
    /// A difference; its seed, block and transaction are printed.
    pub fn run(self) -> anyhow::Result<()> {
        system::for_build()?;
        let mut tests = command(
            "cargo",
            [
                "test",
                "--package",
                "consilium-peer",
                "--test",
                "pipeline",
                "--",
                "--nocapture",
                "random_chains",
            ],
        );
        if let Some(seed) = self.seed {
            return run(tests.env("VALIDATION_SEED", seed.to_string()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let from = self.from.unwrap_or(now.saturating_mul(100_000));
        tests.env("VALIDATION_FROM", from.to_string());
        tests.env("VALIDATION_TRANSACTIONS", self.transactions.to_string());
        run(&mut tests)
    }
}
