//! Granting a certificate to an identity that proved itself (fabric-ca: `lib/serverenroll.go`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::authenticate::used_up;
use crate::authority::Order;
use crate::ca::Ca;
use crate::certificate::{Host, Subject};
use crate::csr::{CsrError, SigningRequest};
use crate::error::{Refusal, code};
use crate::registrar;
use crate::request::{AttributeRequest, EnrollBody, NameBody, SubjectBody};
use crate::server::Granted;
use crate::store::{Identity, NewCertificate};

impl Ca {
    pub(crate) fn enroll(
        &self,
        caller: &Identity,
        body: &EnrollBody,
        count: Option<i64>,
    ) -> Result<Granted, Refusal> {
        if body.certificate_request.is_empty() {
            return Err(CsrError::NotPem.into());
        }
        let request = SigningRequest::from_pem(&body.certificate_request)?;
        let named = body
            .subject
            .as_ref()
            .is_none_or(|subject| subject.cn == caller.id);
        if !named || request.subject.common_name != caller.id {
            return Err(Refusal::new(
                403,
                code::COMMON_NAME_MISMATCH,
                "The CSR subject common name must equal the enrollment ID",
            ));
        }
        let Some((usage, validity)) = self.profile(&body.profile).cloned() else {
            let message = format!("Invalid profile: '{}'", body.profile);
            return Err(Refusal::new(500, code::UNKNOWN, message));
        };
        if usage.authority.is_some() || request.authority.is_some() {
            let allowed = caller
                .attribute(registrar::INTERMEDIATE_CA)
                .and_then(registrar::boolean);
            if allowed != Some(true) {
                return Err(Refusal::authorization(
                    code::MISSING_ATTRIBUTE,
                    "Enrolled failed: the attribute 'hf.IntermediateCA' of the caller is not 'true'",
                ));
            }
            let own = self.authority.path_length();
            may_be_authority(own, usage.authority, request.authority).map_err(|reason| {
                let message = format!("Certificate signing failure: {reason}");
                Refusal::new(500, code::UNKNOWN, message)
            })?;
        }
        if !body.extensions.is_empty() {
            // Attributes come from the register of identities, never from the requester.
            return Err(Refusal::new(
                400,
                code::BAD_CSR,
                "Certificate signing failure: extensions may not be requested",
            ));
        }
        let attributes = attribute_extension(caller, body.attr_reqs.as_deref())?;
        let hosts = match &body.hosts {
            // An authority has no hosts (cfssl: `signer`).
            _ if usage.authority.is_some() => Vec::new(),
            Some(hosts) => hosts.iter().map(|host| Host::classify(host)).collect(),
            None => request.hosts,
        };
        let subject = subject(caller, request.subject, body.subject.as_ref());
        let bad_input = |error: der::Error| {
            Refusal::new(
                400,
                code::CSR_INPUT,
                format!("CSR input validation failed: {error}"),
            )
        };
        let issued = self
            .authority
            .issue(Order {
                subject: subject.to_name().map_err(bad_input)?,
                public_key: request.public_key,
                usage,
                hosts,
                attributes,
                validity,
                not_before: requested_start(body.notbefore.as_deref()),
            })
            .map_err(|error| {
                Refusal::new(
                    500,
                    code::UNKNOWN,
                    format!("Certificate signing failure: {error}"),
                )
            })?;
        let recorded = self.store.add_certificate(
            &NewCertificate {
                id: &caller.id,
                serial: &issued.serial,
                authority_key_id: &self.authority.key_id_hex(),
                not_after: issued.not_after,
                pem: &issued.pem,
            },
            count,
        )?;
        if !recorded {
            return Err(match count {
                Some(limit) => Refusal::authentication(
                    code::INVALID_PASSWORD,
                    format!("Login failure: {}", used_up(&caller.id, limit)),
                ),
                None => Refusal::authorization(
                    code::REVOKED_IDENTITY,
                    "Enrollment ID is revoked, unable to process request",
                ),
            });
        }
        let profile = if body.profile.is_empty() {
            "default"
        } else {
            &body.profile
        };
        let what = if count.is_some() {
            "enroll"
        } else {
            "reenroll"
        };
        self.audit(what, &caller.id, profile, &issued.serial, issued.not_after);
        let result = json!({
            "Cert": STANDARD.encode(&issued.pem),
            "ServerInfo": self.info(""),
        });
        Granted::json(201, &result)
    }
}

