//! The folders that Fabric's tools expect: `msp/` and `tls/`.
//!
//! Layout and field mapping: fabric `msp/configbuilder.go`.
//!
//! ```text
//! msp/cacerts/ca-cert.pem         tls/ca.crt
//!     signcerts/cert.pem              server.crt
//!     keystore/<ski>_sk  (0600)       server.key  (0600)
//!     tlscacerts/tlsca-cert.pem
//!     config.yaml
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use consilium_msp::{Certificate, SoftwareSigner};
use consilium_proto::msp::{
    FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::authority::public_key_fits;
use crate::certificate::key_id;
use crate::client::Enrollment;
use crate::files::{self, Access};
use crate::keys::{KeyError, SigningKey};

/// Where the root of an organization lies under an MSP folder, as `config.yaml` names it.
const CA_FILE: &str = "cacerts/ca-cert.pem";

/// Why a folder cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldersError {
    /// A file cannot be written or read; the message names it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A file holds something else than it should.
    #[error("{path}: {reason}")]
    Content {
        /// Which file or folder.
        path: PathBuf,
        /// What was found or missing.
        reason: String,
    },
    /// The key to write cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Writes `dir` as the local MSP of an enrolled identity: its certificate and key, the
/// authority's root, the TLS roots of the organization, and NodeOUs by type.
///
/// # Errors
/// If a file cannot be written, or the key is none.
pub fn write_msp(
    dir: &Path,
    enrollment: &Enrollment,
    tls_roots: &[Bytes],
) -> Result<(), FoldersError> {
    write_key(dir, &enrollment.key_pem)?;
    let certificate = enrollment.certificate_pem.as_bytes();
    files::write(&dir.join("signcerts/cert.pem"), certificate, Access::Public)?;
    write_verifying_msp(dir, enrollment.ca_chain_pem.as_bytes(), tls_roots)
}

/// Puts another certificate, and its key, in the place of the signing identity of the local MSP in
/// `dir`. A reader at any moment finds a pair that fits; the former key stays in the keystore.
///
/// # Errors
/// If a file cannot be written, or the key is none.
pub fn replace_signer(dir: &Path, enrollment: &Enrollment) -> Result<(), FoldersError> {
    if key_of(dir, enrollment.certificate_pem.as_bytes())?.is_none() {
        write_key(dir, &enrollment.key_pem)?;
    }
    let signcerts = dir.join("signcerts");
    let current = pem_paths(&signcerts)?.into_iter().next();
    let path = current.unwrap_or_else(|| signcerts.join("cert.pem"));
    files::write(&path, enrollment.certificate_pem.as_bytes(), Access::Public)?;
    Ok(())
}

/// Writes a key (PEM) into the keystore of the MSP folder `dir`, for its owner only, and gives its
/// file.
///
/// # Errors
/// If the key is none, or the file cannot be written.
pub fn write_key(dir: &Path, key_pem: &str) -> Result<PathBuf, FoldersError> {
    let key = SigningKey::from_pem(key_pem.as_bytes())?;
    let name = key_id(&key.public_key()?)
        .map_err(|_| KeyError::Failed("the public key could not be written"))?;
    let file = dir.join(format!("keystore/{}_sk", hex::encode(name)));
    files::write(&file, key_pem.as_bytes(), Access::Secret)?;
    Ok(file)
}

/// Writes a file that everybody may read, whole or not at all, making its folders.
///
/// # Errors
/// If it cannot be written.
pub fn write_public(path: &Path, contents: &[u8]) -> Result<(), FoldersError> {
    Ok(files::write(path, contents, Access::Public)?)
}

/// Writes a file for its owner only, whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn write_secret(path: &Path, contents: &[u8]) -> Result<(), FoldersError> {
    Ok(files::write(path, contents, Access::Secret)?)
}

/// Makes a folder and those above it, for the owner only if it is `secret`.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(path: &Path, secret: bool) -> Result<(), FoldersError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mode = if secret { 0o700 } else { 0o755 };
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(mode).create(path);
    Ok(made.map_err(|error| files::named("cannot make", path, &error))?)
}

