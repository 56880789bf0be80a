//! A provider and a payer: their collection, their secret, and reading and writing both.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::commitment;
use crate::failure::Failure;
use crate::request::{Call, decode, to_json};

/// A pepper has at least 32 bytes.
const MIN_PEPPER_HEX: usize = 64;

/// A provider and the payer it bills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub provider: String,
    pub payer: String,
}

impl Pair {
    pub fn new(provider: &str, payer: &str) -> Self {
        Pair {
            provider: provider.to_owned(),
            payer: payer.to_owned(),
        }
    }

    pub fn collection(&self) -> String {
        collection(&self.provider, &self.payer)
    }
}

pub(super) fn collection(provider: &str, payer: &str) -> String {
    format!("claims-{provider}-{payer}")
}

/// The secret of a pair, under which it fingerprints what can be guessed.
pub(super) struct Pepper(hmac::Key);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PepperDoc {
    pub pepper: String,
}

impl PepperDoc {
    pub fn key(&self) -> Result<Pepper, Failure> {
        let bytes = hex::decode(&self.pepper)
            .ok()
            .filter(|_| self.pepper.len() >= MIN_PEPPER_HEX)
            .ok_or_else(|| {
                Failure::malformed(
                    "the pepper in the transient map is at least 32 random bytes, hexadecimal",
                )
            })?;
        Ok(Pepper(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl Pepper {
    /// HMAC-SHA-256 over a purpose and parts, each with its length in front, in hexadecimal.
    pub fn tag(&self, purpose: &str, parts: &[&str]) -> String {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        commitment::tag(&self.0, purpose, &parts)
    }
}

/// What the ledger says of a private value.
pub(super) fn commit(value: &impl Serialize) -> String {
    hex::encode(Sha256::digest(to_json(value)))
}

impl Call<'_> {
    /// A value of the transient map that the function cannot do without.
    pub(super) fn needed<T: DeserializeOwned>(
        &self,
        name: &str,
        expects: &str,
    ) -> Result<T, Failure> {
        self.transient(name, expects)?.ok_or_else(|| {
            Failure::malformed(format!(
                "{} needs {expects} in the transient map under '{name}'",
                self.function()
            ))
        })
    }

    /// A private value of a pair.
    pub(super) fn read_private<T: DeserializeOwned>(
        &mut self,
        pair: &Pair,
        key: &str,
    ) -> Result<Option<T>, Failure> {
        match self.stub.get_private(&pair.collection(), key)? {
            Some(bytes) => decode("private value", &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// A private value that the public state says is there.
    pub(super) fn must_read<T: DeserializeOwned>(
        &mut self,
        pair: &Pair,
        key: &str,
    ) -> Result<T, Failure> {
        self.read_private(pair, key)?.ok_or_else(|| {
            Failure::new(
                404,
                "PRIVATE_DATA_NOT_HERE",
                format!("{} has no value for {key}", pair.collection()),
            )
        })
    }

    /// Writes a private value of a pair.
    pub(super) fn write_private(
        &mut self,
        pair: &Pair,
        key: &str,
        value: &impl Serialize,
    ) -> Result<(), Failure> {
        Ok(self
            .stub
            .put_private(&pair.collection(), key, &to_json(value))?)
    }

    /// Leaves a mark in the pair's collection, whose policy then asks both sides to endorse even
    /// where a transaction changes public keys alone (healthcare.md R10).
    pub(super) fn mark_pair(&mut self, pair: &Pair, id: &str) -> Result<(), Failure> {
        let value = BTreeMap::from([("tx", self.stub.tx_id().to_owned())]);
        self.write_private(pair, &format!("mark.{id}"), &value)
    }

    /// The pair's secret, or 409 `NO_PEPPER`.
    pub(super) fn pepper(&mut self, pair: &Pair) -> Result<Pepper, Failure> {
        let found: Option<PepperDoc> = self.read_private(pair, "pepper")?;
        found
            .ok_or_else(|| {
                Failure::conflict(
                    "NO_PEPPER",
                    format!(
                        "{} and {} have no pepper yet: the provider sets one with SetPepper",
                        pair.provider, pair.payer
                    ),
                )
            })?
            .key()
    }
}
