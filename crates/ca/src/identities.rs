//! The identities in the register: listed, added, changed and removed by registrars
//! (fabric-ca: `lib/serveridentities.go`).

use std::sync::Arc;

use serde::Serialize;

use crate::ca::Ca;
use crate::error::{Refusal, code};
use crate::listing::{Listing, Rows};
use crate::registrar;
use crate::request::{self, AddIdentityBody, ModifyIdentityBody, RegisterBody};
use crate::revocation::{may_manage, may_use_affiliation, may_use_type};
use crate::server::{Call, Granted};
use crate::store::{Attribute, Identity, IdentityFilter, StoreError};

/// An identity in a list (fabric-ca: `api.IdentityInfo`).
#[derive(Debug, Serialize)]
pub(crate) struct IdentityInfo<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub kind: &'a str,
    pub affiliation: &'a str,
    pub attrs: &'a [Attribute],
    pub max_enrollments: i64,
}

impl<'a> From<&'a Identity> for IdentityInfo<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self {
            id: &identity.id,
            kind: &identity.kind,
            affiliation: &identity.affiliation,
            attrs: &identity.attributes,
            max_enrollments: identity.max_enrollments,
        }
    }
}

/// A single identity as it was asked for (fabric-ca: `api.GetIDResponse`).
#[derive(Debug, Serialize)]
struct IdentityShown<'a> {
    #[serde(flatten)]
    info: IdentityInfo<'a>,
    caname: &'a str,
}

/// An identity that was added, changed or removed (fabric-ca: `api.IdentityResponse`).
#[derive(Debug, Serialize)]
struct IdentityChanged<'a> {
    id: &'a str,
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    affiliation: &'a str,
    #[serde(skip_serializing_if = "<[Attribute]>::is_empty")]
    attrs: &'a [Attribute],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_enrollments: Option<i64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    secret: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    caname: &'a str,
}

impl Ca {
    /// `GET /identities` and `POST /identities`.
    pub(crate) fn identities(
        self: &Arc<Self>,
        caller: &Identity,
        call: &Call,
    ) -> Result<Granted, Refusal> {
        if call.method == "GET" {
            return self.list_identities(caller);
        }
        let body: AddIdentityBody = request::require(&call.body)?;
        if body.id.is_empty() {
            return Err(Refusal::new(
                400,
                code::ADDING_IDENTITY,
                "Missing 'ID' in request to add a new identity",
            ));
        }
        let id = body.id.clone();
        let secret = self.add_identity(caller, RegisterBody::from(body))?;
        self.answer_identity(201, &self.known(&id)?, &secret)
    }

    fn list_identities(self: &Arc<Self>, caller: &Identity) -> Result<Granted, Refusal> {
        let Some(roles) = registrar::roles(caller) else {
            return Err(not_a_registrar(caller));
        };
        if roles.is_empty() {
            return Err(Refusal::authorization(
                code::GETTING_USER,
                "Caller is not a registrar",
            ));
        }
        let kinds: Vec<String> = roles
            .split(',')
            .map(|kind| kind.trim().to_owned())
            .collect();
        let filter = IdentityFilter {
            affiliation: caller.affiliation.clone(),
            kinds: Some(kinds).filter(|kinds| !kinds.iter().any(|kind| kind == "*")),
        };
        Listing::begin(self, Rows::Identities(filter), &self.options.name)
    }

    /// `GET`, `PUT` and `DELETE /identities/{id}`.
    pub(crate) fn one_identity(&self, caller: &Identity, call: &Call) -> Result<Granted, Refusal> {
        let id = call.subject.as_str();
        match call.method.as_str() {
            "PUT" => self.modify_identity(caller, id, call),
            "DELETE" => self.remove_identity(caller, id, call),
            _ => {
                let identity = self.known(id)?;
                may_manage(caller, &identity)?;
                let shown = IdentityShown {
                    info: (&identity).into(),
                    caname: &self.options.name,
                };
                Granted::json(200, &shown)
            }
        }
    }

    fn modify_identity(
        &self,
        caller: &Identity,
        id: &str,
        call: &Call,
    ) -> Result<Granted, Refusal> {
        let mut identity = self.known(id)?;
        may_manage(caller, &identity)?;
        let body: ModifyIdentityBody = request::require(&call.body)?;
        let affiliation = body.affiliation.as_str();
        if !affiliation.is_empty() {
            if affiliation != "." && !self.store.has_affiliation(affiliation)? {
                let message = format!("Affiliation '{affiliation}' is not supported");
                return Err(Refusal::new(400, code::MODIFYING_IDENTITY, message));
            }
            may_use_affiliation(caller, affiliation)?;
        }
        if !body.kind.is_empty() {
            may_use_type(caller, &body.kind)?;
        }
        registrar::may_register_attributes(caller, &body.attrs, Some(&identity)).map_err(
            |reason| {
                let message = format!("Failed to register attributes: {reason}");
                Refusal::authorization(code::REGISTERING_ATTRIBUTE, message)
            },
        )?;
        let secret = body.secret.clone();
        change(&mut identity, body);
        let password = Some(secret.as_str()).filter(|secret| !secret.is_empty());
        match self.store.update_identity(&identity, password) {
            Ok(true) => {}
            Ok(false) => return Err(Refusal::not_found("User")),
            Err(error @ StoreError::Password(_)) => {
                let message = format!("Failed to modify identity '{id}': {error}");
                return Err(Refusal::new(400, code::MODIFYING_IDENTITY, message));
            }
            Err(error) => return Err(error.into()),
        }
        self.audit_change("modify-identity", &caller.id, id);
        self.answer_identity(200, &self.known(id)?, &secret)
    }

