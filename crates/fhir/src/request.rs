//! A request with its caller, and an answer, apart from HTTP's own types.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::Identity;
use crate::dates;
use crate::outcome::{FHIR_JSON, Refusal, Refused};
use crate::reactor::off_the_reactor;

const MAX_REQUEST_ID: usize = 64;

/// One request, authenticated and read.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub caller: Identity,
    /// The query, in its order; of `_search` also the form.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why the data is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purpose {
    /// A code of v3-ActReason.
    pub code: String,
    /// Whether the caller said so, or it follows from the role.
    pub stated: bool,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// One value of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// `X-Request-Id`.
    pub fn request_id(&self) -> Refused<Option<&str>> {
        let Some(value) = self.headers.get("x-request-id") else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(id) if (1..=MAX_REQUEST_ID).contains(&id.len()) => Ok(Some(id)),
            _ => Err(Refusal::malformed(
                "BAD_REQUEST_ID",
                format!("X-Request-Id has 1 to {MAX_REQUEST_ID} printable ASCII characters"),
            )),
        }
    }

    /// The purpose of use: from the token, else `X-Purpose-Of-Use`, else by role.
    pub fn purpose(&self) -> Refused<Purpose> {
        let asked = self.header("x-purpose-of-use");
        match (&self.caller.purpose, asked) {
            (Some(token), Some(asked)) if token != asked => Err(Refusal::forbidden(
                "PURPOSE",
                format!("your token is for the purpose {token}, X-Purpose-Of-Use says {asked}"),
            )),
            (Some(code), _) => Ok(Purpose {
                code: code.clone(),
                stated: true,
            }),
            (None, Some(code)) => Ok(Purpose {
                code: code.to_owned(),
                stated: true,
            }),
            (None, None) => Ok(Purpose {
                code: match self.caller.role.as_deref() {
                    Some("patient" | "guardian") => "PATRQT",
                    Some("billing" | "adjudicator" | "cashier" | "fraud") => "HPAYMT",
                    Some("investigator" | "curator") => "HRESCH",
                    _ => "TREAT",
                }
                .to_owned(),
                stated: false,
            }),
        }
    }

    /// Why and where the glass is broken, with purpose `ETREAT`.
    pub fn emergency(&self) -> Refused<(&str, &str)> {
        let reason = self.header("x-emergency-reason").ok_or_else(|| {
            Refusal::rule(
                "NO_REASON",
                "emergency access (ETREAT) names its reason as a code in X-Emergency-Reason",
            )
        })?;
        Ok((
            reason,
            self.header("x-emergency-place").unwrap_or("unknown"),
        ))
    }

    /// The version of `If-Match`.
    pub fn if_match(&self) -> Refused<Option<u32>> {
        let Some(text) = self.header("if-match") else {
            return Ok(None);
        };
        let version = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        version
            .parse()
            .map(Some)
            .map_err(|_| Refusal::malformed("BAD_IF_MATCH", "If-Match is W/\"n\", as the ETag was"))
    }

    /// Whether unknown search parameters are to be passed over.
    pub fn is_lenient(&self) -> bool {
        self.header("prefer")
            .is_some_and(|prefer| prefer.contains("handling=lenient"))
    }

    fn wants_no_body(&self) -> bool {
        self.header("prefer")
            .is_some_and(|prefer| prefer.contains("return=minimal"))
    }

    /// The body as a resource.
    pub fn resource(&self) -> Refused<Value> {
        let kind = self
            .header("content-type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let mut parts = kind.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !matches!(media, "application/fhir+json" | "application/json") {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-supported",
                "MEDIA_TYPE",
                "send application/fhir+json",
            ));
        }
        let release = parts.find_map(|part| part.strip_prefix("fhirversion="));
        if let Some(release) = release.filter(|release| !release.starts_with("4.0")) {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-supported",
                "FHIR_VERSION",
                format!("Content-Type says FHIR {release}; this server speaks R4 (4.0)"),
            ));
        }
        off_the_reactor(|| serde_json::from_slice(&self.body)).map_err(|error| {
            // The parser's own words could quote what was sent.
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "structure",
                "NOT_JSON",
                format!(
                    "the body is no JSON: it stops making sense at line {} column {}",
                    error.line(),
                    error.column()
                ),
            )
        })
    }

    /// Refuses a body that does not say it is NDJSON.
    pub fn is_ndjson(&self) -> Refused<()> {
        let kind = self.header("content-type").unwrap_or_default();
        let media = kind.split(';').next().unwrap_or_default().trim();
        if matches!(
            media,
            "application/fhir+ndjson" | "application/ndjson" | "application/x-ndjson"
        ) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-supported",
            "MEDIA_TYPE",
            "send application/fhir+ndjson",
        ))
    }

    /// Refuses what asks for another format than JSON.
    pub fn accepts_json(&self) -> Refused<()> {
        let format = self.parameter("_format").unwrap_or("json");
        let accept = self.header("accept").unwrap_or("*/*");
        let good = |text: &str| {
            text.contains("json") || text.contains("*/*") || text.contains("application/*")
        };
        if good(format) && good(accept) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            "not-supported",
            "MEDIA_TYPE",
            "answers are application/fhir+json",
        ))
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub body: Option<Value>,
    pub version: Option<u32>,
    /// Milliseconds since 1970.
    pub modified: Option<i64>,
    /// `Type/id/_history/n`, below the base.
    pub location: Option<String>,
    /// The transaction that proves it.
    pub tx: Option<String>,
}

