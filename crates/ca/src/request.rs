//! The JSON that clients send, read as leniently as Go reads it: names of members in any case,
//! `null` as absent.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Refusal, code};
use crate::store::{Attribute, Times};

/// `POST /enroll` and `/reenroll`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EnrollBody {
    pub certificate_request: String,
    pub profile: String,
    pub hosts: Option<Vec<String>>,
    pub subject: Option<SubjectBody>,
    pub attr_reqs: Option<Vec<AttributeRequest>>,
    /// RFC 3339; the year 1 means absent.
    pub notbefore: Option<String>,
    pub extensions: Vec<Value>,
}

/// A subject that overrides the signing request's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SubjectBody {
    pub cn: String,
    pub names: Vec<NameBody>,
    pub serialnumber: String,
}

/// Some parts of a distinguished name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NameBody {
    pub c: String,
    pub st: String,
    pub l: String,
    pub o: String,
}

/// A wish for an attribute in the certificate.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AttributeRequest {
    pub name: String,
    pub optional: bool,
}

/// `POST /register`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RegisterBody {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub secret: String,
    pub max_enrollments: i64,
    pub affiliation: String,
    pub attrs: Vec<Attribute>,
}

/// `POST /identities`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AddIdentityBody {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub affiliation: String,
    pub attrs: Vec<Attribute>,
    pub max_enrollments: i64,
    pub secret: String,
}

impl From<AddIdentityBody> for RegisterBody {
    fn from(body: AddIdentityBody) -> Self {
        Self {
            id: body.id,
            kind: body.kind,
            secret: body.secret,
            max_enrollments: body.max_enrollments,
            affiliation: body.affiliation,
            attrs: body.attrs,
        }
    }
}

/// `PUT /identities/{id}`: what is empty stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ModifyIdentityBody {
    #[serde(rename = "type")]
    pub kind: String,
    /// `.` for none.
    pub affiliation: String,
    pub attrs: Vec<Attribute>,
    /// -2 for none.
    pub max_enrollments: i64,
    pub secret: String,
}

/// `POST /affiliations` and `PUT /affiliations/{affiliation}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AffiliationBody {
    /// Of `PUT`, the new name.
    pub name: String,
}

/// `POST /revoke`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RevokeBody {
    pub id: String,
    pub serial: String,
    pub aki: String,
    pub reason: String,
    pub gencrl: bool,
}

/// `POST /gencrl`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GenCrlBody {
    revokedafter: Option<jiff::Timestamp>,
    revokedbefore: Option<jiff::Timestamp>,
    expireafter: Option<jiff::Timestamp>,
    expirebefore: Option<jiff::Timestamp>,
}

impl GenCrlBody {
    pub fn revoked(&self) -> Times {
        times(self.revokedafter, self.revokedbefore)
    }

    pub fn expire(&self) -> Times {
        times(self.expireafter, self.expirebefore)
    }
}

/// The year 1, Go's zero time, means absent.
fn times(from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>) -> Times {
    const ZERO: i64 = -62_135_596_800;
    let seconds = |moment: Option<jiff::Timestamp>| {
        let second = moment?.as_second();
        (second != ZERO).then_some(second)
    };
    Times {
        from: seconds(from),
        to: seconds(to),
    }
}

/// The authority that any body may name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetBody {
    pub caname: String,
}

/// Reads a body, or `None` if it is empty.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    // The body is not echoed as Fabric CA does: it may hold a secret, and this text is logged.
    let refused = |error| {
        Refusal::new(
            400,
            code::BAD_BODY,
            format!("Invalid request body: {error}"),
        )
    };
    let value = serde_json::from_slice(body).map_err(refused)?;
    serde_json::from_value(lenient(value))
        .map(Some)
        .map_err(refused)
}

/// Reads a body that must be there.
pub(crate) fn require<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    read(body)?.ok_or_else(|| Refusal::new(400, code::EMPTY_BODY, "Empty request body"))
}

/// Member names in lower case, members that are `null` left out. The depth is bounded by the
/// parser (128).
fn lenient(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_ascii_lowercase(), lenient(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(lenient).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_members_are_read_in_any_case_and_null_is_absent() {
        for body in [
            r#"{"caname":"ca1"}"#,
            r#"{"CAName":"ca1"}"#,
            r#"{"caName":"ca1","other":[1,{"X":null}]}"#,
        ] {
            let target: TargetBody = require(body.as_bytes()).unwrap();
            assert_eq!(target.caname, "ca1", "{body}");
        }
        let body: EnrollBody =
            require(br#"{"Certificate_Request":"x","hosts":null,"profile":null}"#).unwrap();
        assert_eq!((body.certificate_request.as_str(), body.hosts), ("x", None));
    }

    #[test]
    fn bodies_that_are_not_what_they_should_be_are_refused_with_their_codes() {
        let cases: [(&[u8], i64); 5] = [
            (b"", code::EMPTY_BODY),
            (b"{", code::BAD_BODY),
            (b"[]garbage", code::BAD_BODY),
            (br#"{"id":7}"#, code::BAD_BODY),
            (b"\xff\xfe", code::BAD_BODY),
        ];
        for (body, expected) in cases {
            let refusal = require::<RegisterBody>(body).unwrap_err();
            assert_eq!(
                (refusal.status, refusal.remote.0),
                (400, expected),
                "{body:?}"
            );
        }
    }
}
