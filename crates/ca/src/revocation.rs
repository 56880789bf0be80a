//! Revoking certificates and identities, and the list of what is revoked
//! (fabric-ca: `lib/serverrevoke.go`, `lib/servergencrl.go`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::authenticate::Caller;
use crate::authority::{now, seconds};
use crate::ca::Ca;
use crate::crl::CrlTemplate;
use crate::error::{Refusal, code, not_found};
use crate::registrar;
use crate::request::{GenCrlBody, RevokeBody};
use crate::server::Granted;
use crate::store::{Identity, Times};

impl Ca {
    pub(crate) fn revoke(&self, caller: &Caller, body: &RevokeBody) -> Result<Granted, Refusal> {
        let (serial, key_id) = (hex_number(&body.serial), hex_number(&body.aki));
        let reason = reason_code(&body.reason);
        let revoked = if !serial.is_empty() && !key_id.is_empty() {
            self.revoke_certificate(caller, &serial, &key_id, &body.id, reason)?;
            vec![json!({ "Serial": serial, "AKI": key_id })]
        } else if !body.id.is_empty() {
            self.revoke_identity(&caller.identity, &body.id, reason)?
        } else {
            return Err(Refusal::new(
                400,
                code::MISSING_REVOKE_ARGUMENTS,
                "Either Name or Serial and AKI are required for a revoke request",
            ));
        };
        let crl = if body.gencrl && !revoked.is_empty() {
            STANDARD.encode(self.crl(Times::default(), Times::default())?)
        } else {
            String::new()
        };
        let revoked = match revoked.is_empty() {
            true => Value::Null,
            false => revoked.into(),
        };
        Granted::json(200, &json!({ "RevokedCerts": revoked, "CRL": crl }))
    }

    fn revoke_certificate(
        &self,
        caller: &Caller,
        serial: &str,
        key_id: &str,
        owner: &str,
        reason: i64,
    ) -> Result<(), Refusal> {
        let named = format!("Certificate with serial {serial} and AKI {key_id}");
        let Some(certificate) = self.store.certificate(serial, key_id)? else {
            let message = format!("{named} was not found: {}", not_found("Certificate"));
            return Err(Refusal::new(
                404,
                code::CERTIFICATE_TO_REVOKE_NOT_FOUND,
                message,
            ));
        };
        may_revoke(&caller.identity, &certificate.id)?;
        if certificate.revoked {
            let message = format!("{named} was already revoked");
            return Err(Refusal::new(
                404,
                code::CERTIFICATE_ALREADY_REVOKED,
                message,
            ));
        }
        if !owner.is_empty() && owner != certificate.id {
            let message = format!("{named} is not owned by {owner}");
            return Err(Refusal::new(400, code::CERTIFICATE_OF_ANOTHER, message));
        }
        let identity = self.identity_to_revoke(&certificate.id)?;
        // Whoever holds the certificate may give it up.
        if caller.serial != serial || key_id != self.authority.key_id_hex() {
            may_manage(&caller.identity, &identity)?;
        }
        self.store.revoke_certificate(serial, key_id, reason)?;
        self.audit_change("revoke-certificate", &caller.identity.id, serial);
        Ok(())
    }

    fn revoke_identity(
        &self,
        caller: &Identity,
        id: &str,
        reason: i64,
    ) -> Result<Vec<Value>, Refusal> {
        may_revoke(caller, id)?;
        let identity = self.identity_to_revoke(id)?;
        if caller.id != id {
            may_manage(caller, &identity)?;
        }
        let revoked = self.store.revoke_identity(id, reason)?;
        self.audit_change("revoke-identity", &caller.id, id);
        let json = revoked
            .into_iter()
            .map(|one| json!({ "Serial": one.serial, "AKI": one.authority_key_id }));
        Ok(json.collect())
    }

    fn identity_to_revoke(&self, id: &str) -> Result<Identity, Refusal> {
        self.store.identity(id)?.ok_or_else(|| {
            let message = format!("Identity {id} was not found: {}", not_found("User"));
            Refusal::new(404, code::IDENTITY_TO_REVOKE_NOT_FOUND, message)
        })
    }

