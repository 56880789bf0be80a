//! Finding elements in a resource by the paths that the definitions use.

use serde_json::{Map, Value};

use crate::definitions::ParameterPath;

/// The values at a path, lists opened, with choice elements found under their longer names:
/// `effective` finds `effectiveDateTime`. A cast keeps only the type that it names.
pub(crate) fn values<'v>(resource: &'v Value, path: &ParameterPath) -> Vec<&'v Value> {
    let mut found = vec![resource];
    let names: Vec<&str> = path.path.split('.').collect();
    for (depth, name) in names.iter().enumerate() {
        let cast = (depth + 1 == names.len())
            .then_some(path.cast.as_deref())
            .flatten();
        found = found
            .into_iter()
            .filter_map(Value::as_object)
            .flat_map(|object| children(object, name, cast))
            .flat_map(opened)
            .collect();
    }
    found
}

fn opened(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

fn children<'v>(object: &'v Map<String, Value>, name: &str, cast: Option<&str>) -> Vec<&'v Value> {
    if let Some(value) = object.get(name) {
        return vec![value];
    }
    object
        .iter()
        .filter(|(key, _)| is_choice(key, name, cast))
        .map(|(_, value)| value)
        .collect()
}

/// Whether `key` is the choice element `name` with a type behind it.
fn is_choice(key: &str, name: &str, cast: Option<&str>) -> bool {
    let Some(kind) = key.strip_prefix(name) else {
        return false;
    };
    let Some(cast) = cast else {
        return CHOICES.contains(&kind);
    };
    let mut letters = cast.chars();
    letters.next().is_some_and(|first| {
        kind.strip_prefix(first.to_ascii_uppercase()) == Some(letters.as_str())
    })
}

/// The types that choice elements have in what is searched.
const CHOICES: &[&str] = &[
    "Boolean",
    "Code",
    "CodeableConcept",
    "Coding",
    "Date",
    "DateTime",
    "Identifier",
    "Instant",
    "Period",
    "Reference",
    "String",
    "Timing",
    "Uri",
];

/// Walks every object of a resource, with its path in FHIRPath's words.
pub(crate) fn walk<'v>(
    value: &'v Value,
    path: &str,
    visit: &mut impl FnMut(&str, &'v Map<String, Value>),
) {
    walk_at(value, &mut Path::new(path), visit);
}

fn walk_at<'v>(
    value: &'v Value,
    path: &mut Path,
    visit: &mut impl FnMut(&str, &'v Map<String, Value>),
) {
    match value {
        Value::Object(object) => {
            visit(path.as_str(), object);
            for (name, child) in object {
                path.within(name, |path| walk_at(child, path, visit));
            }
        }
        Value::Array(items) => {
            for (place, child) in items.iter().enumerate() {
                path.at(place, |path| walk_at(child, path, visit));
            }
        }
        _ => {}
    }
}

/// A path that grows on the way down and shrinks on the way up: what contained resources of other
/// types hold may have names as long as a body, and as many elements below them.
pub(crate) struct Path(String);

impl Path {
    pub fn new(root: &str) -> Self {
        Path(root.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Goes to an element for as long as `work` takes.
    pub fn within<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        self.longer(&[".", name], work)
    }

    /// Goes to an item of a list for as long as `work` takes.
    pub fn at<T>(&mut self, place: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        self.longer(&["[", &place.to_string(), "]"], work)
    }

    fn longer<T>(&mut self, parts: &[&str], work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.0.len();
        self.0.extend(parts.iter().copied());
        let done = work(self);
        self.0.truncate(before);
        done
    }
}

/// A text by names from an object down.
pub(crate) fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    path.iter()
        .try_fold(value, |value, name| value.get(name))?
        .as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(path: &str, cast: Option<&str>) -> ParameterPath {
        ParameterPath {
            path: path.into(),
            cast: cast.map(str::to_owned),
            target: None,
        }
    }

    #[test]
    fn lists_are_opened_and_choices_found() {
        let resource = json!({
            "code": {"text": "a"}, "effectiveDateTime": "2020", "valueString": "x",
            "component": [{"code": 1}, {"code": [2, 3]}, {"other": 4}],
        });
        for (path, cast, expected) in [
            ("code", None, vec![json!({"text": "a"})]),
            ("effective", None, vec![json!("2020")]),
            ("effective", Some("dateTime"), vec![json!("2020")]),
            ("effective", Some("Period"), vec![]),
            ("value", Some("string"), vec![json!("x")]),
            ("value", Some("CodeableConcept"), vec![]),
            ("component.code", None, vec![json!(1), json!(2), json!(3)]),
            ("nothing.at.all", None, vec![]),
        ] {
            let path = at(path, cast);
            let found: Vec<_> = values(&resource, &path).into_iter().cloned().collect();
            assert_eq!(found, expected, "{path:?}");
        }
    }
}
