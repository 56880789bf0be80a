//! AES-256-GCM with random nonces, random keys, and what of a key may be shown.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

use super::{KEY_LEN, VaultError};
use crate::commitment::tag;

const TAG_LEN: usize = 16;

/// What the ledger may know of a random key: HMAC-SHA-256 under it over a label, lower-case
/// hexadecimal. Nothing about the key follows from it, nor from two of them.
pub(super) fn fingerprint(key: &[u8; KEY_LEN], label: &str, values: &[&[u8]]) -> String {
    tag(&hmac::Key::new(hmac::HMAC_SHA256, key), label, values)
}

pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, VaultError> {
    let mut bytes = Zeroizing::new([0u8; N]);
    rand::fill(bytes.as_mut()).map_err(|_| VaultError::NoRandomness)?;
    Ok(bytes)
}

fn cipher(key: &[u8; KEY_LEN]) -> LessSafeKey {
    // The key has the algorithm's length.
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"))
}

/// Nonce, ciphertext, tag.
pub(super) fn encrypt(
    key: &[u8; KEY_LEN],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let nonce: Zeroizing<[u8; NONCE_LEN]> = random()?;
    let mut out = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LEN);
    out.extend_from_slice(nonce.as_ref());
    let mut body = plaintext.to_vec();
    cipher(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            &mut body,
        )
        // Fails only beyond 64 GiB, which no memory of ours holds.
        .map_err(|_| VaultError::Tampered)?;
    out.append(&mut body);
    Ok(out)
}

/// Undoes [`encrypt`] under the same additional data.
pub(super) fn decrypt(
    key: &[u8; KEY_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, body) = sealed
        .split_at_checked(NONCE_LEN)
        .ok_or(VaultError::Tampered)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Tampered)?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = cipher(key)
        .open_in_place(nonce, Aad::from(aad), &mut body)
        .map_err(|_| VaultError::Tampered)?
        .len();
    body.truncate(length);
    Ok(body)
}
