//! Keys of authorities and of those who enrol: made here, written as PKCS#8 PEM, signing with low S.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use consilium_msp::{Curve, low_s};
use der::asn1::{Any, ObjectIdentifier};
use der::pem::LineEnding;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use spki::AlgorithmIdentifierOwned;
use zeroize::Zeroizing;

/// What can be wrong with a key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// No private key of a known kind in PEM: PKCS#8, SEC1 or PKCS#1.
    #[error(
        "not a private key of ECDSA (P-256, P-384, P-521) or RSA (2048 to 4096 bits) in PEM: {0}"
    )]
    Unreadable(String),
    /// The random source or the library failed.
    #[error("the cryptographic library failed: {0}")]
    Failed(&'static str),
    /// A kind of key that is not made here.
    #[error(
        "keys of the kind {algorithm} with {size} bits are not supported; use ecdsa with 256, 384 \
         or 521 bits, or rsa with 2048, 3072 or 4096"
    )]
    Unsupported {
        /// Its algorithm.
        algorithm: String,
        /// Its size in bits.
        size: u32,
    },
    /// Fabric CA's tokens are signed with ECDSA only.
    #[error(
        "an RSA key cannot sign requests to a certificate authority, which knows tokens of ECDSA \
         only; enroll an identity with an ECDSA key for that"
    )]
    NoTokens,
}

/// A kind of key: Fabric CA's `csr.keyrequest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on NIST P-256, what everybody uses.
    #[default]
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521, which Fabric's own programs do not make.
    EcdsaP521,
    /// RSA with 2048 bits. RSA is for TLS: Fabric's members sign with ECDSA.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// The kind with this algorithm (`ecdsa` if empty) and size in bits (256 for `ecdsa` if 0).
    ///
    /// # Errors
    /// [`KeyError::Unsupported`], with those that are.
    pub fn named(algorithm: &str, size: u32) -> Result<Self, KeyError> {
        let name = match algorithm {
            "" => "ecdsa",
            name => name,
        };
        let bits = match (name, size) {
            ("ecdsa", 0) => 256,
            (_, size) => size,
        };
        let found = Self::ALL
            .into_iter()
            .find(|kind| (kind.algorithm(), kind.bits()) == (name, bits));
        found.ok_or_else(|| KeyError::Unsupported {
            algorithm: name.to_owned(),
            size,
        })
    }

    /// `ecdsa` or `rsa`.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => "ecdsa",
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => "rsa",
        }
    }

    /// Its size.
    pub fn bits(self) -> u32 {
        match self {
            Self::EcdsaP256 => 256,
            Self::EcdsaP384 => 384,
            Self::EcdsaP521 => 521,
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        }
    }
}

