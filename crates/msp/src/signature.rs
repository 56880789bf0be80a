//! Signatures: reading and writing ECDSA's DER form, the low-S rule, and verification.
//!
//! The message digest is SHA-256 (or SHA3-256) whatever the curve. Go, which fixes the behaviour,
//! reads `SEQUENCE { r, s }` leniently at its end: bytes after the sequence, and elements after `s`
//! inside it, are ignored. Lengths and integers have to be minimal. Because that decides whether a
//! transaction is valid, the bytes are read here and the library is given a canonical re-encoding.
//! source: fabric-lib-go: bccsp/sw/ecdsa.go, bccsp/utils/ecdsa.go

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature as aws;
use aws_lc_rs::signature::{ParsedPublicKey, UnparsedPublicKey};
use thiserror::Error;

/// Why a signature does not verify.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The bytes are no ECDSA signature.
    #[error("Failed unmashalling signature [{0}]")]
    Malformed(&'static str),
    /// The signature's S is in the upper half of the group order; it was made by a signer that does
    /// not normalize, or altered on the way.
    #[error("Invalid S. Must be smaller than half the order")]
    HighS,
    /// The signature is not one of this key over this message.
    #[error("The signature is invalid")]
    Invalid,
    /// The MSP's configuration names a hash family that nobody knows.
    #[error("failed getting hash function options: hash family not recognized")]
    UnknownHash,
    /// Keys of this kind cannot verify signatures.
    #[error("unsupported public key: {0}")]
    UnsupportedKey(String),
}

/// The family of hash functions that an MSP's signatures use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFamily {
    /// SHA-256, what everybody uses.
    #[default]
    Sha2,
    /// SHA3-256.
    Sha3,
    /// One that nobody knows: nothing verifies but what is not hashed, as with Ed25519.
    Unknown,
}

impl HashFamily {
    fn digest(self, message: &[&[u8]]) -> Option<Digest> {
        let digest = |algorithm| {
            let mut context = digest::Context::new(algorithm);
            for part in message {
                context.update(part);
            }
            context.finish()
        };
        Some(match self {
            HashFamily::Sha2 => digest(&digest::SHA256),
            HashFamily::Sha3 => {
                let hash = digest(&digest::SHA3_256);
                // Both are 32 bytes; only the number enters ECDSA.
                Digest::import_less_safe(hash.as_ref(), &digest::SHA256).unwrap_or(hash)
            }
            HashFamily::Unknown => return None,
        })
    }
}

/// The elliptic curves that identities may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256 (secp256r1).
    P256,
    /// NIST P-384 (secp384r1).
    P384,
    /// NIST P-521 (secp521r1).
    P521,
}

impl Curve {
    /// Order of the group, big endian without leading zeros.
    fn order(self) -> &'static [u8] {
        match self {
            Curve::P256 => &hex_literal::P256,
            Curve::P384 => &hex_literal::P384,
            Curve::P521 => &hex_literal::P521,
        }
    }

    /// Whether `s` is at most half of the order (integer half, rounded down).
    fn is_low(self, s: &[u8]) -> bool {
        let half = half(self.order());
        compare(s, &half).is_le()
    }

    /// `order - s` for an `s` below the order.
    fn negate(self, s: &[u8]) -> Vec<u8> {
        let order = self.order();
        let mut result = vec![0u8; order.len()];
        let mut borrow = 0i16;
        for offset in 0..order.len() {
            let minuend = i16::from(order[order.len() - 1 - offset]);
            let subtrahend = s
                .len()
                .checked_sub(1 + offset)
                .map_or(0, |at| i16::from(s[at]));
            let mut difference = minuend - subtrahend - borrow;
            borrow = i16::from(difference < 0);
            if difference < 0 {
                difference += 256;
            }
            result[order.len() - 1 - offset] = difference as u8;
        }
        result
    }

    fn verification(self, hash: CertificateHash) -> &'static aws::EcdsaVerificationAlgorithm {
        use CertificateHash::{Sha256, Sha384, Sha512};
        match (self, hash) {
            (Curve::P256, Sha256) => &aws::ECDSA_P256_SHA256_ASN1,
            (Curve::P256, Sha384) => &aws::ECDSA_P256_SHA384_ASN1,
            (Curve::P256, Sha512) => &aws::ECDSA_P256_SHA512_ASN1,
            (Curve::P384, Sha256) => &aws::ECDSA_P384_SHA256_ASN1,
            (Curve::P384, Sha384) => &aws::ECDSA_P384_SHA384_ASN1,
            (Curve::P384, Sha512) => &aws::ECDSA_P384_SHA512_ASN1,
            (Curve::P521, Sha256) => &aws::ECDSA_P521_SHA256_ASN1,
            (Curve::P521, Sha384) => &aws::ECDSA_P521_SHA384_ASN1,
            (Curve::P521, Sha512) => &aws::ECDSA_P521_SHA512_ASN1,
        }
    }
}

