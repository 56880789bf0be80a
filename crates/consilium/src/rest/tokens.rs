//! Bearer tokens: an OAuth 2.0 token endpoint for the SMART backend services profile.
//!
//! A caller proves who it is by an assertion that it signs with the key of its enrollment
//! certificate (RFC 7523, SMART App Launch 2 "client-confidential-asymmetric"), and gets a token
//! that is valid for a few minutes. The gateway keeps nothing but the ids of assertions it has seen.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use consilium_msp::{Certificate, Curve};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

/// How long a token is valid.
pub const LIFETIME: Duration = Duration::from_secs(300);
/// How far in the future an assertion may end, as SMART demands.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(300);
/// Difference between two clocks that is forgiven, in seconds.
const LEEWAY: u64 = 30;
/// Ids of assertions remembered; none lives longer than its assertion.
const REMEMBERED: u64 = 100_000;
const MAX_ASSERTION: usize = 8 * 1024;

/// The body of a token request (RFC 6749 §4.4, RFC 7521 §4.2).
#[derive(Debug, Deserialize)]
pub struct TokenRequest {
    /// `client_credentials`
    pub grant_type: String,
    /// Wanted scopes, separated by spaces.
    #[serde(default)]
    pub scope: String,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`
    #[serde(default)]
    pub client_assertion_type: String,
    /// The signed assertion.
    #[serde(default)]
    pub client_assertion: String,
    /// Why data is wanted, a code of v3-ActReason such as `TREAT`.
    #[serde(default)]
    pub purpose_of_use: String,
}

/// The answer of RFC 6749 §5.1.
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    /// The token.
    pub access_token: String,
    /// `bearer`
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: u64,
    /// What it is good for.
    pub scope: String,
}

/// The answer of RFC 6749 §5.2.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{error}: {error_description}")]
pub struct Refusal {
    /// A code of the RFC.
    pub error: &'static str,
    /// What to do.
    pub error_description: String,
}

fn refuse<T>(error: &'static str, description: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        error,
        error_description: description.into(),
    })
}

#[derive(Debug, Deserialize)]
struct Assertion {
    iss: String,
    sub: String,
    exp: u64,
    jti: String,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    aud: String,
    /// The member's name in the wallet.
    pub sub: String,
    iat: u64,
    exp: u64,
    /// Scopes, separated by spaces.
    pub scope: String,
    /// Purpose of use; empty when none was named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose_of_use: String,
}

/// Issues and checks tokens.
pub struct Tokens {
    issuer: String,
    endpoint: String,
    signing: EncodingKey,
    checking: DecodingKey,
    seen: Cache<(String, String), ()>,
}

impl Tokens {
    /// With a new key: tokens of a process that ended are worth nothing, which is minutes at most.
    ///
    /// # Errors
    /// No randomness.
    pub fn new(issuer: &str, endpoint: &str) -> anyhow::Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .context("cannot make a key to sign tokens with")?;
        let pkcs8 = key.to_pkcs8v1().context("cannot encode a key")?;
        let lifetime = ASSERTION_LIFETIME + Duration::from_secs(2 * LEEWAY);
        Ok(Self {
            issuer: issuer.to_owned(),
            endpoint: endpoint.to_owned(),
            signing: EncodingKey::from_ec_der(pkcs8.as_ref()),
            checking: DecodingKey::from_ec_der(key.public_key().as_ref()),
            seen: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(lifetime)
                .build(),
        })
    }

    /// Exchanges an assertion for a token. `holder` gives the certificate of a member, and
    /// `granted` the scopes out of the wanted ones that the member may have.
    ///
    /// # Errors
    /// [`Refusal`] as the RFCs say.
    pub fn exchange(
        &self,
        request: &TokenRequest,
        now: u64,
        holder: impl FnOnce(&str) -> Option<Arc<Certificate>>,
        granted: impl FnOnce(&str, &str) -> String,
    ) -> Result<TokenResponse, Refusal> {
        if request.grant_type != "client_credentials" {
            return refuse(
                "unsupported_grant_type",
                "grant_type has to be client_credentials",
            );
        }
        if request.client_assertion_type != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        {
            return refuse(
                "invalid_request",
                "client_assertion_type has to be \
                 urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            );
        }
        let name = self.check_assertion(&request.client_assertion, now, holder)?;
        let scope = granted(&name, &request.scope);
        if scope.is_empty() {
            return refuse(
                "invalid_scope",
                format!("{name} may have none of the scopes `{}`", request.scope),
            );
        }
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub: name,
            iat: now,
            exp: now + LIFETIME.as_secs(),
            scope: scope.clone(),
            purpose_of_use: request.purpose_of_use.clone(),
        };
        let Ok(access_token) = encode(&Header::new(Algorithm::ES256), &claims, &self.signing)
        else {
            return refuse("server_error", "the token cannot be signed");
        };
        Ok(TokenResponse {
            access_token,
            token_type: "bearer",
            expires_in: LIFETIME.as_secs(),
            scope,
        })
    }

    fn check_assertion(
        &self,
        assertion: &str,
        now: u64,
        holder: impl FnOnce(&str) -> Option<Arc<Certificate>>,
    ) -> Result<String, Refusal> {
        // One text for everything that concerns the key or the signature, so that nobody learns
        // who has an identity here.
        let unknown = || {
            refuse(
                "invalid_client",
                "client_assertion is not signed by the key of an identity that this gateway knows",
            )
        };
        if assertion.is_empty() || assertion.len() > MAX_ASSERTION {
            return refuse(
                "invalid_request",
                format!("client_assertion has to have 1 to {MAX_ASSERTION} bytes"),
            );
        }
        // The issuer decides which key to check with; what it says counts only after that.
        let claimed = jsonwebtoken::dangerous::insecure_decode::<Assertion>(assertion);
        let Ok(claimed) = claimed else {
            return refuse(
                "invalid_request",
                "client_assertion is no JWT with iss, sub, exp and jti",
            );
        };
        let name = claimed.claims.iss;
        let Some((algorithm, key)) = holder(&name).and_then(|holder| checking_key(&holder)) else {
            return unknown();
        };
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&[&self.endpoint]);
        rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        rules.leeway = LEEWAY;
        let assertion = match decode::<Assertion>(assertion, &key, &rules) {
            Ok(checked) => checked.claims,
            Err(error) => {
                use jsonwebtoken::errors::ErrorKind;
                return match error.kind() {
                    ErrorKind::ExpiredSignature => {
                        refuse("invalid_client", "client_assertion has expired")
                    }
                    ErrorKind::InvalidAudience => refuse(
                        "invalid_client",
                        format!("aud of client_assertion has to be {}", self.endpoint),
                    ),
                    _ => unknown(),
                };
            }
        };
        if assertion.sub != name {
            return refuse("invalid_client", "iss and sub of client_assertion differ");
        }
        if assertion.exp > now + ASSERTION_LIFETIME.as_secs() + LEEWAY {
            return refuse(
                "invalid_client",
                "client_assertion has to end within five minutes",
            );
        }
        if assertion.jti.is_empty() || assertion.jti.len() > 256 {
            return refuse("invalid_client", "jti has 1 to 256 characters");
        }
        let entry = self.seen.entry((name.clone(), assertion.jti));
        if !entry.or_insert(()).is_fresh() {
            return refuse("invalid_client", "client_assertion was used before");
        }
        Ok(name)
    }

    /// What a token says, `None` when it is not one of ours or has expired.
    pub fn check(&self, token: &str) -> Option<Claims> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&[&self.issuer]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        rules.leeway = 0;
        decode(token, &self.checking, &rules)
            .ok()
            .map(|checked| checked.claims)
    }
}

/// The key of a certificate and the algorithm that goes with it; `None` for curves that JWTs have
/// no algorithm for here.
fn checking_key(certificate: &Certificate) -> Option<(Algorithm, DecodingKey)> {
    let algorithm = match certificate.curve()? {
        Curve::P256 => Algorithm::ES256,
        Curve::P384 => Algorithm::ES384,
        _ => return None,
    };
    Some((
        algorithm,
        DecodingKey::from_ec_der(certificate.public_point()?),
    ))
}
