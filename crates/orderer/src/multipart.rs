//! Just enough of `multipart/form-data` for the channel participation API: the parts of a body that
//! is in memory. Pure.

/// One part of a form that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The field's name.
    pub name: String,
    /// Whether it is a file, not a plain value.
    pub is_file: bool,
    /// What was sent.
    pub content: &'a [u8],
}

/// The boundary that a Content-Type header announces, if it is `multipart/form-data`.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())
}

/// The named parts of a body, or why it cannot be read.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, String> {
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let start = find(body, opening.as_bytes()).ok_or("multipart: NextPart: EOF")?;
    let mut rest = &body[start + opening.len()..];
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let line_end = find(rest, b"\r\n").ok_or("multipart: NextPart: EOF")?;
        let after_line = &rest[line_end + 2..];
        let (headers, content) = if let Some(content) = after_line.strip_prefix(b"\r\n") {
            (&b""[..], content)
        } else {
            let end = find(after_line, b"\r\n\r\n").ok_or("malformed MIME header")?;
            (&after_line[..end], &after_line[end + 4..])
        };
        let end = find(content, delimiter.as_bytes()).ok_or("multipart: NextPart: EOF")?;
        if let Some((name, is_file)) = describe(headers)? {
            parts.push(Part {
                name,
                is_file,
                content: &content[..end],
            });
        }
        rest = &content[end + delimiter.len()..];
    }
}

/// The field name of a part, if it has one, and whether it is a file.
fn describe(headers: &[u8]) -> Result<Option<(String, bool)>, String> {
    let headers = std::str::from_utf8(headers).map_err(|_| "malformed MIME header")?;
    let disposition = headers.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then(|| value.trim())
    });
    let Some((kind, parameters)) = disposition.and_then(|value| value.split_once(';')) else {
        return Ok(None);
    };
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Ok(None);
    }
    let given = |name| parameter(parameters, name).filter(|value| !value.is_empty());
    Ok(given("name").map(|name| (name, given("filename").is_some())))
}

/// A parameter's value, with or without quotes.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, tail) = if let Some(quoted) = after.strip_prefix('"') {
            unquote(quoted)?
        } else {
            let end = after.find(';').unwrap_or(after.len());
            (after[..end].trim().to_owned(), &after[end..])
        };
        if key
            .trim()
            .trim_start_matches(';')
            .trim()
            .eq_ignore_ascii_case(name)
        {
            return Some(value);
        }
        rest = tail;
    }
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
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
    fn boundaries_are_read_from_form_data_only() {
        let cases = [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "multipart/form-data; charset=x; boundary=\"a b\\\"c\"",
                Some("a b\"c"),
            ),
            ("Multipart/Form-Data;boundary=abc; x=y", Some("abc")),
            ("multipart/mixed; boundary=abc", None),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("application/json", None),
        ];
        for (header, expected) in cases {
            assert_eq!(boundary(header).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn files_are_told_from_values_and_parts_without_a_name_do_not_count() {
        let body = b"preamble\r\n--B\r\nContent-Disposition: form-data; name=\"config-block\"; \
filename=\"config.block\"\r\nContent-Type: application/octet-stream\r\n\r\n\x00\r\n--x\r\n--B\r\n\
content-disposition: form-data; name=field\r\n\r\nvalue\r\n--B\r\n\
Content-Disposition: form-data; name=unnamed; filename=\"\"\r\n\r\n\r\n--B\r\n\
Content-Disposition: form-data; filename=x\r\n\r\n\r\n--B--\r\n";
        let part = |name: &str, is_file, content| Part {
            name: name.into(),
            is_file,
            content,
        };
        let expected = [
            part("config-block", true, &b"\x00\r\n--x"[..]),
            part("field", false, b"value"),
            part("unnamed", false, b""),
        ];
        assert_eq!(parts(body, "B").unwrap(), expected);
        assert!(parts(b"--B\r\nx: y\r\n\r\nno end", "B").is_err());
        assert!(parts(b"", "B").is_err());
        assert_eq!(parts(b"--B--", "B").unwrap(), []);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), text in ".*") {
            let _ = parts(&body, "B");
            let _ = boundary(&text);
            let dressed = [b"--B\r\n", &body[..], b"\r\n\r\n", &body, b"\r\n--B--"].concat();
            let _ = parts(&dressed, "B");
        }
    }
}
