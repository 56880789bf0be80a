//! `cargo xtask simulate`: seeds for the ordering service's simulator.

use clap::Args;

use crate::seeded::{Seeded, new_seed};

const TEST: Seeded = Seeded {
    target: "simulation",
    name: "whatever_the_seed",
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
        TEST.run(&self.environment(new_seed()?))
    }

    /// What the simulation reads; `from` is the first seed if none was asked for.
    fn environment(&self, from: u64) -> Vec<(&'static str, u64)> {
        if let Some(seed) = self.seed {
            return vec![("SIMULATION_SEED", seed)];
        }
        let mut environment = vec![
            ("SIMULATION_FROM", self.from.unwrap_or(from)),
            ("SIMULATION_SEEDS", self.seeds),
        ];
        environment.extend(self.minutes.map(|minutes| ("SIMULATION_MINUTES", minutes)));
        environment
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::TEST;
    use crate::{Cli, Command, seeded::guard};

    const DOCS: &str = include_str!("../../docs/ordering.md");
    const SIMULATION: &str = include_str!("../../crates/orderer/tests/simulation.rs");

    /// What a command line makes of the environment, seeds beginning at 7 by themselves.
    fn environment(line: &str) -> Vec<(&'static str, u64)> {
        let words = line.split_whitespace().skip_while(|word| *word != "xtask");
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Simulate(simulate)) => simulate.environment(7),
            Ok(_) => panic!("{line}: another command"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn the_test_that_is_run_is_there() {
        guard::is_there(&TEST, SIMULATION);
    }

    #[test]
    fn options_become_what_the_simulation_reads() {
        let (from, seed) = ("SIMULATION_FROM", "SIMULATION_SEED");
        let (seeds, minutes) = ("SIMULATION_SEEDS", "SIMULATION_MINUTES");
        let cases: [(&str, &[(&str, u64)]); 5] = [
            ("", &[(from, 7), (seeds, 20_000)]),
            ("--seeds 5 --from 3", &[(from, 3), (seeds, 5)]),
            ("--minutes 60", &[(from, 7), (seeds, 20_000), (minutes, 60)]),
            (
                "--from 9 --minutes 1",
                &[(from, 9), (seeds, 20_000), (minutes, 1)],
            ),
            ("--seed 4711", &[(seed, 4711)]),
        ];
        for (options, expected) in cases {
            let set = environment(&format!("cargo xtask simulate {options}"));
            assert_eq!(set, expected, "{options}");
            for (name, _) in set {
                guard::is_read(name, SIMULATION, "setting");
            }
        }
    }

    /// Each command and each variable that the documentation names is one.
    #[test]
    fn the_documented_commands_are_understood() {
        let simulate = guard::commands(DOCS, "xtask simulate");
        assert!(
            simulate.len() > 1,
            "the documentation shows how to simulate"
        );
        for line in simulate {
            assert!(!environment(line).is_empty());
        }
        let variables = guard::variables(DOCS, "SIMULATION_");
        assert!(variables.len() > 4, "the documentation names variables");
        for name in variables {
            guard::is_read(name, SIMULATION, "setting");
        }
    }
}