mod hex_literal {
    /// Group orders, from SEC 2.
    pub(super) const P256: [u8; 32] =
        bytes(b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    pub(super) const P384: [u8; 48] = bytes(
        b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    );
    pub(super) const P521: [u8; 66] = bytes(
        b"01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    );

    const fn bytes<const N: usize>(text: &[u8]) -> [u8; N] {
        assert!(text.len() == 2 * N);
        let mut out = [0; N];
        let mut at = 0;
        while at < N {
            out[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
            at += 1;
        }
        out
    }

    const fn digit(character: u8) -> u8 {
        if character >= b'a' {
            character - b'a' + 10
        } else {
            character - b'0'
        }
    }
}

fn half(number: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    number
        .iter()
        .map(|&byte| {
            let halved = byte >> 1 | carry << 7;
            carry = byte & 1;
            halved
        })
        .collect()
}

fn strip(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

fn compare(left: &[u8], right: &[u8]) -> std::cmp::Ordering {
    let (left, right) = (strip(left), strip(right));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// `r` and `s` of an ECDSA signature, big endian, positive, without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EcdsaSignature<'a> {
    pub r: &'a [u8],
    pub s: &'a [u8],
}

impl<'a> EcdsaSignature<'a> {
    /// Reads `SEQUENCE { r, s }`; what follows `s`, in the sequence or after it, is ignored.
    pub fn parse(der: &'a [u8]) -> Result<Self, SignatureError> {
        let (sequence, _) = element(0x30, der)?;
        let (r, rest) = element(0x02, sequence)?;
        let (s, _) = element(0x02, rest)?;
        Ok(EcdsaSignature {
            r: positive(r)?,
            s: positive(s)?,
        })
    }

    /// Canonical DER.
    pub fn to_der(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.r.len() + self.s.len() + 8);
        for number in [self.r, self.s] {
            let sign_byte = usize::from(number.first().is_some_and(|&first| first >= 0x80));
            body.push(0x02);
            push_length(&mut body, number.len() + sign_byte);
            body.extend(std::iter::repeat_n(0, sign_byte));
            body.extend_from_slice(number);
        }
        let mut out = Vec::with_capacity(body.len() + 4);
        out.push(0x30);
        push_length(&mut out, body.len());
        out.extend(body);
        out
    }
}

/// Contents of the first element of `input`, which must have `tag` and a minimal length, and the rest.
fn element(tag: u8, input: &[u8]) -> Result<(&[u8], &[u8]), SignatureError> {
    const TRUNCATED: SignatureError = SignatureError::Malformed("truncated");
    let [found, first, rest @ ..] = input else {
        return Err(TRUNCATED);
    };
    if *found != tag {
        return Err(SignatureError::Malformed("unexpected tag"));
    }
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let [length, rest @ ..] = rest else {
                return Err(TRUNCATED);
            };
            if *length < 0x80 {
                return Err(SignatureError::Malformed("non-minimal length"));
            }
            (usize::from(*length), rest)
        }
        0x82 => {
            let [high, low, rest @ ..] = rest else {
                return Err(TRUNCATED);
            };
            if *high == 0 {
                return Err(SignatureError::Malformed(
                    "superfluous leading zeros in length",
                ));
            }
            (usize::from(*high) << 8 | usize::from(*low), rest)
        }
        _ => return Err(SignatureError::Malformed("unsupported length")),
    };
    rest.split_at_checked(length).ok_or(TRUNCATED)
}

fn positive(number: &[u8]) -> Result<&[u8], SignatureError> {
    match number {
        [] => Err(SignatureError::Malformed("empty integer")),
        [first, ..] if *first >= 0x80 => Err(SignatureError::Malformed(
            "R and S must be larger than zero",
        )),
        [0] => Err(SignatureError::Malformed(
            "R and S must be larger than zero",
        )),
        [0, second, ..] if *second < 0x80 => {
            Err(SignatureError::Malformed("integer not minimally-encoded"))
        }
        [0, rest @ ..] => Ok(rest),
        whole => Ok(whole),
    }
}

pub(crate) fn push_length(out: &mut Vec<u8>, length: usize) {
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let significant = strip(&bytes);
    out.push(0x80 | significant.len() as u8);
    out.extend_from_slice(significant);
}

/// The signature of a device that gives R and S as two numbers of one length, big endian, in the form that
/// goes over the wire: DER with S in the lower half. `None` when the length is not the curve's.
pub fn wire_signature(curve: Curve, r_and_s: &[u8]) -> Option<Vec<u8>> {
    if r_and_s.len() != curve.order().len() * 2 {
        return None;
    }
    let (r, s) = r_and_s.split_at(curve.order().len());
    let der = EcdsaSignature {
        r: strip(r),
        s: strip(s),
    }
    .to_der();
    Some(lowered(curve, &der).unwrap_or(der))
}

/// An ECDSA signature in DER, with S in the lower half of the order as Fabric wants it; as it is if
/// it cannot be read.
pub fn low_s(curve: Curve, der: &[u8]) -> Vec<u8> {
    lowered(curve, der).unwrap_or_else(|| der.to_vec())
}

/// The same signature with S in the lower half, or `None` if it already is there or cannot be read.
pub(crate) fn lowered(curve: Curve, der: &[u8]) -> Option<Vec<u8>> {
    let signature = EcdsaSignature::parse(der).ok()?;
    if curve.is_low(signature.s) || compare(signature.s, curve.order()).is_ge() {
        return None;
    }
    let negated = curve.negate(signature.s);
    Some(
        EcdsaSignature {
            r: signature.r,
            s: strip(&negated),
        }
        .to_der(),
    )
}

/// The signature as a normalizing signer would have written it; S stays where it is.
pub(crate) fn canonical(der: &[u8]) -> Result<Vec<u8>, SignatureError> {
    EcdsaSignature::parse(der).map(|signature| signature.to_der())
}

/// Whether `der` is exactly the DER that a normalizing signer would have made (fabric: IsWellFormed).
pub(crate) fn is_canonical(der: &[u8]) -> bool {
    canonical(der).is_ok_and(|written| written == der)
}

/// Hash of a certificate's or revocation list's own signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateHash {
    Sha256,
    Sha384,
    Sha512,
}

