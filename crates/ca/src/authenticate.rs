//! Who is calling: by name and password to enrol, by certificate and signature for the rest
//! (fabric-ca: `lib/serverrequestcontext.go`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::authority::now;
use crate::ca::Ca;
use crate::error::{Refusal, code};
use crate::server::Call;
use crate::store::{Identity, compare_with_nobody};
use crate::token::{self, Signed};

/// Who signed a request, and with which certificate.
pub(crate) struct Caller {
    pub identity: Identity,
    /// Of the certificate; lower-case hex, leading zeros left out.
    pub serial: String,
}

impl Ca {
    /// A request without the header is refused before anything else.
    pub fn has_authorization(call: &Call) -> Result<(), Refusal> {
        Self::authorization(call).map(drop)
    }

    /// As [`has_authorization`](Self::has_authorization), and it must be name and password.
    pub fn has_credentials(call: &Call) -> Result<(), Refusal> {
        Self::credentials(call).map(drop)
    }

    fn credentials(call: &Call) -> Result<(String, String), Refusal> {
        basic_credentials(Self::authorization(call)?).ok_or_else(|| {
            Refusal::authentication(
                code::NO_USER_AND_PASSWORD,
                "No user/pass in authorization header",
            )
        })
    }

    fn authorization(call: &Call) -> Result<&str, Refusal> {
        match call.authorization.as_deref() {
            Some(header) if !header.is_empty() => Ok(header),
            _ => Err(Refusal::new(
                401,
                code::NO_AUTHORIZATION_HEADER,
                "No authorization header",
            )),
        }
    }

    /// The identity that the request's name and password prove, and how often it may enrol.
    pub(crate) fn log_in(&self, call: &Call) -> Result<(Identity, i64), Refusal> {
        let (id, password) = Self::credentials(call)?;
        if self.options.max_enrollments == 0 {
            return Err(Refusal::authentication(
                code::ENROLL_DISABLED,
                "Enroll is disabled",
            ));
        }
        let Some(identity) = self.store.identity(&id)? else {
            compare_with_nobody(&password);
            let message = format!("Failed to get user: identity '{id}' is not registered");
            return Err(Refusal::authentication(code::INVALID_USER, message));
        };
        let allowed = self.options.password_attempts;
        let attempts = identity.incorrect_password_attempts;
        if allowed > 0 && attempts >= allowed {
            return Err(Refusal::new(
                401,
                code::PASSWORD_ATTEMPTS,
                format!(
                    "Incorrect password entered {attempts} times, max incorrect password limit \
                     of {allowed} reached"
                ),
            ));
        }
        let failed = |reason: String| {
            Refusal::authentication(code::INVALID_PASSWORD, format!("Login failure: {reason}"))
        };
        if !identity.password_fits(&password) {
            self.store.count_wrong_password(&id)?;
            return Err(failed("Password mismatch".into()));
        }
        let limit = match (self.options.max_enrollments, identity.max_enrollments) {
            (_, 0) => {
                return Err(failed(format!(
                    "Zero is an invalid value for maximum enrollments on identity '{id}'"
                )));
            }
            (-1, own) => own,
            (ca, -1) => ca,
            (ca, own) => own.min(ca),
        };
        if identity.state < 0 {
            return Err(failed(format!("User {id} is revoked; access denied")));
        }
        if limit != -1 && identity.state >= limit {
            return Err(failed(used_up(&id, limit)));
        }
        self.store.forget_wrong_passwords(&id)?;
        Ok((identity, limit))
    }

    /// The identity whose certificate signed the request's token.
    pub(crate) fn caller(&self, call: &Call) -> Result<Caller, Refusal> {
        self.signer(call, false)
    }

    /// As [`caller`](Self::caller); the certificate may have ended where that is configured.
    pub(crate) fn caller_to_reenroll(&self, call: &Call) -> Result<Caller, Refusal> {
        self.signer(call, self.options.reenroll_ignores_expiry)
    }

    fn signer(&self, call: &Call, may_have_ended: bool) -> Result<Caller, Refusal> {
        let header = Self::authorization(call)?;
        let request = Signed {
            method: &call.method,
            uri: &call.uri,
            body: &call.body,
        };
        let certificate =
            token::verify(header, request, self.options.legacy_tokens).map_err(|reason| {
                Refusal::authentication(
                    code::INVALID_TOKEN,
                    format!("Invalid token in authorization header: {reason}"),
                )
            })?;
        let issuer = self.authority.issuer_of(&certificate);
        let Some(key_id) = issuer.filter(|_| !certificate.is_ca()) else {
            return Err(Refusal::authentication(
                code::UNTRUSTED_CERTIFICATE,
                "Untrusted certificate: Failed to verify certificate: it was not issued by this CA",
            ));
        };
        let now = now();
        let ended = now > certificate.not_after() && !may_have_ended;
        if ended || now < certificate.not_before() {
            return Err(Refusal::authentication(
                code::CERTIFICATE_EXPIRED,
                "The certificate in the authorization header is a revoked or expired certificate",
            ));
        }
        let serial = certificate.serial_hex();
        let serial = serial.trim_start_matches('0').to_ascii_lowercase();
        match self.store.certificate(&serial, &key_id)? {
            Some(known) if known.revoked => {
                return Err(Refusal::authentication(
                    code::CERTIFICATE_REVOKED,
                    "The certificate in the authorization header is a revoked certificate",
                ));
            }
            Some(_) => {}
            None => {
                return Err(Refusal::authentication(
                    code::CERTIFICATE_NOT_FOUND,
                    format!("Certificate not found with AKI '{key_id}' and serial '{serial}'"),
                ));
            }
        }
        let id = certificate.subject_cn();
        let Some(identity) = self.store.identity(id)? else {
            return Err(Refusal::authentication(
                code::GETTING_USER,
                "Failed to get user",
            ));
        };
        if identity.state < 0 {
            return Err(Refusal::authorization(
                code::REVOKED_IDENTITY,
                "Enrollment ID is revoked, unable to process request",
            ));
        }
        Ok(Caller { identity, serial })
    }
}

pub(crate) fn used_up(id: &str, limit: i64) -> String {
    format!(
        "The identity {id} has already enrolled {limit} times, it has reached its maximum \
         enrollment allowance"
    )
}

/// Identity and password of `Basic …`.
fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, password) = text.split_once(':')?;
    Some((id.to_owned(), password.to_owned()))
}
