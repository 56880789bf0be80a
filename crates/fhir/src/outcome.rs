//! How a request is refused: an HTTP status and an OperationOutcome.
//!
//! Issue codes are those of <http://hl7.org/fhir/R4/valueset-issue-type.html>; the contracts' own
//! codes stand in `details.coding`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::SYSTEM;

/// The media type of every answer.
pub(crate) const FHIR_JSON: &str = "application/fhir+json; fhirVersion=4.0";

/// Issues that one resource is told at most; a resource with more is no resource.
pub(crate) const MAX_ISSUES: usize = 50;
/// Characters of an element's path that are told: no element of FHIR's has a longer one.
const MAX_PATH: usize = 1000;

/// How bad an issue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something that must not go on, such as a changed document.
    Fatal,
    /// The request was refused for it.
    Error,
    /// The request was answered all the same.
    Information,
}

/// One issue of an OperationOutcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// FHIR's issue type, for example `business-rule`.
    pub kind: &'static str,
    /// Our code, for example `NO_CONSENT`.
    pub code: String,
    /// What is wrong and what to do.
    pub sentence: String,
    /// The element, for example `Bundle.entry[16].resource.category`.
    pub expression: Option<String>,
}

impl Issue {
    /// An error about the request as a whole.
    pub fn error(kind: &'static str, code: impl Into<String>, sentence: impl Into<String>) -> Self {
        Issue {
            severity: Severity::Error,
            kind,
            code: code.into(),
            sentence: sentence.into(),
            expression: None,
        }
    }

    /// The same issue about one element.
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        let mut expression = expression.into();
        if expression.len() > MAX_PATH {
            expression = expression.chars().take(MAX_PATH).collect();
        }
        self.expression = Some(expression);
        self
    }

    fn to_json(&self) -> Value {
        let severity = match self.severity {
            Severity::Fatal => "fatal",
            Severity::Error => "error",
            Severity::Information => "information",
        };
        let mut issue = json!({
            "severity": severity,
            "code": self.kind,
            "details": {"coding": [{"system": SYSTEM, "code": self.code}]},
            "diagnostics": self.sentence,
        });
        if let Some(expression) = &self.expression {
            issue["expression"] = json!([expression]);
        }
        issue
    }
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// Why, at least one.
    pub issues: Vec<Issue>,
    /// Seconds after which to try again, with 503.
    pub retry_after: Option<u32>,
    /// Where to look later, with 202.
    pub location: Option<String>,
}

/// What a handler gives back when it refuses.
pub(crate) type Refused<T> = Result<T, Box<Refusal>>;

impl Refusal {
    /// A refusal with one issue.
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        code: impl Into<String>,
        sentence: impl Into<String>,
    ) -> Box<Self> {
        Self::of(status, vec![Issue::error(kind, code, sentence)])
    }

    pub(crate) fn of(status: StatusCode, issues: Vec<Issue>) -> Box<Self> {
        Box::new(Refusal {
            status,
            issues,
            retry_after: None,
            location: None,
        })
    }

    /// 400: the request cannot be understood.
    pub(crate) fn malformed(code: &'static str, sentence: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::BAD_REQUEST, "invalid", code, sentence)
    }

    /// 400: understood, but not offered here.
    pub(crate) fn not_supported(sentence: impl Into<String>) -> Box<Self> {
        Self::new(
            StatusCode::BAD_REQUEST,
            "not-supported",
            "NOT_SUPPORTED",
            sentence,
        )
    }

    /// 422: a rule of the domain is broken.
    pub(crate) fn rule(code: &'static str, sentence: impl Into<String>) -> Box<Self> {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "business-rule",
            code,
            sentence,
        )
    }

    /// 403.
    pub(crate) fn forbidden(code: impl Into<String>, sentence: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::FORBIDDEN, "forbidden", code, sentence)
    }

    /// 404, with the same words for what does not exist and what the caller may not see.
    pub(crate) fn not_found(kind: &str, id: &str) -> Box<Self> {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "NOT_FOUND",
            format!("there is no {kind}/{id} here that you can see"),
        )
    }

    /// 502: what is stored is not what the ledger says.
    pub(crate) fn tampered(sentence: impl Into<String>) -> Box<Self> {
        let mut refusal = Self::new(StatusCode::BAD_GATEWAY, "security", "TAMPERED", sentence);
        refusal.issues[0].severity = Severity::Fatal;
        refusal
    }

    /// 500; the reason goes to the log, not to the caller.
    pub(crate) fn internal(what: &str, error: impl std::fmt::Display) -> Box<Self> {
        tracing::error!(%error, "{what}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "exception",
            "INTERNAL",
            format!("{what} failed; the operator's log says why"),
        )
    }

    /// A contract's refusal: its status decides, its code is kept.
    pub(crate) fn contract(status: i32, message: &str) -> Box<Self> {
        let (code, sentence) = split_code(message);
        let (status, kind) = situation(status, code);
        Self::new(status, kind, code, sentence)
    }

    /// A verdict that was committed and says no. `access` is the id under which it can be
    /// appealed.
    pub(crate) fn verdict(code: &str, access: &str) -> Box<Self> {
        let told = |sentence: &str| {
            format!(
                "{sentence} The decision is on the ledger as access {access}, and can be appealed under that id."
            )
        };
        match code {
            "ERASED" => Self::new(
                StatusCode::GONE,
                "deleted",
                code,
                told("The document was erased at its subject's wish."),
            ),
            "ENTERED_IN_ERROR" => Self::new(
                StatusCode::GONE,
                "deleted",
                code,
                told("The document was entered in error."),
            ),
            "TAMPERED" => Self::tampered(told("The document is not what the ledger says.")),
            "NO_CONSENT" => {
                Self::forbidden(code, told("No consent and no law permits this access."))
            }
            "CONSENT_DENY" => Self::forbidden(code, told("A consent denies this access.")),
            "CREDENTIAL" => Self::forbidden(
                code,
                told("Your role or credential does not permit to ask for this."),
            ),
            other => Self::forbidden(other, told("Access is denied.")),
        }
    }

    /// The OperationOutcome.
    pub fn to_json(&self) -> Value {
        json!({
            "resourceType": "OperationOutcome",
            "issue": self.issues.iter().map(Issue::to_json).collect::<Vec<_>>(),
        })
    }
}

