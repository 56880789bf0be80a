//! Values of flags as Go's `flag` packages read them. source: strconv, time, github.com/spf13/pflag

use std::time::Duration;

use consilium_protocol::duration::{self, Signed};

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
        _ => Err(format!("time: invalid duration {text:?}")),
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
        for text in ["3", "-1s", "soon"] {
            let refused = length_of_time(text).unwrap_err();
            assert_eq!(refused, format!("time: invalid duration \"{text}\""));
        }
        assert_eq!(integer("-3"), Ok(-3));
        assert!(integer("x").unwrap_err().contains("strconv.ParseInt"));
        assert_eq!(number("3"), Ok(3));
        assert!(number("-3").unwrap_err().contains("strconv.ParseUint"));
    }
}