/// Replaces the roots in the MSP folder `dir`, each in a file of its own, and its NodeOUs: with several roots
/// a unit counts under each of them.
///
/// # Errors
/// If a file cannot be written.
pub fn write_roots(dir: &Path, roots: &[Bytes], tls_roots: &[Bytes]) -> Result<(), FoldersError> {
    for (folder, name, given) in [
        ("cacerts", "ca-cert", roots),
        ("tlscacerts", "tlsca-cert", tls_roots),
    ] {
        let folder = dir.join(folder);
        let mut written = Vec::new();
        for (number, root) in given.iter().enumerate() {
            let file = folder.join(match number {
                0 => format!("{name}.pem"),
                _ => format!("{name}-{number}.pem"),
            });
            files::write(&file, root, Access::Public)?;
            written.push(file);
        }
        for file in sorted_files(&folder)? {
            if !written.contains(&file) {
                fs::remove_file(&file)?;
            }
        }
    }
    let pin = if roots.len() > 1 { None } else { Some(CA_FILE) };
    files::write(
        &dir.join("config.yaml"),
        node_ous(pin).as_bytes(),
        Access::Public,
    )?;
    Ok(())
}

/// A `config.yaml` with a unit for each role, under one root or under any.
fn node_ous(pin: Option<&str>) -> String {
    let mut yaml = String::from("NodeOUs:\n  Enable: true\n");
    for role in ["Client", "Peer", "Admin", "Orderer"] {
        let unit = role.to_lowercase();
        yaml.push_str(&format!("  {role}OUIdentifier:\n"));
        if let Some(pin) = pin {
            yaml.push_str(&format!("    Certificate: {pin}\n"));
        }
        yaml.push_str(&format!("    OrganizationalUnitIdentifier: {unit}\n"));
    }
    yaml
}

/// Writes `dir` as an organization's MSP without an identity: what others need to verify it.
///
/// # Errors
/// If a file cannot be written.
pub fn write_verifying_msp(
    dir: &Path,
    ca_pem: &[u8],
    tls_roots: &[Bytes],
) -> Result<(), FoldersError> {
    files::write(&dir.join(CA_FILE), ca_pem, Access::Public)?;
    for (number, root) in tls_roots.iter().enumerate() {
        let file = match number {
            0 => "tlscacerts/tlsca-cert.pem".to_owned(),
            _ => format!("tlscacerts/tlsca-cert-{number}.pem"),
        };
        files::write(&dir.join(file), root, Access::Public)?;
    }
    let yaml = node_ous(Some(CA_FILE));
    // Last: a folder with a config.yaml is whole.
    files::write(&dir.join("config.yaml"), yaml.as_bytes(), Access::Public)?;
    Ok(())
}

/// Writes `dir` as a node's TLS folder: `server.crt`, `server.key` and `ca.crt`.
///
/// # Errors
/// If a file cannot be written.
pub fn write_tls(dir: &Path, enrollment: &Enrollment) -> Result<(), FoldersError> {
    let key = enrollment.key_pem.as_bytes();
    files::write(&dir.join("server.key"), key, Access::Secret)?;
    let certificate = enrollment.certificate_pem.as_bytes();
    files::write(&dir.join("server.crt"), certificate, Access::Public)?;
    files::write(
        &dir.join("ca.crt"),
        enrollment.ca_chain_pem.as_bytes(),
        Access::Public,
    )?;
    Ok(())
}

/// The PEM files of a node's TLS folder.
#[derive(Clone)]
pub struct TlsFiles {
    /// `server.crt`.
    pub certificate_pem: Bytes,
    /// `server.key`, wiped when dropped.
    pub key_pem: Zeroizing<Vec<u8>>,
    /// `ca.crt`.
    pub ca_pem: Bytes,
}

