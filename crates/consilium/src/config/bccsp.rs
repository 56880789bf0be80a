//! `peer.BCCSP` of `core.yaml` and `General.BCCSP` of `orderer.yaml`: where the signing key is.
//!
//! fabric: bccsp/factory, bccsp/pkcs11/conf.go

use std::path::{Path, PathBuf};

use consilium_pkcs11::TokenOptions;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use zeroize::Zeroizing;

/// Sessions with a token.
const SESSIONS: usize = 4;

/// `BCCSP`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bccsp {
    /// `SW`, keys in files, or `PKCS11`.
    #[serde(rename = "Default")]
    provider: Option<String>,
    /// Read, so that Fabric's files are: hashes are SHA-256, and the keys of `keystore` in the MSP folder.
    #[serde(rename = "SW")]
    _sw: Option<IgnoredAny>,
    /// The token.
    #[serde(rename = "PKCS11")]
    pkcs11: Option<Pkcs11>,
}

/// `BCCSP.PKCS11`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
struct Pkcs11 {
    library: PathBuf,
    label: String,
    #[serde(deserialize_with = "text")]
    pin: Zeroizing<String>,
    hash: String,
    security: u32,
    /// The keys' own, while they are made: ours are made by the token's tools.
    #[serde(rename = "SoftwareVerify")]
    _software_verify: Option<IgnoredAny>,
    #[serde(rename = "Immutable")]
    _immutable: Option<IgnoredAny>,
    #[serde(rename = "AltID")]
    alt_id: String,
    #[serde(rename = "KeyIds")]
    key_ids: Vec<KeyId>,
}

impl Default for Pkcs11 {
    fn default() -> Self {
        Self {
            library: PathBuf::new(),
            label: String::new(),
            pin: Zeroizing::default(),
            hash: "SHA2".to_owned(),
            security: 256,
            _software_verify: None,
            _immutable: None,
            alt_id: String::new(),
            key_ids: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Pkcs11 {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The PIN stays out of logs.
        out.debug_struct("Pkcs11")
            .field("library", &self.library)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// An entry of `KeyIds`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyId {
    /// Fabric's identifier of the key, in hexadecimal.
    #[serde(rename = "SKI")]
    ski: String,
    /// The token's.
    #[serde(rename = "ID")]
    id: String,
}

/// A PIN is digits, which YAML takes for a number.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Pin {
        Text(String),
        Number(u64),
    }
    Ok(Zeroizing::new(match Pin::deserialize(deserializer)? {
        Pin::Text(text) => text,
        Pin::Number(number) => number.to_string(),
    }))
}

impl Bccsp {
    /// The token that holds the signing key, `None` where the key is in a file. The library's path is
    /// relative to `file`.
    ///
    /// # Errors
    /// Which key has an impossible value.
    pub fn token(&self, file: &Path) -> anyhow::Result<Option<TokenOptions>> {
        match self.provider.as_deref() {
            None | Some("" | "SW") => return Ok(None),
            Some("PKCS11") => {}
            Some(other) => {
                anyhow::bail!("BCCSP.Default is {other:?}: expected SW or PKCS11");
            }
        }
        let Some(settings) = &self.pkcs11 else {
            anyhow::bail!("BCCSP.Default is PKCS11, and BCCSP.PKCS11 is missing");
        };
        anyhow::ensure!(
            !settings.library.as_os_str().is_empty(),
            "BCCSP.PKCS11.Library is missing: expected the path of the token's library"
        );
        anyhow::ensure!(
            settings.hash == "SHA2" && settings.security == 256,
            "BCCSP.PKCS11: Hash {} with Security {} is not supported: identities sign with SHA2 256",
            settings.hash,
            settings.security
        );
        let alt_id = Some(settings.alt_id.as_bytes().to_vec()).filter(|id| !id.is_empty());
        let key_ids = settings.key_ids.iter();
        Ok(Some(TokenOptions {
            library: super::relative(file, &settings.library),
            label: settings.label.clone(),
            pin: settings.pin.clone(),
            alt_id,
            key_ids: key_ids
                .map(|key| (key.ski.to_ascii_lowercase(), key.id.as_bytes().to_vec()))
                .collect(),
            sessions: SESSIONS,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(yaml: &str) -> Result<Option<TokenOptions>, String> {
        let read: Bccsp = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let token = read.token(Path::new("/etc/fabric/core.yaml"));
        token.map_err(|error| error.to_string())
    }

    #[test]
    fn the_section_of_fabrics_sample_keeps_keys_in_files() {
        let sample = "
Default: SW
SW:
  Hash: SHA2
  Security: 256
  FileKeyStore:
    KeyStore:
PKCS11:
  Library:
  Label:
  Pin:
  Hash:
  Security:
";
        // The sample's empty keys are null.
        let sample = sample
            .replace("Library:\n", "Library: ''\n")
            .replace("Label:\n", "Label: ''\n");
        let sample = sample
            .replace("Pin:\n", "Pin: ''\n")
            .replace("Hash:\n", "Hash: ''\n");
        let sample = sample.replace("Security:\n", "Security: 0\n");
        assert!(token(&sample).unwrap().is_none());
        assert!(token("{}").unwrap().is_none());
    }

    #[test]
    fn a_token_is_named_by_library_label_and_pin() {
        let yaml = "{Default: PKCS11, PKCS11: {Library: /usr/lib/token.so, Label: org1, Pin: 98765432, \
                    Hash: SHA2, Security: 256, AltID: key, KeyIds: [{SKI: AB01, ID: other}]}}";
        let token = token(yaml).unwrap().unwrap();
        assert_eq!(token.library, Path::new("/usr/lib/token.so"));
        assert_eq!(
            (token.label.as_str(), token.pin.as_str()),
            ("org1", "98765432")
        );
        assert_eq!(token.alt_id.as_deref(), Some(&b"key"[..]));
        assert_eq!(token.key_ids, [("ab01".to_owned(), b"other".to_vec())]);
        assert!(!format!("{token:?}").contains("98765432"));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (yaml, words) in [
            ("{Default: TPM}", "expected SW or PKCS11"),
            ("{Default: PKCS11}", "BCCSP.PKCS11 is missing"),
            (
                "{Default: PKCS11, PKCS11: {Label: a}}",
                "Library is missing",
            ),
            (
                "{Default: PKCS11, PKCS11: {Library: a, Hash: SHA3}}",
                "SHA3 with Security 256 is not supported",
            ),
        ] {
            let error = token(yaml).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
