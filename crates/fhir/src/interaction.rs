//! What a method and a path ask for (R4 §3.1.0). Pure.

use http::{Method, StatusCode};

use crate::definitions;
use crate::outcome::{Refusal, Refused};
use crate::references::is_id;
use crate::register::{FROM_LEDGER, RECORDS};

/// One interaction of FHIR's REST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interaction {
    /// `GET metadata`.
    Capabilities,
    /// `POST` a Bundle to the base.
    Bundle,
    /// `POST Type`.
    Create(String),
    /// `GET Type/id`.
    Read(String, String),
    /// `GET Type/id/_history/n`.
    Vread(String, String, u32),
    /// `PUT Type/id`.
    Update(String, String),
    /// `GET Type?…` or `POST Type/_search`.
    Search(String),
    /// `GET Type/id/_history`.
    History(String, String),
    /// `$name` on a resource, a type or the whole server, with the method that it is called with.
    Operation {
        /// The type; empty for the server.
        kind: String,
        /// The resource, for an operation on one.
        id: Option<String>,
        /// The name, without `$`.
        name: String,
        /// Whether it may change anything: called by POST.
        posted: bool,
    },
}

impl Interaction {
    /// Reads a path below the base.
    ///
    /// # Errors
    /// 404 for paths and types that are not there, 405 for methods that are not offered.
    pub(crate) fn parse(method: &Method, path: &str) -> Refused<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (get, post) = (
            method == Method::GET || method == Method::HEAD,
            method == Method::POST,
        );
        if let Some(kind) = parts
            .first()
            .filter(|kind| **kind != "metadata" && !kind.starts_with('$'))
        {
            known_type(kind)?;
        }
        let own = |text: &str| text.to_owned();
        let not_offered = || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not-supported",
                "METHOD",
                format!("{method} is not offered here; GET metadata lists what is"),
            )
        };
        match parts[..] {
            [] if post => Ok(Interaction::Bundle),
            ["metadata"] if get => Ok(Interaction::Capabilities),
            ["metadata"] => Err(not_offered()),
            [name] if name.starts_with('$') && (get || post) => Ok(Interaction::Operation {
                kind: String::new(),
                id: None,
                name: own(&name[1..]),
                posted: post,
            }),
            [kind] if get => Ok(Interaction::Search(own(kind))),
            [kind] if post => Ok(Interaction::Create(own(kind))),
            [kind, "_search"] if post => Ok(Interaction::Search(own(kind))),
            [kind, name] if name.starts_with('$') && (get || post) => Ok(Interaction::Operation {
                kind: own(kind),
                id: None,
                name: own(&name[1..]),
                posted: post,
            }),
            [kind, id] if get => Ok(Interaction::Read(own(kind), valid(kind, id)?)),
            [kind, id] if method == Method::PUT => {
                Ok(Interaction::Update(own(kind), valid(kind, id)?))
            }
            [kind, id, name] if name.starts_with('$') && (get || post) => {
                Ok(Interaction::Operation {
                    kind: own(kind),
                    id: Some(valid(kind, id)?),
                    name: own(&name[1..]),
                    posted: post,
                })
            }
            [kind, id, "_history"] if get => Ok(Interaction::History(own(kind), valid(kind, id)?)),
            [kind, id, "_history", version] if get => {
                let version = version
                    .parse()
                    .map_err(|_| Refusal::not_found(kind, &format!("{id}/_history/{version}")))?;
                Ok(Interaction::Vread(own(kind), valid(kind, id)?, version))
            }
            [] | [_] | [_, _] | [_, _, _] | [_, _, "_history", _] => Err(not_offered()),
            _ => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "not-found",
                "NOT_FOUND",
                "there is nothing at this path; GET metadata lists what there is",
            )),
        }
    }
}

fn known_type(kind: &str) -> Refused<()> {
    if RECORDS.contains(&kind) || FROM_LEDGER.contains(&kind) {
        return Ok(());
    }
    let what = if definitions::is_type(kind) {
        "is a resource type that is not served here"
    } else {
        "is no resource type of FHIR R4"
    };
    let shown: String = kind.chars().take(40).collect();
    Err(Refusal::new(
        StatusCode::NOT_FOUND,
        "not-supported",
        "UNKNOWN_TYPE",
        format!("{shown} {what}"),
    ))
}

fn valid(kind: &str, id: &str) -> Refused<String> {
    if is_id(id) {
        Ok(id.to_owned())
    } else {
        Err(Refusal::malformed(
            "BAD_ID",
            format!("an id of {kind} is 1 to 64 letters, digits, '-' or '.'"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_mean_what_fhir_says() {
        let operation = |kind: &str, id: Option<&str>, name: &str, posted| Interaction::Operation {
            kind: kind.into(),
            id: id.map(Into::into),
            name: name.into(),
            posted,
        };
        let (p, i) = ("Patient".to_owned(), "1".to_owned());
        for (method, path, expected) in [
            ("GET", "/metadata", Interaction::Capabilities),
            ("POST", "/", Interaction::Bundle),
            ("POST", "", Interaction::Bundle),
            ("POST", "/Patient", Interaction::Create(p.clone())),
            ("GET", "/Patient", Interaction::Search(p.clone())),
            ("POST", "/Patient/_search", Interaction::Search(p.clone())),
            ("GET", "/Patient/1", Interaction::Read(p.clone(), i.clone())),
            (
                "HEAD",
                "/Patient/1",
                Interaction::Read(p.clone(), i.clone()),
            ),
            (
                "PUT",
                "/Patient/1",
                Interaction::Update(p.clone(), i.clone()),
            ),
            (
                "GET",
                "/Patient/1/_history",
                Interaction::History(p.clone(), i.clone()),
            ),
            (
                "GET",
                "/Patient/1/_history/2",
                Interaction::Vread(p.clone(), i.clone(), 2),
            ),
            ("POST", "/$import", operation("", None, "import", true)),
            (
                "POST",
                "/Patient/$match",
                operation("Patient", None, "match", true),
            ),
            (
                "GET",
                "/Patient/1/$everything",
                operation("Patient", Some("1"), "everything", false),
            ),
        ] {
            let method: Method = method.parse().unwrap();
            assert_eq!(
                Interaction::parse(&method, path).unwrap(),
                expected,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn what_is_not_offered_says_so() {
        for (method, path, status) in [
            ("DELETE", "/Patient/1", 405),
            ("PATCH", "/Patient/1", 405),
            ("GET", "/", 405),
            ("POST", "/metadata", 405),
            ("GET", "/Basic", 404),
            ("GET", "/Bundle/1", 404),
            ("POST", "/OperationOutcome", 404),
            ("GET", "/basic/1", 404),
            ("GET", "/Patient/1/2/3/4", 404),
            ("GET", "/Patient/a_b", 400),
            ("GET", "/Patient/1/_history/x", 404),
            ("POST", "/Patient/1/_history/1", 405),
        ] {
            let method: Method = method.parse().unwrap();
            let refusal = Interaction::parse(&method, path).unwrap_err();
            assert_eq!(refusal.status.as_u16(), status, "{method} {path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
        #[test]
        fn no_path_is_too_strange(parts in proptest::collection::vec("(Patient|metadata|_history|\\$[a-z]{0,5}|.{0,5})", 0..6)) {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                let _ = Interaction::parse(&method, &parts.join("/"));
            }
        }
    }
}