/// A key pair.
pub struct SigningKey {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Ecdsa(Curve, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// A fresh key on P-256 and its PKCS#8 PEM.
    ///
    /// # Errors
    /// The library failed.
    pub fn generate() -> Result<(Self, Zeroizing<String>), KeyError> {
        Self::generate_for(KeyKind::default())
    }

    /// A fresh key and its PKCS#8 PEM.
    ///
    /// # Errors
    /// The library failed.
    pub fn generate_for(kind: KeyKind) -> Result<(Self, Zeroizing<String>), KeyError> {
        let pair = match kind {
            KeyKind::EcdsaP256 => Pair::on(Curve::P256),
            KeyKind::EcdsaP384 => Pair::on(Curve::P384),
            KeyKind::EcdsaP521 => Pair::on(Curve::P521),
            KeyKind::Rsa2048 => Pair::of(KeySize::Rsa2048),
            KeyKind::Rsa3072 => Pair::of(KeySize::Rsa3072),
            KeyKind::Rsa4096 => Pair::of(KeySize::Rsa4096),
        }
        .map_err(|_| KeyError::Failed("no key could be made"))?;
        let unwritten = |_| KeyError::Failed("the key could not be written");
        let pem = |document: &[u8]| {
            der::pem::encode_string("PRIVATE KEY", LineEnding::LF, document)
                .map(Zeroizing::new)
                .map_err(|_| KeyError::Failed("the key could not be written"))
        };
        let pem = match &pair {
            Pair::Ecdsa(_, pair) => pem(pair.to_pkcs8v1().map_err(unwritten)?.as_ref())?,
            Pair::Rsa(pair) => {
                let document: Pkcs8V1Der<'_> = pair.as_der().map_err(unwritten)?;
                pem(document.as_ref())?
            }
        };
        let random = SystemRandom::new();
        Ok((Self { pair, random }, pem))
    }

    /// Reads PKCS#8, SEC1 or PKCS#1.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let unreadable = |error: &dyn std::fmt::Display| KeyError::Unreadable(error.to_string());
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| unreadable(&error))?;
        let der = key.secret_der();
        let rsa = match &key {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(der),
            _ => RsaKeyPair::from_pkcs8(der),
        };
        let random = SystemRandom::new();
        if let Ok(pair) = rsa {
            let pair = Pair::Rsa(pair);
            return Ok(Self { pair, random });
        }
        let mut failure = String::new();
        for curve in [Curve::P521, Curve::P384, Curve::P256] {
            match EcdsaKeyPair::from_private_key_der(signing(curve), der) {
                Ok(pair) => {
                    let pair = Pair::Ecdsa(curve, pair);
                    return Ok(Self { pair, random });
                }
                Err(error) => failure = error.to_string(),
            }
        }
        Err(KeyError::Unreadable(failure))
    }

    /// SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// The library failed.
    pub fn public_key(&self) -> Result<Vec<u8>, KeyError> {
        let written: Result<PublicKeyX509Der<'_>, _> = match &self.pair {
            Pair::Ecdsa(_, pair) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
        };
        let written =
            written.map_err(|_| KeyError::Failed("the public key could not be written"))?;
        Ok(written.as_ref().to_vec())
    }

    /// A signature over `message` with [`signature_algorithm`](Self::signature_algorithm); of ECDSA
    /// DER, S in the lower half.
    ///
    /// # Errors
    /// The library failed.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Failed("signing failed");
        match &self.pair {
            Pair::Ecdsa(curve, pair) => {
                let signature = pair.sign(&self.random, message).map_err(failed)?;
                Ok(low_s(*curve, signature.as_ref()))
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let (_, encoding) = rsa_hash(pair.public_modulus_len());
                pair.sign(encoding, &self.random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }

    /// How [`sign`](Self::sign) signs: with the hash that fits the key's strength, as certificates
    /// are signed (cfssl: `signer.DefaultSigAlgo`).
    pub fn signature_algorithm(&self) -> AlgorithmIdentifierOwned {
        let (oid, parameters) = match &self.pair {
            Pair::Ecdsa(Curve::P256, _) => ("1.2.840.10045.4.3.2", None),
            Pair::Ecdsa(Curve::P384, _) => ("1.2.840.10045.4.3.3", None),
            Pair::Ecdsa(Curve::P521, _) => ("1.2.840.10045.4.3.4", None),
            // RFC 4055, section 5: with NULL.
            Pair::Rsa(pair) => (rsa_hash(pair.public_modulus_len()).0, Some(Any::null())),
        };
        AlgorithmIdentifierOwned {
            oid: ObjectIdentifier::new_unwrap(oid),
            parameters,
        }
    }

    /// ECDSA over SHA-256 of `message` whatever the curve, as members of Fabric sign; DER, S in the
    /// lower half.
    ///
    /// # Errors
    /// An RSA key, or the library failed.
    pub fn sign_as_member(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let Pair::Ecdsa(curve, pair) = &self.pair else {
            return Err(KeyError::NoTokens);
        };
        // The library signs with the hash of the pair only. Zeros before a hash do not change the
        // number that ECDSA makes of it.
        let (own, length) = match curve {
            Curve::P256 => (&digest::SHA256, 32),
            Curve::P384 => (&digest::SHA384, 48),
            Curve::P521 => (&digest::SHA512, 64),
        };
        let hash = digest::digest(&digest::SHA256, message);
        let mut padded = vec![0; length - hash.as_ref().len()];
        padded.extend_from_slice(hash.as_ref());
        let failed = |_| KeyError::Failed("signing failed");
        let hash = Digest::import_less_safe(&padded, own).map_err(failed)?;
        let signature = pair.sign_digest(&hash).map_err(failed)?;
        Ok(low_s(*curve, signature.as_ref()))
    }
}

impl Pair {
    fn on(curve: Curve) -> Result<Self, aws_lc_rs::error::Unspecified> {
        Ok(Self::Ecdsa(curve, EcdsaKeyPair::generate(signing(curve))?))
    }

    fn of(size: KeySize) -> Result<Self, aws_lc_rs::error::Unspecified> {
        Ok(Self::Rsa(RsaKeyPair::generate(size)?))
    }
}

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        Curve::P521 => &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
    }
}

