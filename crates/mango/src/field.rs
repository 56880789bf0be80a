//! Paths to members of documents: `owner.name`, with `\.` for a dot inside of a name.

use serde_json::{Map, Value};

use crate::error::MangoError;

/// Parts that a path has at most.
const PATH_PARTS: usize = 64;

/// Bytes that a path's text has at most.
const PATH_BYTES: usize = 1024;

/// A path into a document. An empty one means the value at hand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct FieldPath(Vec<String>);

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Found<'a> {
    Value(&'a Value),
    /// The last object on the way has no such member.
    Nothing,
    /// The way leads through something that has no members.
    NoWay,
}

impl FieldPath {
    /// Parses a field name.
    ///
    /// # Errors
    /// `invalid_field_name` for empty parts (couchdb: mango_util:parse_field/1) and for paths that
    /// are too long.
    pub(crate) fn parse(field: &str) -> Result<Self, MangoError> {
        if field.len() > PATH_BYTES {
            return Err(too_long());
        }
        let mut parts = vec![String::new()];
        let mut last = '\0';
        for character in field.chars() {
            if character == '.' && last != '\\' {
                parts.push(String::new());
            } else if let Some(part) = parts.last_mut() {
                part.push(character);
            }
            last = character;
        }
        if parts.iter().any(String::is_empty) {
            return Err(MangoError::refused(
                "invalid_field_name",
                format!("Invalid field name: {field}"),
            ));
        }
        for part in &mut parts {
            part.retain(|character| character != '\\');
        }
        Self(parts).checked()
    }

    /// This path continued by another one.
    ///
    /// # Errors
    /// `invalid_field_name` if that is too long.
    pub(crate) fn join(&self, other: &Self) -> Result<Self, MangoError> {
        Self([self.0.as_slice(), &other.0].concat()).checked()
    }

    fn checked(self) -> Result<Self, MangoError> {
        let names: usize = self.0.iter().map(String::len).sum();
        if self.0.len() > PATH_PARTS || names + self.0.len() > PATH_BYTES + 1 {
            return Err(too_long());
        }
        Ok(self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_id(&self) -> bool {
        matches!(self.0.as_slice(), [name] if name == crate::document::ID)
    }

    /// Follows the path; numbers lead into arrays, each place under one name only: `0`, not `00`.
    /// couchdb: mango_doc:get_field/3
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Found<'a> {
        let mut at = value;
        for name in &self.0 {
            at = match at {
                Value::Object(members) => match members.get(name) {
                    Some(value) => value,
                    None => return Found::Nothing,
                },
                Value::Array(values) => match place(name).and_then(|place| values.get(place)) {
                    Some(value) => value,
                    None => return Found::NoWay,
                },
                _ => return Found::NoWay,
            };
        }
        Found::Value(at)
    }

    /// Puts `value` at the path, making objects on the way; where something else is in the way it
    /// stays as it is. couchdb: mango_doc:set_field/3
    pub(crate) fn put(&self, members: &mut Map<String, Value>, value: Value) {
        let Some((last, way)) = self.0.split_last() else {
            return;
        };
        let mut at = members;
        for name in way {
            let next = at
                .entry(name.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(next) = next else {
                return;
            };
            at = next;
        }
        at.insert(last.clone(), value);
    }
}

fn too_long() -> MangoError {
    MangoError::refused(
        "invalid_field_name",
        format!("Invalid field name: more than {PATH_PARTS} parts or {PATH_BYTES} bytes"),
    )
}

/// A place in an array.
fn place(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_canonical = name == "0" || !name.starts_with('0');
    (is_number && is_canonical).then(|| name.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dot_separates_unless_it_is_escaped() {
        for (field, parts) in [
            ("ab", vec!["ab"]),
            ("a.b.c", vec!["a", "b", "c"]),
            (r"a\.b", vec!["a.b"]),
            (r"a.b\.c", vec!["a", "b.c"]),
            (r"a\b", vec!["ab"]),
        ] {
            assert_eq!(FieldPath::parse(field).unwrap().0, parts, "{field}");
        }
        for field in ["", ".", "a.", ".a", "a..b"] {
            let refused = FieldPath::parse(field).unwrap_err().to_string();
            assert!(refused.contains("invalid_field_name"), "{field}: {refused}");
        }
    }

    #[test]
    fn long_paths_are_refused_also_when_they_come_in_parts() {
        let (parts, bytes) = (vec!["a"; PATH_PARTS].join("."), "a".repeat(PATH_BYTES));
        for path in [&parts, &bytes] {
            let path = FieldPath::parse(path).unwrap();
            let refused = path.join(&FieldPath::parse("b").unwrap()).unwrap_err();
            assert!(refused.to_string().contains("invalid_field_name"));
        }
        for path in [format!("{parts}.b"), format!("{bytes}b")] {
            let refused = FieldPath::parse(&path).unwrap_err();
            assert_eq!(refused, too_long());
        }
    }

    #[test]
    fn a_path_leads_through_objects_and_arrays() {
        let value = json!({"a": [{"b": 1}, 2], "c": 3});
        let find = |path: &str| FieldPath::parse(path).unwrap().find(&value);
        assert_eq!(find("a.0.b"), Found::Value(&json!(1)));
        assert_eq!(find("a.2"), Found::NoWay);
        for path in ["a.x", "a.00", "a.+0", "a.-0", "a.01"] {
            assert_eq!(find(path), Found::NoWay, "{path}");
        }
        assert_eq!(find("c.d"), Found::NoWay);
        assert_eq!(find("d"), Found::Nothing);
    }
}
