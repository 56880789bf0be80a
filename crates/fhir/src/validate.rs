//! Whether a resource is one of R4: first by the published schema, then by rules of our own.
//!
//! Issues name the element by its path. Unknown profiles are kept and not judged.

mod rules;
mod schema;
mod version;

use serde_json::Value;

use crate::definitions;
use crate::outcome::{Issue, MAX_ISSUES};

/// Resources inside a resource (contained, or entries of a bundle) that are looked into.
const MAX_DEPTH: usize = 4;

/// Issues that a resource with others in it is told before the rest is not looked at any more.
const MAX_TOLD: usize = 10 * MAX_ISSUES;

/// What is wrong with a resource; empty when nothing is. `at` is the path under which
/// it is told, for example `Bundle.entry[16].resource`.
pub(crate) fn check(resource: &Value, at: &str) -> Vec<Issue> {
    let mut issues = Vec::new();
    check_into(resource, at, 0, &mut issues);
    issues
}

/// The type of a resource, if it is one that can be judged here.
pub(crate) fn kind_of<'r>(resource: &'r Value, at: &str) -> Result<&'r str, Issue> {
    let Some(object) = resource.as_object() else {
        return Err(Issue::error(
            "structure",
            "NOT_A_RESOURCE",
            "a resource is a JSON object with a resourceType",
        )
        .at(at));
    };
    let kind = match object.get("resourceType") {
        Some(Value::String(kind)) => kind.as_str(),
        _ => {
            return Err(Issue::error(
                "structure",
                "NOT_A_RESOURCE",
                "resourceType is missing, or no text",
            )
            .at(format!("{at}.resourceType")));
        }
    };
    if !definitions::is_type(kind) {
        return Err(Issue::error(
            "structure",
            "UNKNOWN_TYPE",
            "this resourceType is none of FHIR R4",
        )
        .at(format!("{at}.resourceType")));
    }
    Ok(kind)
}

fn check_into(resource: &Value, at: &str, depth: usize, issues: &mut Vec<Issue>) {
    if issues.len() >= MAX_TOLD {
        return;
    }
    let kind = match kind_of(resource, at) {
        Ok(kind) => kind,
        Err(issue) => return issues.push(issue),
    };
    if depth > MAX_DEPTH {
        return issues.push(
            Issue::error(
                "structure",
                "TOO_DEEP",
                format!("resources are contained in one another more than {MAX_DEPTH} times"),
            )
            .at(at),
        );
    }
    if !definitions::is_defined(kind) {
        // Inside others they are kept as they are; alone they are refused as not served.
        return;
    }
    let before = issues.len();
    schema::check(kind, resource, at, issues);
    if issues.len() == before {
        rules::check(kind, resource, at, issues);
    }
    for (place, inner) in list(resource, "contained").iter().enumerate() {
        check_into(
            inner,
            &format!("{at}.contained[{place}]"),
            depth + 1,
            issues,
        );
    }
    if kind == "Bundle" {
        for (place, entry) in list(resource, "entry").iter().enumerate() {
            if let Some(inner) = entry.get("resource") {
                check_into(
                    inner,
                    &format!("{at}.entry[{place}].resource"),
                    depth + 1,
                    issues,
                );
            }
        }
    }
}

fn list<'r>(resource: &'r Value, name: &str) -> &'r [Value] {
    resource
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
