//! Logging specs in Fabric's form.

use std::{collections::BTreeMap, fmt, str::FromStr};

use tracing_subscriber::filter::LevelFilter;

/// Which loggers log from which level on: `[<logger>[,<logger>...]=]<level>[:...]`.
///
/// A logger is a crate of ours, with or without `consilium_`, or a module in it, with dots
/// (`orderer`, `orderer.broadcast`). Printed, a spec is Fabric's normalized form: sorted, the
/// default level last.
///
/// fabric: fabric-lib-go common/flogging/loggerlevels.go
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSpec {
    loggers: BTreeMap<String, Level>,
    default: Level,
}

/// A level under the names that Fabric knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Payload,
    Debug,
    Info,
    Warn,
    Error,
    DPanic,
    Panic,
    Fatal,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self {
            loggers: BTreeMap::new(),
            default: Level::Info,
        }
    }
}

impl LogSpec {
    /// The level of loggers that are not named.
    pub fn default_level(&self) -> LevelFilter {
        self.default.into()
    }

    /// Named loggers and their levels.
    pub fn loggers(&self) -> impl Iterator<Item = (&str, LevelFilter)> {
        self.loggers
            .iter()
            .map(|(name, &level)| (name.as_str(), level.into()))
    }
}

impl FromStr for LogSpec {
    type Err = anyhow::Error;

    fn from_str(spec: &str) -> anyhow::Result<Self> {
        let bad = |segment: &str| {
            anyhow::anyhow!("invalid logging specification '{spec}': bad segment '{segment}'")
        };
        let mut parsed = Self::default();
        for field in spec.split(':') {
            let parts: Vec<&str> = field.split('=').collect();
            match parts[..] {
                // An empty segment means info, also after another default.
                [""] => parsed.default = Level::Info,
                [level] => parsed.default = Level::named(level).ok_or_else(|| bad(field))?,
                ["", _] => anyhow::bail!(
                    "invalid logging specification '{spec}': no logger specified in segment \
                     '{field}'"
                ),
                [loggers, level] => {
                    let level = Level::named(level).ok_or_else(|| bad(field))?;
                    for logger in loggers.split(',') {
                        // A period at the end asks Fabric for that logger without those below.
                        let name = logger.strip_suffix('.').unwrap_or(logger);
                        anyhow::ensure!(
                            is_logger_name(name),
                            "invalid logging specification '{spec}': bad logger name '{logger}'"
                        );
                        parsed.loggers.insert(logger.to_owned(), level);
                    }
                }
                _ => return Err(bad(field)),
            }
        }
        Ok(parsed)
    }
}

/// Parts of letters, digits, `_`, `#` and `-`, with periods between them.
fn is_logger_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_#-".contains(&byte);
    name.split('.')
        .all(|part| !part.is_empty() && part.bytes().all(fits))
}

impl fmt::Display for LogSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (logger, level) in &self.loggers {
            write!(formatter, "{logger}={}:", level.name())?;
        }
        formatter.write_str(self.default.name())
    }
}

impl Level {
    /// fabric: fabric-lib-go common/flogging/levels.go
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "PAYLOAD" | "payload" => Self::Payload,
            "DEBUG" | "debug" => Self::Debug,
            "INFO" | "info" | "NOTICE" | "notice" => Self::Info,
            "WARNING" | "WARN" | "warning" | "warn" => Self::Warn,
            "ERROR" | "error" | "CRITICAL" | "critical" => Self::Error,
            "DPANIC" | "dpanic" => Self::DPanic,
            "PANIC" | "panic" => Self::Panic,
            "FATAL" | "fatal" => Self::Fatal,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::DPanic => "dpanic",
            Self::Panic => "panic",
            Self::Fatal => "fatal",
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Payload => Self::TRACE,
            Level::Debug => Self::DEBUG,
            Level::Info => Self::INFO,
            Level::Warn => Self::WARN,
            // We have no levels above error.
            Level::Error | Level::DPanic | Level::Panic | Level::Fatal => Self::ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LogSpec;

    #[test]
    fn a_spec_is_shown_in_its_normalized_form() {
        for (spec, normalized) in [
            ("", "info"),
            ("info", "info"),
            ("DEBUG", "debug"),
            ("warning", "warn"),
            ("notice", "info"),
            ("critical", "error"),
            ("payload", "payload"),
            ("fatal", "fatal"),
            ("gossip,ledger=debug:warn", "gossip=debug:ledger=debug:warn"),
            (
                "warn:orderer.broadcast=DEBUG",
                "orderer.broadcast=debug:warn",
            ),
            ("a=debug:a=error", "a=error:info"),
            ("peer.=error", "peer.=error:info"),
            ("warn:", "info"),
            ("debug:warn", "warn"),
        ] {
            let parsed: LogSpec = spec.parse().unwrap();
            assert_eq!(parsed.to_string(), normalized, "{spec}");
            assert_eq!(parsed.to_string().parse::<LogSpec>().unwrap(), parsed);
        }
    }

    #[test]
    fn a_spec_that_is_none_is_refused_in_fabrics_words() {
        for (spec, expected) in [
            ("loud", "bad segment 'loud'"),
            ("Debug", "bad segment 'Debug'"),
            ("info:a=loud", "bad segment 'a=loud'"),
            ("a=", "bad segment 'a='"),
            ("a=debug=info", "bad segment 'a=debug=info'"),
            ("=debug", "no logger specified in segment '=debug'"),
            ("a,,b=debug", "bad logger name ''"),
            ("a..b=debug", "bad logger name 'a..b'"),
            (".a=debug", "bad logger name '.a'"),
            ("a b=debug", "bad logger name 'a b'"),
        ] {
            let error = spec.parse::<LogSpec>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("invalid logging specification '{spec}': {expected}")
            );
        }
    }
}
