//! References: what they point to, and how those of a bundle get the ids that the server gave.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::definitions;
use crate::outcome::MAX_ISSUES;

/// A reference to a resource of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local<'r> {
    pub kind: &'r str,
    pub id: &'r str,
}

/// `Type/id`, also with a base before it and a version behind it.
pub(crate) fn local(reference: &str) -> Option<Local<'_>> {
    let unversioned = reference
        .split_once("/_history/")
        .map_or(reference, |(before, _)| before);
    let mut parts = unversioned.rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    (definitions::is_type(kind) && is_id(id)).then_some(Local { kind, id })
}

/// FHIR's `id`: 1 to 64 letters, digits, `-` and `.`.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// Where an entry's `fullUrl` will be: `urn:uuid:…` or an absolute URL to `Type/id`.
pub(crate) type Places = BTreeMap<String, String>;

/// Replaces references to entries by references to what they become (R4 §3.1.0.11.2).
///
/// Elements that hold URLs of other kinds (`fullUrl`s in `Attachment.url`, links in narratives)
/// are replaced too where the whole text is such a `fullUrl`.
pub(crate) fn rewrite(value: &mut Value, places: &Places) {
    match value {
        Value::String(text) => {
            if let Some(place) = places.get(text.as_str()) {
                place.clone_into(text);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, places)),
        Value::Object(object) => object
            .iter_mut()
            // An identifier's value says who somebody is, not where something is stored.
            .filter(|(name, _)| *name != "value")
            .for_each(|(_, child)| rewrite(child, places)),
        _ => {}
    }
}

/// Paths of `reference` elements that still are `urn:uuid:` or `urn:oid:`, as many as are told.
pub(crate) fn unresolved(resource: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    crate::element::walk(resource, at, &mut |path, object| {
        let reference = object.get("reference").and_then(Value::as_str);
        if found.len() < MAX_ISSUES
            && reference.is_some_and(|r| r.starts_with("urn:uuid:") || r.starts_with("urn:oid:"))
        {
            found.push(format!("{path}.reference"));
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_points_here_is_recognized() {
        for (text, expected) in [
            ("Patient/1", Some(("Patient", "1"))),
            ("http://a.b/fhir/Patient/1", Some(("Patient", "1"))),
            ("Patient/1/_history/2", Some(("Patient", "1"))),
            ("urn:uuid:2cd30bd6-3a87-4191-af90-6daa70f58f55", None),
            ("#contained", None),
            ("Nothing/1", None),
            ("Patient/", None),
            ("Patient", None),
            ("Patient/a b", None),
        ] {
            let found = local(text).map(|l| (l.kind, l.id));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn references_to_entries_follow_them_and_identifiers_stay() {
        let places = Places::from([("urn:uuid:a".to_owned(), "Patient/1".to_owned())]);
        let mut resource = json!({
            "subject": {"reference": "urn:uuid:a"},
            "identifier": [{"value": "urn:uuid:a"}],
            "item": [{"encounter": [{"reference": "urn:uuid:b"}]}],
        });
        rewrite(&mut resource, &places);
        assert_eq!(resource["subject"]["reference"], "Patient/1");
        assert_eq!(resource["identifier"][0]["value"], "urn:uuid:a");
        assert_eq!(
            unresolved(&resource, "Claim"),
            ["Claim.item[0].encounter[0].reference"]
        );
    }
}
