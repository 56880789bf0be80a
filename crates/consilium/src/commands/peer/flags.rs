//! Flags as Go's `flag` packages read them. source: strconv, time, github.com/spf13/pflag

use std::time::Duration;

use clap::{Arg, ArgAction};
use consilium_protocol::duration::{self, Signed};

/// Kinds of flags, to be named in `#[arg(…)]`.
pub trait GoFlag {
    /// On or off, by its name alone or with a value: `--tls`, `--tls=false`. `default` is what it is
    /// where nobody says anything.
    fn switch(self, default: bool) -> Self;

    /// A text that is empty by default: Fabric has words of its own for what is missing.
    fn text(self) -> Self;
}

impl GoFlag for Arg {
    fn switch(self, default: bool) -> Self {
        self.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value(if default { "true" } else { "false" })
            .default_missing_value("true")
            .hide_default_value(!default)
            .value_parser(switch)
            .value_name("BOOL")
    }

    fn text(self) -> Self {
        self.required(false)
            .default_value("")
            .hide_default_value(true)
    }
}

/// On or off.
///
/// # Errors
/// It is neither, in Go's words.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// A length of time such as `1m30s`.
///
/// # Errors
/// It is none, in Go's words; a negative one is refused, too.
pub fn length_of_time(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Some(Signed::Forward(time)) => Ok(time),
        _ => Err(duration::fault(text)),
    }
}

/// A whole number.
///
/// # Errors
/// It is none, in Go's words.
pub fn integer(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
}

/// A block's number.
///
/// # Errors
/// It is none, in Go's words.
pub fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_refused_as_go_does() {
        for (text, value) in [("1", true), ("True", true), ("f", false), ("FALSE", false)] {
            assert_eq!(switch(text), Ok(value), "{text}");
        }
        assert_eq!(
            switch("on").unwrap_err(),
            "strconv.ParseBool: parsing \"on\": invalid syntax"
        );
        for (text, value) in [("0", 0), ("1.5s", 1500), ("2m300ms", 120_300)] {
            assert_eq!(length_of_time(text), Ok(Duration::from_millis(value)));
        }
        for (text, reason) in [
            ("3", "time: missing unit in duration \"3\""),
            ("2d", "time: unknown unit \"d\" in duration \"2d\""),
            ("-1s", "time: invalid duration \"-1s\""),
            ("soon", "time: invalid duration \"soon\""),
        ] {
            assert_eq!(length_of_time(text).unwrap_err(), reason);
        }
        assert_eq!(integer("-3"), Ok(-3));
        assert!(integer("x").unwrap_err().contains("strconv.ParseInt"));
        assert_eq!(number("3"), Ok(3));
        assert!(number("-3").unwrap_err().contains("strconv.ParseUint"));
    }
}
