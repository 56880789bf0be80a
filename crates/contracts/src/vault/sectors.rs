//! Pseudonyms: one per person, organization, purpose and epoch.
//!
//! The key of each sector and epoch is random by itself and derived from nothing: a key that could
//! be derived again would not be destroyed by deleting it. On the ledger, contract `privacy`, are
//! fingerprints of the keys only.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::cipher::{fingerprint, random};
use super::{KEY_LEN, VaultError};

const KEY_LABEL: &str = "consilium sector key 1";
const PSEUDONYM_CHARS: usize = 26;
const MAX_PROJECT_CHARS: usize = 64;

/// What a pseudonym is for. Pseudonyms of two sectors cannot be joined without their keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sector {
    /// Treatment: records, consents, access.
    Care,
    /// Claims and payments.
    Pay,
    /// Implants and recalls.
    Device,
    /// One research project, by its id.
    Research(String),
}

/// A text that names no sector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sector is care, pay, device or research:<project>, the project an id of 1 to {MAX_PROJECT_CHARS} letters, digits, '-' or '.'"
)]
pub struct SectorError;

impl fmt::Display for Sector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sector::Care => f.write_str("care"),
            Sector::Pay => f.write_str("pay"),
            Sector::Device => f.write_str("device"),
            Sector::Research(project) => write!(f, "research:{project}"),
        }
    }
}

impl FromStr for Sector {
    type Err = SectorError;

    fn from_str(text: &str) -> Result<Self, SectorError> {
        match text {
            "care" => Ok(Sector::Care),
            "pay" => Ok(Sector::Pay),
            "device" => Ok(Sector::Device),
            _ => text
                .strip_prefix("research:")
                .filter(|project| {
                    (1..=MAX_PROJECT_CHARS).contains(&project.len())
                        && project
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
                })
                .map(|project| Sector::Research(project.to_owned()))
                .ok_or(SectorError),
        }
    }
}

/// The sector keys of one organization, by epoch.
#[derive(Default)]
pub struct SectorKeys {
    keys: BTreeMap<(Sector, u32), Zeroizing<[u8; KEY_LEN]>>,
    /// The latest epoch of each sector, whether or not its key is still there.
    latest: BTreeMap<Sector, u32>,
}

impl SectorKeys {
    /// Without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the key of the sector's next epoch, from 1, and gives the epoch's number and the
    /// fingerprint for `OpenEpoch`. Keys of earlier epochs stay until destroyed.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`].
    pub fn open(&mut self, sector: &Sector) -> Result<(u32, String), VaultError> {
        let key: Zeroizing<[u8; KEY_LEN]> = random()?;
        let epoch = self.latest(sector).unwrap_or(0) + 1;
        let print = fingerprint_of(&key, sector, epoch);
        self.insert(sector, epoch, key);
        Ok((epoch, print))
    }

    /// Takes over a key that another organization made, where two recompute the same pseudonyms.
    pub fn insert(&mut self, sector: &Sector, epoch: u32, key: Zeroizing<[u8; KEY_LEN]>) {
        let latest = self.latest(sector).unwrap_or(0).max(epoch);
        self.latest.insert(sector.clone(), latest);
        self.keys.insert((sector.clone(), epoch), key);
    }

    /// The latest epoch that was ever opened.
    pub fn latest(&self, sector: &Sector) -> Option<u32> {
        self.latest.get(sector).copied()
    }

    /// What the ledger shows of a key; `None` when it is not here.
    pub fn fingerprint(&self, sector: &Sector, epoch: u32) -> Option<String> {
        let key = self.keys.get(&(sector.clone(), epoch))?;
        Some(fingerprint_of(key, sector, epoch))
    }

    /// A person's pseudonym, see [`pseudonym`].
    ///
    /// # Errors
    /// [`VaultError::NoKey`] when the epoch was never opened here, or its key was destroyed.
    pub fn pseudonym(
        &self,
        sector: &Sector,
        epoch: u32,
        id_type: &str,
        id_number: &str,
    ) -> Result<String, VaultError> {
        self.keys
            .get(&(sector.clone(), epoch))
            .map(|key| pseudonym(key.as_ref(), id_type, id_number))
            .ok_or(VaultError::NoKey)
    }

    /// Destroys a key, which cuts the link between all persons and their pseudonyms of that epoch.
    /// Gives its fingerprint for `AttestEpochDestroyed`, `None` when it was not here.
    pub fn destroy(&mut self, sector: &Sector, epoch: u32) -> Option<String> {
        let key = self.keys.remove(&(sector.clone(), epoch))?;
        Some(fingerprint_of(&key, sector, epoch))
    }
}

fn fingerprint_of(key: &[u8; KEY_LEN], sector: &Sector, epoch: u32) -> String {
    let name = sector.to_string();
    fingerprint(key, KEY_LABEL, &[name.as_bytes(), &epoch.to_be_bytes()])
}

/// A patient's pseudonym in one sector: base32 of HMAC-SHA-256 over id type, 0x1f and id number,
/// first 26 characters (130 bits). Pseudonyms of two sectors cannot be joined without their keys.
pub fn pseudonym(sector_key: &[u8], id_type: &str, id_number: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, sector_key);
    let mut context = hmac::Context::with_key(&key);
    context.update(id_type.as_bytes());
    context.update(&[0x1f]);
    context.update(id_number.as_bytes());
    base32(context.sign().as_ref())
        .chars()
        .take(PSEUDONYM_CHARS)
        .collect()
}

/// RFC 4648 base32 without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for byte in bytes {
        buffer = (buffer << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}
