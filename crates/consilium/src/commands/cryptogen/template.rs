//! The little of Go's `text/template` that configurations of cryptogen are written in: fields such as
//! `{{.Hostname}}`, blanks around them, and comments.

/// Puts the values of fields in their places.
///
/// # Errors
/// Something between braces that is no known field, in the words of Fabric's cryptogen.
pub fn render(text: &str, fields: &[(&str, &str)]) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("{{") {
        let (before, action) = rest.split_at(begin);
        let Some((inner, after)) = action[2..].split_once("}}") else {
            return Err(format!(
                "Error parsing template: template: parse:1: unclosed action in {text:?}"
            ));
        };
        let (inner, trims_before) = match inner.strip_prefix("- ") {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let (inner, trims_after) = match inner.strip_suffix(" -") {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        out.push_str(if trims_before {
            before.trim_end()
        } else {
            before
        });
        out.push_str(field(inner.trim(), fields)?);
        rest = if trims_after {
            after.trim_start()
        } else {
            after
        };
    }
    out.push_str(rest);
    Ok(out)
}

fn field<'a>(action: &str, fields: &[(&str, &'a str)]) -> Result<&'a str, String> {
    if action.starts_with("/*") && action.ends_with("*/") {
        return Ok("");
    }
    let Some(name) = action.strip_prefix('.') else {
        return Err(format!(
            "Error parsing template: {{{{{action}}}}} is not supported; fields such as {{{{.Hostname}}}} are"
        ));
    };
    let known = fields.iter().find(|(known, _)| *known == name);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        format!(
            "Error executing template: can't evaluate field {name}; there are {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [(&str, &str); 2] = [("Prefix", "peer"), ("Index", "3")];

    #[test]
    fn fields_are_put_in_their_places() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{{.Prefix}}{{.Index}}", "peer3"),
            ("a {{ .Prefix }} b", "a peer b"),
            ("a {{- .Prefix -}} b", "apeerb"),
            ("x{{/* nothing */}}y", "xy"),
            ("}} {", "}} {"),
        ] {
            assert_eq!(render(text, &FIELDS).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_field_is_refused_by_name() {
        for (text, part) in [
            ("{{.Host}}", "can't evaluate field Host"),
            ("{{.Prefix", "unclosed action"),
            ("{{printf \"%d\" .Index}}", "is not supported"),
            ("{{}}", "is not supported"),
        ] {
            let refused = render(text, &FIELDS).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
