//! ECDSA P-256 keys: made here, written as PKCS#8 PEM, signing with low S.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use der::asn1::UintRef;
use der::pem::LineEnding;
use der::{Encode, Sequence};
use spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

/// Half of the order of P-256, rounded down: the largest S that Fabric accepts.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// What can be wrong with a key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// No PKCS#8 or SEC1 key in PEM for the curve P-256.
    #[error("not a P-256 private key in PEM: {0}")]
    Unreadable(String),
    /// The random source or the library failed.
    #[error("the cryptographic library failed: {0}")]
    Failed(&'static str),
}

/// A P-256 key pair.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

impl SigningKey {
    /// A fresh key and its PKCS#8 PEM.
    pub fn generate() -> Result<(Self, Zeroizing<String>), KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| KeyError::Failed("no key could be made"))?;
        let document = pair
            .to_pkcs8v1()
            .map_err(|_| KeyError::Failed("the key could not be written"))?;
        let pem = der::pem::encode_string("PRIVATE KEY", LineEnding::LF, document.as_ref())
            .map_err(|_| KeyError::Failed("the key could not be written"))?;
        let random = SystemRandom::new();
        Ok((Self { pair, random }, Zeroizing::new(pem)))
    }

    /// Reads PKCS#8 or SEC1.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let key = <rustls::pki_types::PrivateKeyDer as rustls::pki_types::pem::PemObject>::from_pem_slice(pem)
            .map_err(|error| KeyError::Unreadable(error.to_string()))?;
        let pair =
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der())
                .map_err(|error| KeyError::Unreadable(error.to_string()))?;
        let random = SystemRandom::new();
        Ok(Self { pair, random })
    }

    /// SubjectPublicKeyInfo in DER.
    pub fn public_key(&self) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Failed("the public key could not be written");
        let point = self.pair.public_key().as_ref();
        let curve = der::asn1::ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
        SubjectPublicKeyInfoRef {
            algorithm: spki::AlgorithmIdentifier {
                oid: der::asn1::ObjectIdentifier::new_unwrap("1.2.840.10045.2.1"),
                parameters: Some((&curve).into()),
            },
            subject_public_key: der::asn1::BitStringRef::from_bytes(point).map_err(failed)?,
        }
        .to_der()
        .map_err(failed)
    }

    /// ECDSA over SHA-256 of `message`, DER, S in the lower half.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // Nonces are random, so every second try has a low S: 128 failures do not happen.
        for _ in 0..128 {
            let fixed = self
                .pair
                .sign(&self.random, message)
                .map_err(|_| KeyError::Failed("signing failed"))?;
            let Some((r, s)) = fixed.as_ref().split_at_checked(32) else {
                return Err(KeyError::Failed("signature of an unexpected length"));
            };
            if s <= HALF_ORDER.as_slice() {
                let failed = |_| KeyError::Failed("the signature could not be written");
                return EcdsaSignature {
                    r: UintRef::new(r).map_err(failed)?,
                    s: UintRef::new(s).map_err(failed)?,
                }
                .to_der()
                .map_err(failed);
            }
        }
        Err(KeyError::Failed("no signature with a low S was found"))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

    use super::*;

    #[test]
    fn signatures_verify_and_have_a_low_s() {
        let (key, pem) = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(key.public_key().unwrap(), again.public_key().unwrap());
        let public =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.pair.public_key().as_ref());
        for number in 0..50_u8 {
            let signature = again.sign(&[number]).unwrap();
            public.verify(&[number], &signature).unwrap();
            let parsed = <EcdsaSignature as der::Decode>::from_der(&signature).unwrap();
            let mut s = [0; 32];
            let bytes = parsed.s.as_bytes();
            s[32 - bytes.len()..].copy_from_slice(bytes);
            assert!(s <= HALF_ORDER);
        }
    }

    #[test]
    fn other_texts_are_not_keys() {
        for text in [
            "",
            "hello",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert!(SigningKey::from_pem(text.as_bytes()).is_err(), "{text}");
        }
    }
}
