//! PEM armour, read as tolerantly as Fabric's tools read it and written as they write it.
//!
//! The block type is not restricted and text around the block is ignored, because validation has to
//! accept what Fabric accepts (fabric: msp/mspimpl.go decodes without looking at the type).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One decoded PEM block.
pub(crate) struct Block<'a> {
    /// The text between `BEGIN` and the dashes, for example `CERTIFICATE`.
    pub label: &'a str,
    /// Whether the block has `Name: value` headers.
    pub has_headers: bool,
    /// Decoded contents.
    pub contents: Vec<u8>,
    /// What follows the block.
    pub rest: &'a [u8],
}

/// The first well-formed PEM block of `text`, if there is one.
pub(crate) fn first_block(text: &[u8]) -> Option<Block<'_>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut from = 0;
    loop {
        let begin = from + find(&text[from..], BEGIN)?;
        from = begin + BEGIN.len();
        let at_line_start = begin == 0 || text[begin - 1] == b'\n';
        if at_line_start && let Some(block) = block_after_begin(&text[from..]) {
            return Some(block);
        }
    }
}

/// Every block of `text` whose label is `label`, decoded.
pub(crate) fn blocks(text: &[u8], label: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(block) = first_block(rest) {
        if block.label == label {
            found.push(block.contents);
        }
        rest = block.rest;
    }
    found
}

fn block_after_begin(text: &[u8]) -> Option<Block<'_>> {
    let line_end = text.iter().position(|&byte| byte == b'\n')?;
    let label = std::str::from_utf8(&text[..line_end]).ok()?;
    let label = label
        .trim_end_matches(['\r', ' ', '\t'])
        .strip_suffix("-----")?;
    let body = &text[line_end + 1..];

    // Headers are lines with a colon; base64 has none.
    let mut data = body;
    let mut has_headers = false;
    while let Some(end) = data.iter().position(|&byte| byte == b'\n') {
        if !data[..end].contains(&b':') {
            break;
        }
        has_headers = true;
        data = &data[end + 1..];
    }

    let marker = format!("-----END {label}-----");
    let end = find(data, marker.as_bytes())?;
    if end > 0 && data[end - 1] != b'\n' {
        return None;
    }
    let after = &data[end + marker.len()..];
    let tail = after
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(after.len());
    if after[..tail]
        .iter()
        .any(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
    {
        return None;
    }
    let base64: Vec<u8> = data[..end]
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    Some(Block {
        label,
        has_headers,
        contents: STANDARD.decode(base64).ok()?,
        rest: &after[(tail + 1).min(after.len())..],
    })
}

/// `contents` as one block of 64 columns with line feeds, as Go's encoder prints it.
pub(crate) fn encode(label: &str, contents: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(contents).as_bytes().chunks(64) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_around_a_block_and_its_headers_are_ignored() {
        let text =
            b"note\n-----BEGIN X Y-----\r\nProc-Type: 4\r\n\r\nAAEC\r\n-----END X Y-----\r\ntail";
        let block = first_block(text).expect("a block");
        assert_eq!(block.label, "X Y");
        assert!(block.has_headers);
        assert_eq!(block.contents, [0, 1, 2]);
        assert_eq!(block.rest, b"tail");
    }

    #[test]
    fn broken_armour_is_no_block() {
        for text in [
            "",
            "-----BEGIN A-----",
            "-----BEGIN A-----\nAAEC\n-----END B-----\n",
            "-----BEGIN A-----\n!!!!\n-----END A-----\n",
            "x-----BEGIN A-----\nAAEC\n-----END A-----\n",
            "-----BEGIN A\nAAEC\n-----END A-----\n",
        ] {
            assert!(first_block(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(contents in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("CERTIFICATE", &contents);
            let block = first_block(text.as_bytes()).expect("own encoding");
            prop_assert_eq!(block.contents, contents);
            prop_assert!(block.rest.is_empty() && !block.has_headers);
        }

        #[test]
        fn reading_arbitrary_bytes_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = first_block(&text);
            let mut armoured = b"-----BEGIN A-----\n".to_vec();
            armoured.extend(&text);
            let _ = first_block(&armoured);
        }
    }
}
