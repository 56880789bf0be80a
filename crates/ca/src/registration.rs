//! Adding an identity in the name of a registrar (fabric-ca: `lib/serverregister.go`).

use serde_json::json;

use crate::ca::Ca;
use crate::client::encoded;
use crate::error::{Refusal, code};
use crate::registrar;
use crate::request::RegisterBody;
use crate::server::Granted;
use crate::store::{Attribute, Identity, NewIdentity, StoreError};

impl Ca {
    pub(crate) fn register(
        &self,
        registrar: &Identity,
        body: RegisterBody,
    ) -> Result<Granted, Refusal> {
        let id = body.id.clone();
        let secret = self.add_identity(registrar, body)?;
        let mut granted = Granted::json(201, &json!({ "secret": secret }))?;
        granted.location = Some(format!("/api/v1/identities/{}", encoded(&id, b"-._~")));
        Ok(granted)
    }

    /// Adds an identity if the registrar may; gives its secret.
    pub(crate) fn add_identity(
        &self,
        registrar: &Identity,
        mut body: RegisterBody,
    ) -> Result<String, Refusal> {
        match body.affiliation.as_str() {
            "" => body.affiliation.clone_from(&registrar.affiliation),
            "." => body.affiliation.clear(),
            _ => {}
        }
        if body.kind.is_empty() {
            body.kind.clone_from(&registrar.kind);
        }
        let id = body.id.as_str();
        if id.is_empty() {
            return Err(Refusal::new(
                400,
                code::REGISTERING_IDENTITY,
                "Registration failed: the enrollment ID is missing",
            ));
        }
        if let Err(refusal) = self.may_register(registrar, &body) {
            tracing::warn!(registrar = %registrar.id, id, reason = %refusal, "registration refused");
            return Err(Refusal::authorization(
                code::REGISTRAR_NOT_AUTHORIZED,
                format!("Registration of '{id}' failed: {refusal}"),
            ));
        }
        let secret = if body.secret.is_empty() {
            random_secret()?
        } else {
            body.secret
        };
        let limit = registrar::max_enrollments(body.max_enrollments, self.options.max_enrollments)
            .map_err(|reason| Refusal::new(400, code::INVALID_MAX_ENROLLMENTS, reason))?;
        let mut attributes = body.attrs;
        attributes.extend(fixed_attributes(id, &body.kind, &body.affiliation));
        let added = self.store.add_identity(&NewIdentity {
            id,
            password: &secret,
            kind: &body.kind,
            affiliation: &body.affiliation,
            attributes: &attributes,
            max_enrollments: limit,
        });
        match added {
            Ok(true) => {}
            Ok(false) => {
                let message = format!("Identity '{id}' is already registered");
                return Err(Refusal::new(409, code::DUPLICATE_IDENTITY, message));
            }
            Err(error @ StoreError::Password(_)) => {
                let message = format!("Registration of '{id}' failed: {error}");
                return Err(Refusal::new(400, code::REGISTERING_IDENTITY, message));
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(
            target: "audit",
            ca = %self.options.name,
            action = "register",
            registrar = %registrar.id,
            id,
            kind = %body.kind,
            affiliation = %body.affiliation,
            "registered an identity"
        );
        Ok(secret)
    }

    fn may_register(&self, registrar: &Identity, body: &RegisterBody) -> Result<(), String> {
        registrar::may_act_on_type(registrar, &body.kind)?;
        let affiliation = body.affiliation.as_str();
        if !registrar::may_act_on_affiliation(registrar, affiliation) {
            return Err(format!(
                "Caller does not have authority to act on affiliation '{affiliation}' (code {})",
                code::CALLER_NOT_AFFILIATED
            ));
        }
        let known = affiliation.is_empty()
            || self
                .store
                .has_affiliation(affiliation)
                .map_err(|error| error.to_string())?;
        if !known {
            return Err(format!(
                "Failed getting affiliation '{affiliation}': it does not exist (code {})",
                code::AFFILIATION_NOT_FOUND
            ));
        }
        registrar::may_register_attributes(registrar, &body.attrs, None)
            .map_err(|reason| format!("Failed to register attribute: {reason}"))
    }
}

fn fixed_attributes(id: &str, kind: &str, affiliation: &str) -> [Attribute; 3] {
    let fixed = |name: &str, value: &str| Attribute {
        name: name.into(),
        value: value.into(),
        ecert: true,
    };
    [
        fixed(registrar::ENROLLMENT_ID, id),
        fixed(registrar::TYPE, kind),
        fixed(registrar::AFFILIATION, affiliation),
    ]
}

/// What Fabric CA's default configuration gives its first registrar.
pub(crate) fn registrar_attributes(id: &str) -> Vec<Attribute> {
    let granted = [
        (registrar::ROLES, "*"),
        (registrar::DELEGATE_ROLES, "*"),
        (registrar::REVOKER, "true"),
        (registrar::INTERMEDIATE_CA, "true"),
        (registrar::GEN_CRL, "true"),
        (registrar::REGISTRAR_ATTRIBUTES, "*"),
        (registrar::AFFILIATION_MANAGER, "true"),
    ];
    let granted = granted.map(|(name, value)| Attribute {
        name: name.into(),
        value: value.into(),
        ecert: false,
    });
    granted
        .into_iter()
        .chain(fixed_attributes(id, "client", ""))
        .collect()
}

/// Twelve letters, as Fabric CA makes them; 68 bits.
fn random_secret() -> Result<String, Refusal> {
    const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut secret = String::with_capacity(12);
    while secret.len() < 12 {
        let mut random = [0; 24];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Refusal::internal("the random source failed"))?;
        // 208 is four times 52: larger values would favour some letters.
        let fair = random.iter().filter(|byte| **byte < 208);
        secret.extend(fair.map(|byte| char::from(LETTERS[usize::from(byte % 52)])));
    }
    secret.truncate(12);
    Ok(secret)
}
