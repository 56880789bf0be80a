//! A document's key on its way to a requester: HPKE (RFC 9180), base mode, one message.
//!
//! It goes from vault to requester directly, never through the ledger, which gets only
//! [`Handover::fingerprint`] (`ConfirmRelease`). The primitives are rustls' on aws-lc-rs, the
//! provider of the whole workspace.

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

use super::keyring::open_document;
use super::{Binding, Sealed, VaultError, hash};

/// The suite of every handover: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, by their
/// numbers in RFC 9180 §7.
pub const HANDOVER_SUITE: &str = "HPKE-0020-0001-0002";
const PUBLIC_LEN: usize = 32;
const INFO_LABEL: &[u8] = b"consilium handover 1";

/// Who gets a key, and on which decision of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// X25519, 32 bytes. That it is the requester's has to be known from the requester's signature.
    pub public_key: &'a [u8],
    /// The access decision that permits it; a handover for one decision does not open under
    /// another.
    pub access_id: &'a str,
}

/// A document's key, encrypted to one requester for one access decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    encapsulated: Vec<u8>,
    sealed_key: Vec<u8>,
}

impl Handover {
    pub(super) fn seal(
        to: &Recipient<'_>,
        aad: &[u8],
        data_key: &[u8],
    ) -> Result<Self, VaultError> {
        if to.public_key.len() != PUBLIC_LEN {
            return Err(VaultError::BadPublicKey);
        }
        let public = HpkePublicKey(to.public_key.to_vec());
        let (encapsulated, sealed_key) = SUITE
            .seal(&info(to.access_id), aad, data_key, &public)
            // The length is right, so the point is one that gives no shared secret.
            .map_err(|_| VaultError::BadPublicKey)?;
        Ok(Handover {
            encapsulated: encapsulated.0,
            sealed_key,
        })
    }

    /// The encapsulated secret (32 bytes), then the encrypted key and its tag.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.encapsulated[..], &self.sealed_key].concat()
    }

    /// Takes [`Handover::to_bytes`] apart.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when it is too short to be one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let (encapsulated, sealed_key) = bytes
            .split_at_checked(PUBLIC_LEN)
            .ok_or(VaultError::Tampered)?;
        Ok(Handover {
            encapsulated: encapsulated.to_vec(),
            sealed_key: sealed_key.to_vec(),
        })
    }

    /// What `ConfirmRelease` writes to the ledger: SHA-256 of the bytes, which are encrypted.
    pub fn fingerprint(&self) -> String {
        hash(&self.to_bytes())
    }
}

fn info(access_id: &str) -> Vec<u8> {
    [INFO_LABEL, &[0x1f], access_id.as_bytes()].concat()
}

/// A requester's own key pair, X25519, for one or more handovers.
pub struct RequesterKey {
    public: Vec<u8>,
    secret: HpkePrivateKey,
}

impl RequesterKey {
    /// A fresh pair.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`].
    pub fn generate() -> Result<Self, VaultError> {
        let (public, secret) = SUITE
            .generate_key_pair()
            .map_err(|_| VaultError::NoRandomness)?;
        Ok(RequesterKey {
            public: public.0,
            secret,
        })
    }

    /// A pair that was kept: 32 bytes each.
    pub fn from_bytes(public: [u8; PUBLIC_LEN], secret: Zeroizing<[u8; PUBLIC_LEN]>) -> Self {
        RequesterKey {
            public: public.to_vec(),
            secret: HpkePrivateKey::from(secret.to_vec()),
        }
    }

    /// What the custodian is given.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Decrypts a document that was handed over; `wrapped_key` of `sealed` is not looked at.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] when anything is not what the decision, the record and its
    /// fingerprint say.
    pub fn open(
        &self,
        access_id: &str,
        handover: &Handover,
        epoch: u32,
        binding: &Binding<'_>,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, VaultError> {
        let data_key = SUITE
            .open(
                &EncapsulatedSecret(handover.encapsulated.clone()),
                &info(access_id),
                &binding.aad("handover", epoch),
                &handover.sealed_key,
                &self.secret,
            )
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Tampered)?;
        open_document(
            &data_key,
            epoch,
            binding,
            &sealed.ciphertext,
            &sealed.fingerprint,
        )
    }
}
