//! The card credential: a short statement that the card's key signs, made to be shown as a QR
//! code and checked without a network.
//!
//! It is a JWS in compact form (RFC 7515) with ES256 (RFC 7518 §3.4), of fixed shape:
//!
//! | part | members |
//! | --- | --- |
//! | header | `alg` = `ES256`, `typ` = `hc-card+jwt`, `kid` = the key's thumbprint (RFC 7638) |
//! | claims | `sub` the card's handle, `aud` the facility, `iat` and `exp` in seconds since 1970, at most 60 apart, `jti` a random id |
//!
//! Anything else is refused, among it every other algorithm, `none` and headers with `crit` or
//! keys of their own (RFC 8725). [`verify_offline`] needs the public key alone, which the ledger
//! has with the card; it cannot know whether the card was suspended since or the token used: that
//! is what the contract's `CheckIn` adds.
//!
//! ```
//! use consilium_contracts::card::token::{self, Claims};
//! let (private, public) = token::generate().unwrap();
//! let claims = Claims { sub: "card-1".into(), aud: "fac-1".into(), iat: 1000, exp: 1060, jti: "n-1".into() };
//! let qr = token::issue(&private, &claims).unwrap();
//! assert_eq!(token::verify_offline(&qr, &public, "fac-1", 1030).unwrap(), claims);
//! assert!(token::verify_offline(&qr, &public, "fac-2", 1030).is_err());
//! ```

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    ParsedPublicKey, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::fields;

/// Characters of a token at most: what a QR code of version 25 holds with room to spare.
pub const MAX_TOKEN_CHARS: usize = 1024;
/// Seconds between `iat` and `exp` at most.
pub const MAX_LIFETIME_SECONDS: i64 = 60;
/// Seconds that a card's clock may be ahead of the reader's.
pub const MAX_AHEAD_SECONDS: i64 = 10;

const ALGORITHM: &str = "ES256";
const TYPE_TOKEN: &str = "hc-card+jwt";
const TYPE_CONTENT: &str = "hc-content+jws";
const COORDINATE: usize = 32;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a compact JWS of the one shape: too long, not base64url, another algorithm or type,
    /// unknown or missing members, a lifetime beyond a minute.
    #[error("not a card token: {0}")]
    Malformed(&'static str),
    /// The key is no point of P-256.
    #[error("the card key is no JWK of a point on P-256: kty EC, crv P-256, x and y")]
    Key,
    /// Signed by another key, or changed.
    #[error("the signature is not of this card's key")]
    Signature,
    /// Meant for somebody else.
    #[error("the token is for another facility")]
    Audience,
    /// Over, or not begun.
    #[error("the token is not valid at this time")]
    Time,
    /// The key could not sign: not a PKCS #8 key of P-256, or no random numbers.
    #[error("the private key cannot sign: it is a PKCS #8 key of P-256")]
    Signing,
}

/// A card's public key as a JWK (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardKey {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

impl CardKey {
    /// From an uncompressed point of SEC 1: 0x04, x, y.
    ///
    /// # Errors
    /// [`TokenError::Key`] when it is none on P-256.
    pub fn from_point(point: &[u8]) -> Result<Self, TokenError> {
        let (x, y) = match point.split_first() {
            Some((4, rest)) => rest.split_at_checked(COORDINATE).ok_or(TokenError::Key)?,
            _ => return Err(TokenError::Key),
        };
        let key = CardKey {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        };
        key.check()?;
        Ok(key)
    }

    fn point(&self) -> Result<Vec<u8>, TokenError> {
        if self.kty != "EC" || self.crv != "P-256" {
            return Err(TokenError::Key);
        }
        let mut point = vec![4];
        for coordinate in [&self.x, &self.y] {
            let bytes = URL_SAFE_NO_PAD
                .decode(coordinate)
                .map_err(|_| TokenError::Key)?;
            if bytes.len() != COORDINATE {
                return Err(TokenError::Key);
            }
            point.extend(bytes);
        }
        Ok(point)
    }

