//! Tests that draw what they do from seeds, run for as long as asked.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    run::{command, run},
    system,
};

/// A test that reads its seeds from the environment.
pub struct Seeded {
    /// Target that it is in, the only one of that name in the workspace.
    pub target: &'static str,
    /// The end of its name.
    pub name: &'static str,
}

impl Seeded {
    /// Runs it under these variables.
    ///
    /// # Errors
    /// A seed that fails; the test prints which and why.
    pub fn run(&self, environment: &[(&'static str, u64)]) -> anyhow::Result<()> {
        system::for_build()?;
        // The whole workspace is named, and not a package: that would be built with other features, down
        // to RocksDB.
        let arguments = ["test", "--workspace", "--test", self.target];
        let mut tests = command("cargo", arguments);
        tests.args(["--", "--nocapture", self.name]);
        for (name, value) in environment {
            println!("{name}={value}");
            tests.env(name, value.to_string());
        }
        run(&mut tests)
    }
}

/// A first seed that is new every second.
///
/// # Errors
/// The clock is before 1970.
pub fn new_seed() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(now.saturating_mul(100_000))
}

/// What must hold between a command and the test's source, since cargo is content when no test has a name and
/// a test when nobody sets a variable.
#[cfg(test)]
pub mod guard {
    use super::Seeded;

    /// Exactly one test is called so.
    pub fn is_there(test: &Seeded, source: &str) {
        let function = format!("{}() {{", test.name);
        assert_eq!(source.matches(&function).count(), 1, "{}", test.name);
    }

    /// The source reads a variable, with its function `reader`.
    pub fn is_read(variable: &str, source: &str, reader: &str) {
        let read = format!("{reader}(\"{variable}\")");
        assert!(source.contains(&read), "nothing reads {variable}");
    }

    /// Lines of a documentation's console that hold `text`, without their comments.
    pub fn commands<'a>(docs: &'a str, text: &'a str) -> Vec<&'a str> {
        let lines = docs.lines().filter_map(|line| line.strip_prefix("$ "));
        let commands = lines.map(|line| line.split('#').next().unwrap_or(line));
        commands.filter(|line| line.contains(text)).collect()
    }

    /// Names of variables in a text.
    pub fn variables<'a>(text: &'a str, prefix: &'a str) -> Vec<&'a str> {
        let names = text.split(|c: char| c != '_' && !c.is_ascii_uppercase());
        names.filter(|name| name.starts_with(prefix)).collect()
    }
}
