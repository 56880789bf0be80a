//! `cargo xtask validate`: random transactions through a peer and through the reference validator.

use clap::Args;

use crate::seeded::{Seeded, new_seed};

const TEST: Seeded = Seeded {
    target: "pipeline",
    name: "decides_random_chains_as_the_reference_does",
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
        TEST.run(&self.environment(new_seed()?))
    }

    /// What the test reads; `from` is the first seed if none was asked for.
    fn environment(&self, from: u64) -> Vec<(&'static str, u64)> {
        match self.seed {
            Some(seed) => vec![("VALIDATION_SEED", seed)],
            None => vec![
                ("VALIDATION_FROM", self.from.unwrap_or(from)),
                ("VALIDATION_TRANSACTIONS", self.transactions),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::TEST;
    use crate::{Cli, Command, seeded::guard};

    const DOCS: &str = include_str!("../../docs/validation.md");
    const MODEL: &str = include_str!("../../crates/peer/tests/pipeline/model.rs");

    /// What a command line makes of the environment, seeds beginning at 7 by themselves.
    fn environment(line: &str) -> Vec<(&'static str, u64)> {
        let words = line.split_whitespace().skip_while(|word| *word != "xtask");
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Validate(validate)) => validate.environment(7),
            Ok(_) => panic!("{line}: another command"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn the_test_that_is_run_is_there() {
        guard::is_there(&TEST, MODEL);
    }

    #[test]
    fn options_become_what_the_test_reads() {
        let (from, transactions) = ("VALIDATION_FROM", "VALIDATION_TRANSACTIONS");
        let cases: [(&str, &[(&str, u64)]); 3] = [
            ("", &[(from, 7), (transactions, 1_000_000)]),
            ("--transactions 5 --from 3", &[(from, 3), (transactions, 5)]),
            ("--seed 4711", &[("VALIDATION_SEED", 4711)]),
        ];
        for (options, expected) in cases {
            let set = environment(&format!("cargo xtask validate {options}"));
            assert_eq!(set, expected, "{options}");
            for (name, _) in set {
                guard::is_read(name, MODEL, "number");
            }
        }
    }

    #[test]
    fn the_documented_commands_are_understood() {
        let validate = guard::commands(DOCS, "xtask validate");
        assert!(validate.len() > 1, "the documentation shows how to compare");
        for line in validate {
            assert!(!environment(line).is_empty());
        }
    }
}