    /// Whether it is a point on the curve.
    ///
    /// # Errors
    /// [`TokenError::Key`].
    pub fn check(&self) -> Result<(), TokenError> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point()?)
            .map(|_| ())
            .map_err(|_| TokenError::Key)
    }

    /// The thumbprint (RFC 7638): SHA-256 of the JWK's required members, base64url.
    pub fn thumbprint(&self) -> String {
        let CardKey { kty, crv, x, y } = self;
        // Base64url needs no escaping, and the two names are fixed by `check`.
        let canonical = format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point()?)
            .verify(message, signature)
            .map_err(|_| TokenError::Signature)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The card's handle.
    pub sub: String,
    /// Whom it is shown to: a facility's id in the registry, or an MSP id.
    pub aud: String,
    /// When it was made, seconds since 1970.
    pub iat: i64,
    /// From when on it is worth nothing; at most [`MAX_LIFETIME_SECONDS`] later.
    pub exp: i64,
    /// A random id: one token is used once.
    pub jti: String,
}

impl Claims {
    fn check(&self) -> Result<(), TokenError> {
        fields::id("sub", &self.sub)
            .and_then(|()| fields::code("aud", &self.aud))
            .and_then(|()| fields::id("jti", &self.jti))
            .map_err(|_| TokenError::Malformed("sub, aud and jti are ids"))?;
        let lifetime = self.exp.checked_sub(self.iat);
        if lifetime.is_some_and(|seconds| (1..=MAX_LIFETIME_SECONDS).contains(&seconds)) {
            Ok(())
        } else {
            Err(TokenError::Malformed("exp is 1 to 60 seconds after iat"))
        }
    }

    /// Whether the token is for this audience.
    ///
    /// # Errors
    /// [`TokenError::Audience`].
    pub fn for_audience(&self, audience: &str) -> Result<(), TokenError> {
        if self.aud == audience {
            Ok(())
        } else {
            Err(TokenError::Audience)
        }
    }

    /// Whether the token is in force at this time, seconds since 1970.
    ///
    /// # Errors
    /// [`TokenError::Time`].
    pub fn in_force(&self, now: i64) -> Result<(), TokenError> {
        if now < self.exp && self.iat <= now.saturating_add(MAX_AHEAD_SECONDS) {
            Ok(())
        } else {
            Err(TokenError::Time)
        }
    }
}

/// A token of the right shape, whose signature is still to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    claims: Claims,
    kid: String,
    signed: String,
    signature: Vec<u8>,
}

impl Token {
    /// Takes a token apart. Trusts nothing in it.
    ///
    /// # Errors
    /// [`TokenError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_CHARS {
            return Err(TokenError::Malformed("it has more than 1024 characters"));
        }
        let (header, payload, signature) = parts(text)?;
        let kid = header_of(header, TYPE_TOKEN)?;
        let claims: Claims = json(payload, "its claims are sub, aud, iat, exp and jti")?;
        claims.check()?;
        Ok(Token {
            claims,
            kid,
            signed: format!("{header}.{payload}"),
            signature: signature_of(signature)?,
        })
    }

    /// What it claims. True only once [`Token::verify`] has passed.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Checks the signature by a card's key.
    ///
    /// # Errors
    /// [`TokenError::Signature`], [`TokenError::Key`].
    pub fn verify(&self, key: &CardKey) -> Result<(), TokenError> {
        if self.kid != key.thumbprint() {
            return Err(TokenError::Signature);
        }
        key.verify(self.signed.as_bytes(), &self.signature)
    }
}

/// Checks everything that the card's public key is enough for: shape, signature, audience and
/// time. Not whether the card is still active, nor whether the token was used before.
///
/// # Errors
/// [`TokenError`], the first that applies in that order.
pub fn verify_offline(
    text: &str,
    key: &CardKey,
    audience: &str,
    now: i64,
) -> Result<Claims, TokenError> {
    let token = Token::parse(text)?;
    token.verify(key)?;
    token.claims.for_audience(audience)?;
    token.claims.in_force(now)?;
    Ok(token.claims)
}