/// Whether an authority that allows `own` more below it may sign for one, from what the profile
/// allows and what was requested (cfssl: `signer/local`); the reason if not.
fn may_be_authority(
    own: Option<u8>,
    profile: Option<Option<u8>>,
    requested: Option<Option<u8>>,
) -> Result<(), String> {
    let Some(granted) = profile else {
        return Err("the profile is not one for certificate authorities".into());
    };
    match (own, requested.flatten().or(granted)) {
        (None, _) => Ok(()),
        (Some(0), _) => Err("this authority may not sign for authorities".into()),
        (Some(own), Some(below)) if below < own => Ok(()),
        (Some(own), _) => Err(format!(
            "the path length must be less than this authority's, which is {own}"
        )),
    }
}

/// The certificate's subject: names from the request, units from the register, because
/// authorization reads the units (fabric-ca: `setRequestOUs`).
fn subject(caller: &Identity, requested: Subject, overriding: Option<&SubjectBody>) -> Subject {
    let mut subject = requested;
    if let Some(body) = overriding {
        let chosen = |pick: fn(&NameBody) -> &String| {
            let values = body
                .names
                .iter()
                .map(pick)
                .filter(|value| !value.is_empty());
            values.cloned().collect::<Vec<_>>()
        };
        let replace = |field: &mut Vec<String>, values: Vec<String>| {
            if !values.is_empty() {
                *field = values;
            }
        };
        replace(&mut subject.country, chosen(|name| &name.c));
        replace(&mut subject.province, chosen(|name| &name.st));
        replace(&mut subject.locality, chosen(|name| &name.l));
        replace(&mut subject.organization, chosen(|name| &name.o));
        if !body.serialnumber.is_empty() {
            subject.serial_number.clone_from(&body.serialnumber);
        }
    }
    let affiliation = caller
        .affiliation
        .split('.')
        .filter(|part| !part.is_empty());
    subject.organizational_units = std::iter::once(caller.kind.as_str())
        .filter(|kind| !kind.is_empty())
        .chain(affiliation)
        .map(String::from)
        .collect();
    subject
}

/// The attribute extension's contents: what was asked for, or else what the identity carries by
/// default, or nothing.
fn attribute_extension(
    caller: &Identity,
    requested: Option<&[AttributeRequest]>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut chosen: BTreeMap<&str, &str> = BTreeMap::new();
    match requested {
        Some(requests) => {
            let mut missing = Vec::new();
            for request in requests {
                match caller.attribute(&request.name) {
                    Some(value) => {
                        chosen.insert(&request.name, value);
                    }
                    None if request.optional => {}
                    None => missing.push(request.name.as_str()),
                }
            }
            if !missing.is_empty() {
                return Err(Refusal::new(
                    500,
                    code::UNKNOWN,
                    format!(
                        "Failed to find requested attributes: The following required attributes \
                         are missing: [{}]",
                        missing.join(" ")
                    ),
                ));
            }
        }
        None => {
            for attribute in caller.attributes.iter().filter(|attribute| attribute.ecert) {
                chosen.entry(&attribute.name).or_insert(&attribute.value);
            }
            if chosen.is_empty() {
                return Ok(None);
            }
        }
    }
    serde_json::to_vec(&json!({ "attrs": chosen }))
        .map(Some)
        .map_err(Refusal::internal)
}

/// A start that the requester chose, unless it is Go's zero time or unreadable.
fn requested_start(text: Option<&str>) -> Option<i64> {
    let moment: jiff::Timestamp = text?.parse().ok()?;
    Some(moment.as_second()).filter(|second| *second > 0)
}

#[cfg(test)]
mod tests {
    use super::may_be_authority;

    #[test]
    fn authorities_stand_only_as_deep_as_those_above_them_allow() {
        let cases = [
            (None, Some(None), None, true),
            (None, None, Some(Some(0)), false),
            (Some(0), Some(Some(0)), None, false),
            (Some(1), Some(Some(0)), None, true),
            (Some(1), Some(Some(0)), Some(Some(0)), true),
            (Some(1), Some(Some(0)), Some(Some(1)), false),
            (Some(1), Some(None), None, false),
            (Some(2), Some(Some(1)), None, true),
        ];
        for (own, profile, requested, expected) in cases {
            let verdict = may_be_authority(own, profile, requested);
            assert_eq!(
                verdict.is_ok(),
                expected,
                "{own:?} {profile:?} {requested:?}"
            );
        }
    }
}