/// How a certificate or revocation list is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateSignature {
    Ecdsa(CertificateHash),
    Rsa(CertificateHash),
    RsaPss(CertificateHash),
    Ed25519,
    Unsupported,
}

/// A public key, parsed once so that verification does not parse it again.
#[derive(Debug, Clone)]
pub(crate) enum PublicKey {
    Ecdsa {
        curve: Curve,
        key: Box<ParsedPublicKey>,
    },
    Ed25519(Box<ParsedPublicKey>),
    Rsa(Vec<u8>),
    Unsupported(String),
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        fn bytes(key: &PublicKey) -> (u8, &[u8]) {
            match key {
                PublicKey::Ecdsa { curve, key } => (*curve as u8, (**key).as_ref()),
                PublicKey::Ed25519(key) => (10, (**key).as_ref()),
                PublicKey::Rsa(key) => (11, key),
                PublicKey::Unsupported(what) => (12, what.as_bytes()),
            }
        }
        bytes(self) == bytes(other)
    }
}

impl PublicKey {
    /// An elliptic curve key from its SEC1 point.
    pub fn ecdsa(curve: Curve, point: &[u8]) -> Self {
        match ParsedPublicKey::new(curve.verification(CertificateHash::Sha256), point) {
            Ok(key) => PublicKey::Ecdsa {
                curve,
                key: Box::new(key),
            },
            Err(error) => PublicKey::Unsupported(format!("elliptic curve point: {error}")),
        }
    }