/// A new private key in PKCS #8, and its public half. For cards in software, tests and tools.
///
/// # Errors
/// [`TokenError::Signing`] when there are no random numbers.
pub fn generate() -> Result<(Zeroizing<Vec<u8>>, CardKey), TokenError> {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| TokenError::Signing)?;
    let private = Zeroizing::new(document.as_ref().to_vec());
    let public = public_key(&key_pair(&private)?)?;
    Ok((private, public))
}

/// Signs a token with a private key in PKCS #8, as the card does.
///
/// # Errors
/// [`TokenError::Malformed`] for claims that would not be accepted, [`TokenError::Signing`].
pub fn issue(private_key: &[u8], claims: &Claims) -> Result<String, TokenError> {
    claims.check()?;
    let pair = key_pair(private_key)?;
    let header = header(&pair, TYPE_TOKEN)?;
    let signed = format!("{header}.{}", encode(claims));
    let signature = sign(&pair, &signed)?;
    Ok(format!("{signed}.{signature}"))
}

/// Signs content that is sent beside the signature: a detached JWS (RFC 7515 appendix F), whose
/// middle part is empty. Its type differs from a token's, so that neither passes for the other.
///
/// # Errors
/// [`TokenError::Signing`].
pub fn sign_content(private_key: &[u8], content: &[u8]) -> Result<String, TokenError> {
    let pair = key_pair(private_key)?;
    let header = header(&pair, TYPE_CONTENT)?;
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    Ok(format!("{header}..{}", sign(&pair, &signed)?))
}

/// Checks a detached JWS by [`sign_content`] over this content.
///
/// # Errors
/// [`TokenError::Malformed`], [`TokenError::Signature`], [`TokenError::Key`].
pub fn verify_content(jws: &str, key: &CardKey, content: &[u8]) -> Result<(), TokenError> {
    if jws.len() > MAX_TOKEN_CHARS {
        return Err(TokenError::Malformed("it has more than 1024 characters"));
    }
    let (header, payload, signature) = parts(jws)?;
    let kid = header_of(header, TYPE_CONTENT)?;
    if !payload.is_empty() {
        return Err(TokenError::Malformed(
            "the middle part of a detached JWS is empty",
        ));
    }
    let signature = signature_of(signature)?;
    if kid != key.thumbprint() {
        return Err(TokenError::Signature);
    }
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    key.verify(signed.as_bytes(), &signature)
}

fn parts(text: &str) -> Result<(&str, &str, &str), TokenError> {
    let mut parts = text.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Ok((header, payload, signature)),
        _ => Err(TokenError::Malformed(
            "it has three parts with a dot between them",
        )),
    }
}

fn header_of(part: &str, kind: &str) -> Result<String, TokenError> {
    let header: Header = json(part, "its header is alg, typ and kid")?;
    if header.alg != ALGORITHM {
        return Err(TokenError::Malformed("the algorithm is ES256 and no other"));
    }
    if header.typ != kind {
        return Err(TokenError::Malformed("it is of another type"));
    }
    Ok(header.kid)
}

fn signature_of(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .ok()
        .filter(|bytes| bytes.len() == 2 * COORDINATE)
        .ok_or(TokenError::Malformed(
            "the signature is 64 bytes in base64url",
        ))
}

fn json<T: for<'de> Deserialize<'de>>(part: &str, shape: &'static str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed("its parts are base64url without padding"))?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed(shape))
}

fn encode(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(crate::request::to_json(value))
}

fn key_pair(private_key: &[u8]) -> Result<EcdsaKeyPair, TokenError> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private_key)
        .map_err(|_| TokenError::Signing)
}

fn public_key(pair: &EcdsaKeyPair) -> Result<CardKey, TokenError> {
    CardKey::from_point(pair.public_key().as_ref())
}

fn header(pair: &EcdsaKeyPair, kind: &str) -> Result<String, TokenError> {
    Ok(encode(&Header {
        alg: ALGORITHM.to_owned(),
        typ: kind.to_owned(),
        kid: public_key(pair)?.thumbprint(),
    }))
}

fn sign(pair: &EcdsaKeyPair, signed: &str) -> Result<String, TokenError> {
    let signature = pair
        .sign(&SystemRandom::new(), signed.as_bytes())
        .map_err(|_| TokenError::Signing)?;
    Ok(URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests;
