//! Private keys of every kind that certificates may have.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};

use crate::der;
use crate::pem;

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// Elliptic curve P-256, as everybody uses.
    #[default]
    P256,
    /// Elliptic curve P-384.
    P384,
    /// Elliptic curve P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits, which no identity may have.
    Rsa,
}

/// A private key, made at run time.
pub struct Key {
    kind: KeyKind,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// A new key.
    ///
    /// # Panics
    /// When the system gives no randomness.
    pub fn generate(kind: KeyKind) -> Self {
        let ecdsa = |algorithm| Pair::Ecdsa(EcdsaKeyPair::generate(algorithm).expect("randomness"));
        let pair = match kind {
            KeyKind::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyKind::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyKind::P521 => ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING),
            KeyKind::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().expect("randomness")),
            KeyKind::Rsa => Pair::Rsa(Box::new(
                RsaKeyPair::generate(KeySize::Rsa2048).expect("randomness"),
            )),
        };
        Key { kind, pair }
    }

    /// The key as PKCS#8 PEM.
    ///
    /// # Panics
    /// When the library cannot encode its own key.
    pub fn pem(&self) -> String {
        let der: Vec<u8> = match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().expect("own key").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().expect("own key").as_ref().to_vec(),
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(&**pair)
                .expect("own key")
                .as_ref()
                .to_vec(),
        };
        pem::encode("PRIVATE KEY", &der)
    }

    /// The public key's bits: an uncompressed point, 32 bytes, or a PKCS#1 key.
    pub fn public_bits(&self) -> &[u8] {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    /// DER of the SubjectPublicKeyInfo.
    pub(crate) fn public_info(&self) -> Vec<u8> {
        let elliptic =
            |curve: &str| der::sequence(&[der::oid("1.2.840.10045.2.1"), der::oid(curve)]);
        let algorithm = match self.kind {
            KeyKind::P256 => elliptic("1.2.840.10045.3.1.7"),
            KeyKind::P384 => elliptic("1.3.132.0.34"),
            KeyKind::P521 => elliptic("1.3.132.0.35"),
            KeyKind::Ed25519 => der::sequence(&[der::oid("1.3.101.112")]),
            KeyKind::Rsa => {
                der::sequence(&[der::oid("1.2.840.113549.1.1.1"), der::element(0x05, &[])])
            }
        };
        der::sequence(&[algorithm, der::bits(self.public_bits())])
    }

    /// DER of the algorithm that [`Key::sign`] uses.
    pub(crate) fn signature_algorithm(&self) -> Vec<u8> {
        match self.kind {
            KeyKind::P256 => der::sequence(&[der::oid("1.2.840.10045.4.3.2")]),
            KeyKind::P384 => der::sequence(&[der::oid("1.2.840.10045.4.3.3")]),
            KeyKind::P521 => der::sequence(&[der::oid("1.2.840.10045.4.3.4")]),
            KeyKind::Ed25519 => der::sequence(&[der::oid("1.3.101.112")]),
            KeyKind::Rsa => {
                der::sequence(&[der::oid("1.2.840.113549.1.1.11"), der::element(0x05, &[])])
            }
        }
    }

    /// Signs as certificates are signed: with the hash of the curve's size and any S.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => pair
                .sign(&random, message)
                .expect("signing")
                .as_ref()
                .to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("signing");
                signature
            }
        }
    }
}
