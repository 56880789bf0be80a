//! Lines for a person at a terminal, as Fabric CA's client writes them to stderr:
//! `2026/12/01 06:08:11 [INFO] …`. fabric-ca: github.com/cloudflare/cfssl/log

use std::sync::atomic::{AtomicU8, Ordering};

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Writes lines of this level and graver ones from now on. A name that is not known means `info`.
pub(super) fn set_level(name: &str) {
    let level = match name.to_lowercase().as_str() {
        "debug" => Level::Debug,
        "warning" => Level::Warning,
        "error" | "critical" | "fatal" => Level::Error,
        _ => Level::Info,
    };
    LEAST.store(level as u8, Ordering::Relaxed);
}

/// Writes a line.
pub(super) fn write(level: Level, message: impl std::fmt::Display) {
    if (level as u8) < LEAST.load(Ordering::Relaxed) {
        return;
    }
    let name = match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    };
    let now = jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S");
    eprintln!("{now} [{name}] {message}");
}

/// Writes a line that tells what was done.
pub(super) fn info(message: impl std::fmt::Display) {
    write(Level::Info, message);
}