/// `CODE: sentence`, as contracts write it, in its two parts.
fn split_code(message: &str) -> (&str, &str) {
    match message.split_once(": ") {
        Some((code, sentence))
            if !code.is_empty()
                && code
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') =>
        {
            (code, sentence)
        }
        _ => ("LEDGER", message),
    }
}

/// HTTP status and issue type of a contract's status and code (`docs/fhir.md`, errors).
fn situation(status: i32, code: &str) -> (StatusCode, &'static str) {
    match (status, code) {
        (_, "ERASED") => (StatusCode::GONE, "deleted"),
        (_, "TAMPERED") => (StatusCode::BAD_GATEWAY, "security"),
        (_, "BAD_CHECK_DIGIT" | "BAD_IDENTIFIER" | "BAD_ID") => {
            (StatusCode::UNPROCESSABLE_ENTITY, "value")
        }
        (_, "CODE") => (StatusCode::UNPROCESSABLE_ENTITY, "code-invalid"),
        (400, _) => (StatusCode::BAD_REQUEST, "invalid"),
        (401, _) => (StatusCode::UNAUTHORIZED, "login"),
        (403, _) => (StatusCode::FORBIDDEN, "forbidden"),
        (404, _) => (StatusCode::NOT_FOUND, "not-found"),
        (409, "DUPLICATE") => (StatusCode::CONFLICT, "duplicate"),
        (409, _) => (StatusCode::CONFLICT, "conflict"),
        (412, _) => (StatusCode::PRECONDITION_FAILED, "conflict"),
        (422, _) => (StatusCode::UNPROCESSABLE_ENTITY, "business-rule"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "exception"),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(place) = self
            .location
            .and_then(|place| HeaderValue::from_str(&place).ok())
        {
            headers.insert(header::CONTENT_LOCATION, place);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"fhir\""),
            );
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_situation_has_its_status_and_issue_type() {
        for (status, message, http, kind, code) in [
            (400, "MALFORMED: no", 400, "invalid", "MALFORMED"),
            (403, "WRONG_ROLE: no", 403, "forbidden", "WRONG_ROLE"),
            (404, "NOT_FOUND: no", 404, "not-found", "NOT_FOUND"),
            (409, "DUPLICATE: no", 409, "duplicate", "DUPLICATE"),
            (409, "BAD_STATE: no", 409, "conflict", "BAD_STATE"),
            (412, "VERSION: no", 412, "conflict", "VERSION"),
            (422, "PERIOD: no", 422, "business-rule", "PERIOD"),
            (422, "BAD_CHECK_DIGIT: no", 422, "value", "BAD_CHECK_DIGIT"),
            (422, "CODE: no", 422, "code-invalid", "CODE"),
            (409, "ERASED: no", 410, "deleted", "ERASED"),
            (500, "LEDGER: no", 500, "exception", "LEDGER"),
            (500, "peer says: no", 500, "exception", "LEDGER"),
        ] {
            let refusal = Refusal::contract(status, message);
            assert_eq!(refusal.status.as_u16(), http, "{message}");
            assert_eq!(refusal.issues[0].kind, kind, "{message}");
            assert_eq!(refusal.issues[0].code, code, "{message}");
        }
    }

    #[test]
    fn verdicts_name_the_access() {
        for (code, status) in [
            ("NO_CONSENT", 403),
            ("CONSENT_DENY", 403),
            ("CREDENTIAL", 403),
            ("ERASED", 410),
            ("ENTERED_IN_ERROR", 410),
            ("TAMPERED", 502),
            ("OTHER", 403),
        ] {
            let refusal = Refusal::verdict(code, "a-1");
            assert_eq!(refusal.status.as_u16(), status, "{code}");
            assert!(refusal.issues[0].sentence.contains("access a-1"));
        }
        assert_eq!(
            Refusal::verdict("TAMPERED", "a").issues[0].severity,
            Severity::Fatal
        );
    }
}
