//! Lines of the log, which go to stderr in the form of Fabric's: scripts look for some of them.

use jiff::Timestamp;

fn line(level: &str, text: &str) {
    let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S%.3f UTC");
    eprintln!("{now} {level} [common.tools.configtxgen] {text}");
}

/// What is done.
pub fn information(text: &str) {
    line("INFO", text);
}

/// What is not as it should be.
pub fn error(text: &str) {
    line("ERRO", text);
}

/// Why the program ends.
pub fn fatal(text: &str) {
    line("FATA", text);
}