/// The signature algorithm for a modulus of so many bytes (RFC 8017, A.2.4).
fn rsa_hash(bytes: usize) -> (&'static str, &'static dyn RsaEncoding) {
    match bytes * 8 {
        4096.. => ("1.2.840.113549.1.1.13", &signature::RSA_PKCS1_SHA512),
        3072.. => ("1.2.840.113549.1.1.12", &signature::RSA_PKCS1_SHA384),
        _ => ("1.2.840.113549.1.1.11", &signature::RSA_PKCS1_SHA256),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{UnparsedPublicKey, VerificationAlgorithm};

    use super::*;

    #[test]
    fn every_kind_of_key_signs_and_is_read_again() {
        let cases: [(KeyKind, &dyn VerificationAlgorithm); 6] = [
            (KeyKind::EcdsaP256, &signature::ECDSA_P256_SHA256_ASN1),
            (KeyKind::EcdsaP384, &signature::ECDSA_P384_SHA384_ASN1),
            (KeyKind::EcdsaP521, &signature::ECDSA_P521_SHA512_ASN1),
            (KeyKind::Rsa2048, &signature::RSA_PKCS1_2048_8192_SHA256),
            (KeyKind::Rsa3072, &signature::RSA_PKCS1_2048_8192_SHA384),
            (KeyKind::Rsa4096, &signature::RSA_PKCS1_2048_8192_SHA512),
        ];
        for (kind, algorithm) in cases {
            let (key, pem) = SigningKey::generate_for(kind).unwrap();
            let again = SigningKey::from_pem(pem.as_bytes()).unwrap();
            assert_eq!(key.public_key().unwrap(), again.public_key().unwrap());
            let public = match &key.pair {
                Pair::Ecdsa(_, pair) => pair.public_key().as_ref().to_vec(),
                Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            };
            let signature = again.sign(b"message").unwrap();
            UnparsedPublicKey::new(algorithm, &public)
                .verify(b"message", &signature)
                .unwrap_or_else(|_| panic!("{kind:?}"));
        }
    }

    #[test]
    fn members_sign_with_sha256_on_every_curve_and_with_a_low_s() {
        let cases: [(KeyKind, Curve, &dyn VerificationAlgorithm); 3] = [
            (
                KeyKind::EcdsaP256,
                Curve::P256,
                &signature::ECDSA_P256_SHA256_ASN1,
            ),
            (
                KeyKind::EcdsaP384,
                Curve::P384,
                &signature::ECDSA_P384_SHA256_ASN1,
            ),
            (
                KeyKind::EcdsaP521,
                Curve::P521,
                &signature::ECDSA_P521_SHA256_ASN1,
            ),
        ];
        for (kind, curve, algorithm) in cases {
            let (key, _) = SigningKey::generate_for(kind).unwrap();
            let Pair::Ecdsa(_, pair) = &key.pair else {
                panic!("{kind:?}");
            };
            let public = UnparsedPublicKey::new(algorithm, pair.public_key().as_ref());
            for number in 0..20_u8 {
                let signature = key.sign_as_member(&[number]).unwrap();
                public.verify(&[number], &signature).unwrap();
                assert_eq!(low_s(curve, &signature), signature, "{kind:?}");
                let signature = key.sign(&[number]).unwrap();
                assert_eq!(low_s(curve, &signature), signature, "{kind:?}");
            }
        }
        let (rsa, _) = SigningKey::generate_for(KeyKind::Rsa2048).unwrap();
        let refused = rsa.sign_as_member(b"x").unwrap_err().to_string();
        assert!(refused.contains("ECDSA only"), "{refused}");
    }

    #[test]
    fn kinds_have_fabric_cas_names() {
        for (algorithm, size, expected) in [
            ("", 0, Some(KeyKind::EcdsaP256)),
            ("ecdsa", 0, Some(KeyKind::EcdsaP256)),
            ("ecdsa", 256, Some(KeyKind::EcdsaP256)),
            ("", 384, Some(KeyKind::EcdsaP384)),
            ("ecdsa", 521, Some(KeyKind::EcdsaP521)),
            ("rsa", 2048, Some(KeyKind::Rsa2048)),
            ("rsa", 3072, Some(KeyKind::Rsa3072)),
            ("rsa", 4096, Some(KeyKind::Rsa4096)),
            ("rsa", 0, None),
            ("rsa", 256, None),
            ("rsa", 1024, None),
            ("ecdsa", 224, None),
            ("ecdsa", 2048, None),
            ("ed25519", 0, None),
            ("ECDSA", 256, None),
        ] {
            let named = KeyKind::named(algorithm, size);
            assert_eq!(named.clone().ok(), expected, "{algorithm} {size}");
            if let Err(refused) = named {
                assert!(refused.to_string().contains("2048, 3072 or 4096"));
            }
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
