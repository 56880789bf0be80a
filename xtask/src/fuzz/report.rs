//! What is told of a run.

use std::path::PathBuf;

/// Over the rows.
pub const HEADING: &str = "\
target          runs      runs/s  coverage  features    corpus  peak MiB  outcome";

/// What libFuzzer said last of how far it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Places in the code that were reached.
    coverage: u64,
    /// Combinations of places and how often.
    features: u64,
    /// Inputs that reach something that the others do not.
    corpus: String,
    /// Runs in a second.
    rate: u64,
    /// Memory, in MiB.
    memory: String,
}

/// How a target fared.
pub struct Outcome {
    /// Nothing made it fail.
    pub succeeded: bool,
    /// How far it got.
    pub progress: Progress,
    /// How often it ran.
    pub runs: u64,
    /// Inputs that made it fail.
    pub inputs: Vec<PathBuf>,
    /// What it printed.
    pub log: PathBuf,
}

impl Outcome {
    /// A row of the table.
    pub fn row(&self, target: &str) -> String {
        let outcome = if self.succeeded { "no crash" } else { "FAILED" };
        let Progress {
            coverage,
            features,
            corpus,
            rate,
            memory,
        } = &self.progress;
        format!(
            "{target:<12}{:>8}{rate:>12}{coverage:>10}{features:>10}{corpus:>10}{memory:>10}  {outcome}",
            self.runs
        )
    }
}

/// The last line of progress.
pub fn last_progress(printed: &str) -> Progress {
    let lines = printed.lines().rev();
    let mut progress = lines.filter(|line| line.starts_with('#') && line.contains(" cov: "));
    progress.next().map(progress_of).unwrap_or_default()
}

/// `#8192 pulse  cov: 10 ft: 11 corp: 5/9b lim: 80 exec/s: 4096 rss: 30Mb`
fn progress_of(line: &str) -> Progress {
    let after = |name: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != name);
        words.nth(1).unwrap_or_default()
    };
    let number = |name| after(name).parse().unwrap_or_default();
    Progress {
        coverage: number("cov:"),
        features: number("ft:"),
        corpus: after("corp:").split('/').next().unwrap_or_default().into(),
        rate: number("exec/s:"),
        memory: after("rss:").trim_end_matches("Mb").into(),
    }
}

/// How often the target ran: libFuzzer numbers its lines by that.
pub fn runs(printed: &str) -> u64 {
    let numbers = printed.lines().filter_map(|line| {
        let rest = line.strip_prefix('#')?;
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse().ok()
    });
    numbers.max().unwrap_or_default()
}

/// What to do about a failure.
pub fn advice(target: &str, outcome: &Outcome) -> String {
    let mut text = format!("  what it said: {}", outcome.log.display());
    for input in &outcome.inputs {
        let input = input.display();
        text.push_str(&format!(
            "\n  keep the input as a regression: mkdir -p fuzz/regressions/{target} && \
             cp {input} fuzz/regressions/{target}/\n  \
             run it: cargo test --workspace --test inputs {target}"
        ));
    }
    text
}

/// The last line.
pub fn closing(targets: usize, seconds: u64, failed: &[&str]) -> String {
    let what = format!("{targets} targets, {seconds} s each");
    if failed.is_empty() {
        format!("fuzzing: {what}: no crash, no hang, no excess of memory")
    } else {
        format!("fuzzing: {what}: FAILED: {}", failed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
INFO: Seed: 1
#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 30Mb
#8192\tpulse  cov: 10 ft: 11 corp: 5/9b lim: 80 exec/s: 4096 rss: 31Mb
#9000\tDONE   cov: 12 ft: 13 corp: 6/10Kb lim: 80 exec/s: 4500 rss: 33Mb
Done 9000 runs in 2 second(s)
";

    #[test]
    fn the_last_progress_counts() {
        let progress = Progress {
            coverage: 12,
            features: 13,
            corpus: "6".into(),
            rate: 4500,
            memory: "33".into(),
        };
        assert_eq!(last_progress(PRINTED), progress);
        assert_eq!(runs(PRINTED), 9000);
        assert_eq!(last_progress("nothing"), Progress::default());
    }

    #[test]
    fn a_failure_tells_how_to_keep_its_input() {
        let outcome = Outcome {
            succeeded: false,
            progress: Progress::default(),
            runs: 5,
            inputs: vec!["fuzz/artifacts/mango/crash-1".into()],
            log: "fuzz/artifacts/mango.log".into(),
        };
        let advice = advice("mango", &outcome);
        let copy = "cp fuzz/artifacts/mango/crash-1 fuzz/regressions/mango/";
        assert!(advice.contains(copy), "{advice}");
        assert!(outcome.row("mango").ends_with("FAILED"));
        assert!(closing(2, 60, &["mango"]).contains("FAILED: mango"));
        assert!(!closing(2, 60, &[]).contains("FAILED"));
    }
}