/// Reads what [`write_tls`] or `cryptogen` wrote.
///
/// # Errors
/// If a file is missing.
pub fn read_tls(dir: &Path) -> Result<TlsFiles, FoldersError> {
    Ok(TlsFiles {
        certificate_pem: files::read(&dir.join("server.crt"))?.into(),
        key_pem: Zeroizing::new(files::read(&dir.join("server.key"))?),
        ca_pem: files::read(&dir.join("ca.crt"))?.into(),
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigYaml {
    #[serde(rename = "NodeOUs")]
    node_ous: Option<NodeOusYaml>,
    #[serde(rename = "OrganizationalUnitIdentifiers")]
    units: Option<Vec<UnitYaml>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeOusYaml {
    #[serde(rename = "Enable")]
    enable: bool,
    #[serde(rename = "ClientOUIdentifier")]
    client: Option<UnitYaml>,
    #[serde(rename = "PeerOUIdentifier")]
    peer: Option<UnitYaml>,
    #[serde(rename = "AdminOUIdentifier")]
    admin: Option<UnitYaml>,
    #[serde(rename = "OrdererOUIdentifier")]
    orderer: Option<UnitYaml>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UnitYaml {
    #[serde(rename = "Certificate")]
    certificate: Option<String>,
    #[serde(rename = "OrganizationalUnitIdentifier")]
    unit: String,
}

/// Reads an MSP folder into the message that channel configuration carries, without the signing
/// identity.
///
/// # Errors
/// If `cacerts` holds no certificate, `config.yaml` cannot be read, or one of its
/// `OrganizationalUnitIdentifiers` names a missing file.
pub fn read_msp_config(dir: &Path, msp_id: &str) -> Result<FabricMspConfig, FoldersError> {
    let root_certs = pem_files(&dir.join("cacerts"))?;
    if root_certs.is_empty() {
        let reason = format!(
            "could not load a valid ca certificate from directory {}",
            dir.join("cacerts").display()
        );
        return Err(content(dir.join("cacerts"), reason));
    }
    let path = dir.join("config.yaml");
    let yaml: ConfigYaml = if path.exists() {
        let text = files::read(&path)?;
        serde_saphyr::from_slice(&text).map_err(|error| content(&path, error))?
    } else {
        ConfigYaml::default()
    };
    let units = yaml.units.unwrap_or_default();
    let organizational_unit_identifiers = units
        .iter()
        .map(|unit| unit_identifier(dir, unit))
        .collect::<Result<_, _>>()?;
    let fabric_node_ous = match yaml.node_ous.filter(|units| units.enable) {
        None => None,
        Some(units) => {
            let read = |unit: Option<UnitYaml>| {
                let given = unit.filter(|unit| !unit.unit.is_empty());
                given.map(|unit| node_unit(dir, unit))
            };
            Some(FabricNodeOUs {
                enable: true,
                client_ou_identifier: read(units.client),
                peer_ou_identifier: read(units.peer),
                admin_ou_identifier: read(units.admin),
                orderer_ou_identifier: read(units.orderer),
            })
        }
    };
    let tls_root_certs = pem_files(&dir.join("tlscacerts"))?;
    // Without TLS roots their intermediates are not looked at.
    let tls_intermediate_certs = match tls_root_certs.is_empty() {
        true => Vec::new(),
        false => pem_files(&dir.join("tlsintermediatecerts"))?,
    };
    Ok(FabricMspConfig {
        name: msp_id.to_owned(),
        root_certs,
        intermediate_certs: pem_files(&dir.join("intermediatecerts"))?,
        admins: pem_files(&dir.join("admincerts"))?,
        revocation_list: pem_files(&dir.join("crls"))?,
        signing_identity: None,
        organizational_unit_identifiers,
        crypto_config: Some(FabricCryptoConfig {
            signature_hash_family: "SHA2".into(),
            identity_identifier_hash_function: "SHA256".into(),
        }),
        tls_root_certs,
        tls_intermediate_certs,
        fabric_node_ous,
    })
}

/// Reads the certificate and key of a local MSP: the first certificate of `signcerts`, and from
/// `keystore` the key that belongs to it, whatever its file is called.
///
/// # Errors
/// If there is none of either.
pub fn read_signer_files(dir: &Path) -> Result<(Bytes, Zeroizing<Vec<u8>>), FoldersError> {
    let certificate = read_signer_certificate(dir)?;
    if let Some(key) = key_of(dir, &certificate)? {
        return Ok((certificate, key));
    }
    let reason = "no private key in this folder belongs to the certificate in signcerts";
    Err(content(dir.join("keystore"), reason))
}

/// The certificate of a local MSP: the first one of `signcerts`.
///
/// # Errors
/// If there is none.
pub fn read_signer_certificate(dir: &Path) -> Result<Bytes, FoldersError> {
    let signcerts = dir.join("signcerts");
    let certificate = pem_files(&signcerts)?
        .into_iter()
        .next()
        .ok_or_else(|| content(&signcerts, "no certificate in this folder"))?;
    if let Err(error) = Certificate::from_pem(&certificate) {
        return Err(content(&signcerts, error));
    }
    Ok(certificate)
}

/// The key in the keystore of an MSP folder that belongs to a certificate, whatever its file is called.
fn key_of(dir: &Path, certificate: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, FoldersError> {
    for path in sorted_files(&dir.join("keystore"))? {
        let key = Zeroizing::new(files::read(&path)?);
        if SoftwareSigner::from_pem("", certificate, &key).is_ok() || belongs(&key, certificate) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Whether a key that members of Fabric do not sign with, but servers may have, is the certificate's.
fn belongs(key: &[u8], certificate: &[u8]) -> bool {
    let public = SigningKey::from_pem(key).and_then(|key| key.public_key());
    match (public, Certificate::from_pem(certificate)) {
        (Ok(public), Ok(certificate)) => public_key_fits(&certificate, &public),
        _ => false,
    }
}

fn unit_identifier(dir: &Path, unit: &UnitYaml) -> Result<FabricOuIdentifier, FoldersError> {
    let certificate = match unit.certificate.as_deref() {
        None | Some("") => Bytes::new(),
        Some(path) => files::read(&dir.join(path))?.into(),
    };
    Ok(FabricOuIdentifier {
        certificate,
        organizational_unit_identifier: unit.unit.clone(),
    })
}

/// The same of a node unit, of which Fabric passes over a certificate that it cannot read.
fn node_unit(dir: &Path, unit: UnitYaml) -> FabricOuIdentifier {
    unit_identifier(dir, &unit).unwrap_or_else(|error| {
        tracing::warn!(unit = unit.unit, %error, "the unit is not bound to a certificate");
        FabricOuIdentifier {
            certificate: Bytes::new(),
            organizational_unit_identifier: unit.unit,
        }
    })
}

/// Whole contents of the files with a PEM block, by name. A missing folder has none.
fn pem_files(dir: &Path) -> Result<Vec<Bytes>, FoldersError> {
    let found = pem_paths(dir)?;
    let read = found.iter().map(|path| Ok(files::read(path)?.into()));
    read.collect()
}

/// The files with a PEM block, by name.
fn pem_paths(dir: &Path) -> Result<Vec<PathBuf>, FoldersError> {
    let mut found = Vec::new();
    for path in sorted_files(dir)? {
        let contents = files::read(&path)?;
        if contents.windows(11).any(|window| window == b"-----BEGIN ") {
            found.push(path);
        } else {
            tracing::warn!(path = %path.display(), "skipped a file without PEM");
        }
    }
    Ok(found)
}

fn sorted_files(dir: &Path) -> Result<Vec<PathBuf>, FoldersError> {
    let named = |error: io::Error| files::named("cannot read", dir, &error);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(error).into()),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(named)?.path();
        // Kubernetes mounts secrets as links, hence `is_file`, which follows them; and hidden
        // folders and half-written files are not content.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_file() && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn content(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> FoldersError {
    FoldersError::Content {
        path: path.into(),
        reason: reason.to_string(),
    }
}
