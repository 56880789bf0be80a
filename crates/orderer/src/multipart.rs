//! Just enough of `multipart/form-data` for the channel participation API: file parts of a body
//! that is in memory. Pure.

/// One file of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePart<'a> {
    pub(crate) name: String,
    pub(crate) content: &'a [u8],
}

/// The boundary that a Content-Type header announces, if it is `multipart/form-data`.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())
}

/// The file parts of a body, or why it cannot be read.
pub(crate) fn file_parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<FilePart<'a>>, String> {
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
        if let Some(name) = file_name(headers)? {
            parts.push(FilePart {
                name,
                content: &content[..end],
            });
        }
        rest = &content[end + delimiter.len()..];
    }
}

/// The field name of a part that is a file.
fn file_name(headers: &[u8]) -> Result<Option<String>, String> {
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
    Ok(parameter(parameters, "filename").and_then(|_| parameter(parameters, "name")))
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
    fn file_parts_are_found_and_fields_are_not() {
        let body = b"preamble\r\n--B\r\nContent-Disposition: form-data; name=\"config-block\"; \
filename=\"config.block\"\r\nContent-Type: application/octet-stream\r\n\r\n\x00\r\n--x\r\n--B\r\n\
content-disposition: form-data; name=field\r\n\r\nvalue\r\n--B--\r\n";
        let parts = file_parts(body, "B").unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].name, "config-block");
        assert_eq!(parts[0].content, b"\x00\r\n--x");
        assert!(file_parts(b"--B\r\nx: y\r\n\r\nno end", "B").is_err());
        assert!(file_parts(b"", "B").is_err());
        assert_eq!(file_parts(b"--B--", "B").unwrap(), []);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), text in ".*") {
            let _ = file_parts(&body, "B");
            let _ = boundary(&text);
            let dressed = [b"--B\r\n", &body[..], b"\r\n\r\n", &body, b"\r\n--B--"].concat();
            let _ = file_parts(&dressed, "B");
        }
    }
}