impl Answer {
    /// 200 with a resource.
    pub fn ok(body: Value) -> Self {
        Answer {
            body: Some(body),
            ..Answer::default()
        }
    }

    /// As HTTP. `base` is the server's public address.
    pub fn into_http(self, request: &Request, base: &str) -> Response {
        let created = self.location.is_some();
        let body = match self.body {
            Some(_) if created && request.wants_no_body() => String::new(),
            Some(body) => body.to_string(),
            None => String::new(),
        };
        let mut response = (self.status, body).into_response();
        let mut set = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        };
        set(header::CONTENT_TYPE, FHIR_JSON.to_owned());
        if let Some(version) = self.version {
            set(header::ETAG, format!("W/\"{version}\""));
        }
        if let Some(at) = self.modified {
            set(header::LAST_MODIFIED, http_date(at));
        }
        if let Some(location) = self.location {
            set(header::LOCATION, format!("{base}/{location}"));
        }
        if let Some(tx) = self.tx {
            set(
                header::LINK,
                format!(
                    "<{base}/Provenance/{tx}>; rel=\"http://www.w3.org/ns/prov#has_provenance\""
                ),
            );
        }
        if let Ok(Some(id)) = request.request_id() {
            set(HeaderName::from_static("x-request-id"), id.to_owned());
        }
        response
    }
}

/// RFC 9110 §5.6.7.
fn http_date(milliseconds: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `meta` as the server sets it.
pub(crate) fn set_meta(resource: &mut Value, version: u32, at: i64, tx: &str) {
    let Some(object) = resource.as_object_mut() else {
        return;
    };
    let meta = object
        .entry("meta")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    if !meta.is_object() {
        *meta = Value::Object(serde_json::Map::new());
    }
    meta["versionId"] = version.to_string().into();
    meta["lastUpdated"] = dates::instant(at).into();
    if tx.is_empty() {
        return;
    }
    let tag = serde_json::json!({"system": format!("{}:ledger-tx", crate::SYSTEM), "code": tx});
    match meta.get_mut("tag").and_then(Value::as_array_mut) {
        Some(tags) => tags.push(tag),
        None => meta["tag"] = Value::Array(vec![tag]),
    }
}

/// Takes away what only the server sets.
pub(crate) fn strip_meta(resource: &mut Value) {
    let Some(object) = resource.as_object_mut() else {
        return;
    };
    let Some(meta) = object.get_mut("meta").and_then(Value::as_object_mut) else {
        return;
    };
    meta.remove("versionId");
    meta.remove("lastUpdated");
    let ours = format!("{}:ledger-tx", crate::SYSTEM);
    if let Some(tags) = meta.get_mut("tag").and_then(Value::as_array_mut) {
        tags.retain(|tag| tag.get("system").and_then(Value::as_str) != Some(&ours));
        if tags.is_empty() {
            meta.remove("tag");
        }
    }
    if meta.is_empty() {
        object.remove("meta");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_sets_in_meta_comes_and_goes() {
        let before =
            json!({"id": "1", "meta": {"profile": ["p"], "tag": [{"system": "s", "code": "c"}]}});
        let mut resource = before.clone();
        set_meta(&mut resource, 2, 0, "tx");
        assert_eq!(resource["meta"]["versionId"], "2");
        assert_eq!(resource["meta"]["tag"][1]["code"], "tx");
        strip_meta(&mut resource);
        assert_eq!(resource, before);
        let mut bare = json!({"id": "1"});
        set_meta(&mut bare, 1, 0, "tx");
        strip_meta(&mut bare);
        assert_eq!(bare, json!({"id": "1"}));
    }

    #[test]
    fn dates_of_http() {
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