    pub(crate) fn generate_crl(
        &self,
        caller: &Identity,
        body: &GenCrlBody,
    ) -> Result<Granted, Refusal> {
        if !is_true(caller, registrar::GEN_CRL) {
            return Err(Refusal::authorization(
                code::NO_GENCRL_AUTHORITY,
                format!(
                    "The identity '{}' does not have authority to generate a CRL",
                    caller.id
                ),
            ));
        }
        let invalid = |code, later: &str, earlier: &str| {
            let message = format!(
                "Invalid '{later}' value. It must not be a timestamp greater than '{earlier}'"
            );
            Refusal::new(400, code, message)
        };
        let backwards =
            |times: Times| matches!((times.from, times.to), (Some(from), Some(to)) if from > to);
        let (expire, revoked) = (body.expire(), body.revoked());
        if backwards(revoked) {
            let code = code::INVALID_REVOKED_AFTER;
            return Err(invalid(code, "revokedafter", "revokedbefore"));
        }
        if backwards(expire) {
            let code = code::INVALID_EXPIRE_AFTER;
            return Err(invalid(code, "expireafter", "expirebefore"));
        }
        let crl = self.crl(expire, revoked)?;
        self.audit_change("gencrl", &caller.id, &self.options.name);
        Granted::json(200, &json!({ "CRL": STANDARD.encode(crl) }))
    }

    /// PEM.
    fn crl(&self, expire: Times, revoked: Times) -> Result<String, Refusal> {
        if !self.authority.may_sign_crls() {
            return Err(Refusal::new(
                500,
                code::NO_CRL_SIGN_USAGE,
                "The CA does not have authority to generate a CRL. Its certificate does not have \
                 'crl sign' key usage",
            ));
        }
        let now = now();
        let template = CrlTemplate {
            this_update: now,
            next_update: now.saturating_add(seconds(self.options.crl_validity)),
            revoked: self.store.revoked(expire, revoked)?,
        };
        self.authority.sign_crl(&template).map_err(|error| {
            tracing::error!(ca = %self.options.name, %error, "cannot sign a list of revoked certificates");
            let message = format!("Failed to generate CRL for CA '{}'", self.options.name);
            Refusal::new(500, code::GENERATING_CRL, message)
        })
    }
}

fn may_revoke(caller: &Identity, owner: &str) -> Result<(), Refusal> {
    if caller.id == owner || is_true(caller, registrar::REVOKER) {
        return Ok(());
    }
    Err(Refusal::authorization(
        code::NOT_REVOKER,
        "Caller does not have authority to revoke",
    ))
}

/// Whether the caller may act on identities like this one: its affiliation, then its type.
pub(crate) fn may_manage(caller: &Identity, identity: &Identity) -> Result<(), Refusal> {
    may_use_affiliation(caller, &identity.affiliation)?;
    may_use_type(caller, &identity.kind)
}

pub(crate) fn may_use_affiliation(caller: &Identity, affiliation: &str) -> Result<(), Refusal> {
    if registrar::may_act_on_affiliation(caller, affiliation) {
        return Ok(());
    }
    Err(Refusal::authorization(
        code::CALLER_NOT_AFFILIATED,
        format!("Caller does not have authority to act on affiliation '{affiliation}'"),
    ))
}

pub(crate) fn may_use_type(caller: &Identity, kind: &str) -> Result<(), Refusal> {
    registrar::may_act_on_type(caller, kind).map_err(|reason| {
        let code = match registrar::roles(caller) {
            Some(_) => code::CALLER_NOT_AFFILIATED,
            None => code::REGISTERING_ATTRIBUTE,
        };
        Refusal::authorization(code, reason)
    })
}

fn is_true(identity: &Identity, attribute: &str) -> bool {
    identity.attribute(attribute).and_then(registrar::boolean) == Some(true)
}

/// Hex as the register has it: lower case, no zeros before, no colons.
fn hex_number(text: &str) -> String {
    text.to_ascii_lowercase()
        .trim_start_matches('0')
        .replace(':', "")
}

/// RFC 5280, 5.3.1; a reason that is not known counts as none.
fn reason_code(reason: &str) -> i64 {
    match reason {
        "keycompromise" => 1,
        "cacompromise" => 2,
        "affiliationchanged" => 3,
        "superseded" => 4,
        "cessationofoperation" => 5,
        "certificatehold" => 6,
        "removefromcrl" => 8,
        "privilegewithdrawn" => 9,
        "aacompromise" => 10,
        _ => 0,
    }
}
