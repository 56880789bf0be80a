//! Numbers of the national electronic health card, for interoperability. **Off the ledger only**:
//! they are computed by the issuer's own service, can be turned back into the identity number by
//! whoever has the root key, and so are personal data that never goes into a transaction.
//!
//! From the card centre's root key and a person's main index follows a user key; under it the
//! type and number of the identity document are encrypted. SM4 (GB/T 32907) in ECB mode, as that
//! system's specification has it: equal blocks show, and nothing is authenticated.

use sm4::Sm4;
use sm4::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

const BLOCK: usize = 16;
/// Bytes of an encrypted identity document.
pub const NUMBER_LEN: usize = 32;

/// Why a number could not be made or read. Says nothing about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NationalError {
    /// The type has two digits; with the number they are at most 32 bytes, none of them zero.
    #[error("type and number of the document do not fit into 32 bytes")]
    Document,
    /// Decrypting gave no type and number: another key, or changed bytes.
    #[error("not a number under this key")]
    Number,
}

/// The factor of a person: XOR of the four 8-byte groups of the main index.
pub fn factor(main_index: &[u8; 32]) -> [u8; 8] {
    let mut factor = [0; 8];
    for (place, byte) in main_index.iter().enumerate() {
        factor[place % 8] ^= byte;
    }
    factor
}

/// The person's key: the root key's encryption of the factor and its complement.
pub fn user_key(root: &[u8; 16], main_index: &[u8; 32]) -> Zeroizing<[u8; 16]> {
    let factor = factor(main_index);
    let mut block = Zeroizing::new([0; BLOCK]);
    block[..8].copy_from_slice(&factor);
    for (to, from) in block[8..].iter_mut().zip(factor) {
        *to = !from;
    }
    encrypt(&cipher(root), block.as_mut());
    block
}

/// The card's number: type (two digits, [`super::identity::Scheme::code`]) and number of the
/// document, filled up with zeros, under the person's key.
///
/// # Errors
/// [`NationalError::Document`].
pub fn seal(
    user_key: &[u8; 16],
    id_type: &str,
    id_number: &str,
) -> Result<[u8; NUMBER_LEN], NationalError> {
    let bytes = || id_type.bytes().chain(id_number.bytes());
    let is_type = id_type.len() == 2 && id_type.bytes().all(|b| b.is_ascii_digit());
    if !is_type || id_number.is_empty() || bytes().count() > NUMBER_LEN || bytes().any(|b| b == 0) {
        return Err(NationalError::Document);
    }
    let mut number = [0; NUMBER_LEN];
    for (to, from) in number.iter_mut().zip(bytes()) {
        *to = from;
    }
    let cipher = cipher(user_key);
    number
        .chunks_exact_mut(BLOCK)
        .for_each(|block| encrypt(&cipher, block));
    Ok(number)
}

/// Type and number of the document behind a card's number.
///
/// # Errors
/// [`NationalError::Number`] when this key did not make it.
pub fn open(
    user_key: &[u8; 16],
    number: &[u8; NUMBER_LEN],
) -> Result<(String, String), NationalError> {
    let cipher = cipher(user_key);
    let mut plain = Zeroizing::new(*number);
    for block in plain.chunks_exact_mut(BLOCK) {
        // The chunks have the block's length.
        let block: &mut [u8; BLOCK] = block.try_into().expect("16 bytes");
        cipher.decrypt_block(Array::cast_from_core_mut(block));
    }
    let length = plain
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let text = std::str::from_utf8(&plain[..length]).map_err(|_| NationalError::Number)?;
    let (id_type, id_number) = text.split_at_checked(2).ok_or(NationalError::Number)?;
    if id_number.is_empty() || !id_type.bytes().all(|b| b.is_ascii_digit()) || text.contains('\0') {
        return Err(NationalError::Number);
    }
    Ok((id_type.to_owned(), id_number.to_owned()))
}

fn cipher(key: &[u8; 16]) -> Sm4 {
    Sm4::new(Array::cast_from_core(key))
}

fn encrypt(cipher: &Sm4, block: &mut [u8]) {
    // Callers pass whole blocks.
    let block: &mut [u8; BLOCK] = block.try_into().expect("16 bytes");
    cipher.encrypt_block(Array::cast_from_core_mut(block));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOT: &str = "0123456789abcdeffedcba9876543210";
    const INDEX: &str = "abd17e7ed399ef68ab5660155d6e226d2c92eac3254a4a66bed83aed0ada1e9e";

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_block_cipher_is_that_of_gb_t_32907() {
        // Example 1 of the standard's annex: key and plaintext are the same.
        let mut block: [u8; 16] = bytes(ROOT);
        encrypt(&cipher(&bytes(ROOT)), &mut block);
        assert_eq!(hex::encode(block), "681edf34d206965e86b3e94f536e4246");
    }

    #[test]
    fn the_known_answers_of_the_national_card() {
        assert_eq!(hex::encode(factor(&bytes(INDEX))), "92cdce45a16799fd");
        let key = user_key(&bytes(ROOT), &bytes(INDEX));
        assert_eq!(hex::encode(*key), "86c63180c2806ed1f47b859de501215b");
        let number = seal(&key, "01", "11010020171225006X").unwrap();
        assert_eq!(
            hex::encode(number),
            "98ff9f2c05145cb9305e9d8a57e072bb51180ca49e5be5e9d41bce3a9a571928"
        );
        let opened = open(&key, &number).unwrap();
        assert_eq!(opened, ("01".to_owned(), "11010020171225006X".to_owned()));
        assert_eq!(open(&bytes(ROOT), &number), Err(NationalError::Number));
    }

    #[test]
    fn a_document_that_does_not_fit_is_refused() {
        let long = "1".repeat(31);
        for (id_type, number) in [
            ("1", "1"),
            ("0x", "1"),
            ("01", ""),
            ("01", &long),
            ("01", "1\0"),
        ] {
            assert_eq!(
                seal(&[0; 16], id_type, number),
                Err(NationalError::Document),
                "{id_type} {number}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_to_itself(key: [u8; 16], id_type in "[0-9]{2}", number in "[ -~]{1,30}") {
            let sealed = seal(&key, &id_type, &number).unwrap();
            prop_assert_eq!(open(&key, &sealed).unwrap(), (id_type, number));
        }

        #[test]
        fn anything_else_opens_to_a_refusal_or_to_text(key: [u8; 16], number: [u8; 32]) {
            if let Ok((id_type, id_number)) = open(&key, &number) {
                prop_assert_eq!(seal(&key, &id_type, &id_number).unwrap(), number);
            }
        }
    }
}