    fn remove_identity(
        &self,
        caller: &Identity,
        id: &str,
        call: &Call,
    ) -> Result<Granted, Refusal> {
        let refused = |message: &str| Refusal::new(403, code::REMOVING_IDENTITY, message);
        if !self.options.remove_identities {
            return Err(refused("Identity removal is disabled"));
        }
        let force = boolean(call, "force")?;
        if id == caller.id && !force {
            return Err(refused(
                "Need to use 'force' option to delete your own identity",
            ));
        }
        let identity = self.known(id)?;
        may_manage(caller, &identity)?;
        self.store.remove_identity(id)?;
        self.audit_change("remove-identity", &caller.id, id);
        self.answer_identity(200, &identity, "")
    }

    fn known(&self, id: &str) -> Result<Identity, Refusal> {
        self.store
            .identity(id)?
            .ok_or_else(|| Refusal::not_found("User"))
    }

    fn answer_identity(
        &self,
        status: u16,
        identity: &Identity,
        secret: &str,
    ) -> Result<Granted, Refusal> {
        let answer = IdentityChanged {
            id: &identity.id,
            kind: &identity.kind,
            affiliation: &identity.affiliation,
            attrs: &identity.attributes,
            // Go leaves out what is zero.
            max_enrollments: Some(identity.max_enrollments).filter(|limit| *limit != 0),
            secret,
            caname: &self.options.name,
        };
        Granted::json(status, &answer)
    }
}

pub(crate) fn not_a_registrar(caller: &Identity) -> Refusal {
    Refusal::authorization(
        code::REGISTERING_ATTRIBUTE,
        format!("'{}' is not a registrar", caller.id),
    )
}

/// A query's value of `name`; false if it has none.
pub(crate) fn boolean(call: &Call, name: &str) -> Result<bool, Refusal> {
    let text = call.query(name).to_lowercase();
    if text.is_empty() {
        return Ok(false);
    }
    registrar::boolean(&text).ok_or_else(|| {
        let message = format!(
            "Failed to correctly parse value of '{name}' query parameter: strconv.ParseBool: \
             parsing \"{text}\": invalid syntax"
        );
        Refusal::new(400, code::REMOVING_AFFILIATION, message)
    })
}

/// What a request changes about an identity (fabric-ca: `getModifyReq`).
fn change(identity: &mut Identity, body: ModifyIdentityBody) {
    match body.max_enrollments {
        -2 => identity.max_enrollments = 0,
        0 => {}
        limit => identity.max_enrollments = limit,
    }
    let mut attributes = body.attrs;
    let fixed = |name: &str, value: &str| Attribute {
        name: name.into(),
        value: value.into(),
        ecert: true,
    };
    match body.affiliation.as_str() {
        "" => {}
        affiliation => {
            let affiliation = if affiliation == "." { "" } else { affiliation };
            affiliation.clone_into(&mut identity.affiliation);
            attributes.push(fixed(registrar::AFFILIATION, affiliation));
        }
    }
    if !body.kind.is_empty() {
        attributes.push(fixed(registrar::TYPE, &body.kind));
        identity.kind = body.kind;
    }
    merge(&mut identity.attributes, attributes);
}

/// Changes attributes by name: an empty value removes, a name that is not there is added.
pub(crate) fn merge(present: &mut Vec<Attribute>, changes: Vec<Attribute>) {
    for change in changes {
        match present.iter().position(|it| it.name == change.name) {
            Some(at) if change.value.is_empty() => {
                present.remove(at);
            }
            // The position was found just now.
            Some(at) => {
                if let Some(it) = present.get_mut(at) {
                    *it = change;
                }
            }
            None if change.value.is_empty() => {}
            None => present.push(change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_changed_added_and_removed_by_name() {
        let attributes = |list: &[(&str, &str)]| Identity::with_attributes("", "", list).attributes;
        let mut present = attributes(&[("a", "1"), ("b", "2"), ("c", "3")]);
        merge(
            &mut present,
            attributes(&[("a", "4"), ("b", ""), ("d", "5"), ("e", "")]),
        );
        assert_eq!(present, attributes(&[("a", "4"), ("c", "3"), ("d", "5")]));
    }

    #[test]
    fn the_root_affiliation_and_no_enrolments_have_values_of_their_own() {
        let mut identity = Identity::with_attributes("a", "org1", &[]);
        let body = |affiliation: &str, max_enrollments| ModifyIdentityBody {
            affiliation: affiliation.into(),
            max_enrollments,
            ..ModifyIdentityBody::default()
        };
        change(&mut identity, body("", 0));
        assert_eq!(
            (identity.affiliation.as_str(), identity.max_enrollments),
            ("org1", -1)
        );
        change(&mut identity, body(".", -2));
        assert_eq!(
            (identity.affiliation.as_str(), identity.max_enrollments),
            ("", 0)
        );
        change(&mut identity, body("org2", 7));
        assert_eq!(identity.attribute("hf.Affiliation"), Some("org2"));
        assert_eq!(identity.max_enrollments, 7);
    }
}
