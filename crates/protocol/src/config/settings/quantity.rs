//! Sizes as people and configtx.yaml write them.

const UNITS: [(&str, u32); 3] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];

/// `10 MB`, `512 KB`, or the number of bytes where no unit divides it.
pub fn describe_size(bytes: u32) -> String {
    UNITS
        .iter()
        .find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit))
        .map_or_else(
            || bytes.to_string(),
            |(name, unit)| format!("{} {name}", bytes / unit),
        )
}

/// Reads what [`describe_size`] writes; blanks and case do not matter.
pub fn parse_size(text: &str) -> Option<u32> {
    let compact: String = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect::<String>()
        .to_ascii_uppercase();
    for (name, unit) in UNITS {
        if let Some(number) = compact.strip_suffix(name) {
            return number.parse::<u32>().ok()?.checked_mul(unit);
        }
    }
    compact.strip_suffix('B').unwrap_or(&compact).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1024, "1 KB"),
            (1025, "1025"),
            (10 << 20, "10 MB"),
            (3 << 30, "3 GB"),
            (u32::MAX, "4294967295"),
        ] {
            assert_eq!(describe_size(bytes), text);
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for (text, bytes) in [("512kb", 512 << 10), (" 7 B", 7), ("2mB", 2 << 20)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MB", "-1", "1.5 MB", "4 GB", "4294967296", "1 TB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