    pub fn ed25519(bytes: &[u8]) -> Self {
        match ParsedPublicKey::new(&aws::ED25519, bytes) {
            Ok(key) => PublicKey::Ed25519(Box::new(key)),
            Err(error) => PublicKey::Unsupported(format!("Ed25519: {error}")),
        }
    }

    /// Verifies a signature over `message`, in pieces, by the rules for identities.
    pub fn verify(
        &self,
        family: HashFamily,
        message: &[&[u8]],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        match self {
            PublicKey::Ecdsa { curve, key } => {
                let digest = family.digest(message).ok_or(SignatureError::UnknownHash)?;
                let parsed = EcdsaSignature::parse(signature)?;
                if !curve.is_low(parsed.s) {
                    return Err(SignatureError::HighS);
                }
                key.verify_digest_sig(&digest, &parsed.to_der())
                    .map_err(|_| SignatureError::Invalid)
            }
            PublicKey::Ed25519(key) => key
                .verify_sig(&message.concat(), signature)
                .map_err(|_| SignatureError::Invalid),
            PublicKey::Rsa(_) => Err(SignatureError::UnsupportedKey("RSA".into())),
            PublicKey::Unsupported(what) => Err(SignatureError::UnsupportedKey(what.clone())),
        }
    }

    /// Verifies the signature of a certificate or revocation list by the rules of X.509.
    pub fn verify_certificate(
        &self,
        kind: CertificateSignature,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        use CertificateHash::{Sha256, Sha384, Sha512};
        let verified = match (self, kind) {
            (PublicKey::Ecdsa { curve, key }, CertificateSignature::Ecdsa(hash)) => {
                let point: &[u8] = (**key).as_ref();
                UnparsedPublicKey::new(curve.verification(hash), point).verify(message, signature)
            }
            (PublicKey::Ed25519(key), CertificateSignature::Ed25519) => {
                key.verify_sig(message, signature)
            }
            (PublicKey::Rsa(key), CertificateSignature::Rsa(hash)) => {
                let algorithm: &aws::RsaParameters = match hash {
                    Sha256 => &aws::RSA_PKCS1_2048_8192_SHA256,
                    Sha384 => &aws::RSA_PKCS1_2048_8192_SHA384,
                    Sha512 => &aws::RSA_PKCS1_2048_8192_SHA512,
                };
                UnparsedPublicKey::new(algorithm, key).verify(message, signature)
            }
            (PublicKey::Rsa(key), CertificateSignature::RsaPss(hash)) => {
                let algorithm: &aws::RsaParameters = match hash {
                    Sha256 => &aws::RSA_PSS_2048_8192_SHA256,
                    Sha384 => &aws::RSA_PSS_2048_8192_SHA384,
                    Sha512 => &aws::RSA_PSS_2048_8192_SHA512,
                };
                UnparsedPublicKey::new(algorithm, key).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}
