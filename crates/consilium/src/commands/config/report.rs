//! What was found.

use std::fmt;

/// What a configuration means, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<(Kind, String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// How it is understood.
    Fact,
    /// It works, and maybe not as it is meant.
    Doubt,
    /// It does not work.
    Mistake,
}

impl Report {
    /// How a key is understood.
    pub fn fact(&mut self, key: &str, text: impl Into<String>) {
        self.add(Kind::Fact, key, text.into());
    }

    /// What may not be meant.
    pub fn doubt(&mut self, key: &str, text: impl Into<String>) {
        self.add(Kind::Doubt, key, text.into());
    }

    /// What does not work.
    pub fn mistake(&mut self, key: &str, text: impl Into<String>) {
        self.add(Kind::Mistake, key, text.into());
    }

    fn add(&mut self, kind: Kind, key: &str, text: String) {
        self.lines.push((kind, key.to_owned(), text));
    }

    /// How many mistakes there are.
    pub fn mistakes(&self) -> usize {
        let mistakes = self.lines.iter().filter(|line| line.0 == Kind::Mistake);
        mistakes.count()
    }

    /// What was found at keys, for tests.
    #[cfg(test)]
    pub fn found(&self) -> Vec<String> {
        let found = self.lines.iter().filter(|line| line.0 != Kind::Fact);
        found
            .map(|(_, key, text)| format!("{key}: {text}"))
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, key, text) in &self.lines {
            let kind = match kind {
                Kind::Fact => "        ",
                Kind::Doubt => "warning ",
                Kind::Mistake => "MISTAKE ",
            };
            match key.as_str() {
                "" => writeln!(out, "  {kind}{text}")?,
                key => writeln!(out, "  {kind}{key}: {text}")?,
            }
        }
        Ok(())
    }
}
