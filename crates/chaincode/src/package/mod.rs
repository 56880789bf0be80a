//! Chaincode install packages: reading hostile ones, writing our own.
//!
//! A package is a `.tar.gz` with two regular files at its top level: `metadata.json`
//! (`{"path","type","label"}`) and `code.tar.gz`. Its id is the label and the SHA-256 of the whole
//! file, so two organizations that install the same bytes agree on the id without talking.
//! Files are looked up by name in bounded memory; only for a builder's eyes is the code laid out on disk.
//! (fabric: core/chaincode/persistence/chaincode_package.go)

mod archive;
mod connection;
mod layout;
mod source;

pub use connection::{Connection, ConnectionError, ConnectionTls};
pub use source::{Language, SourceFile, package_source};

use archive::{ArchiveError, Limits};
use bytes::Bytes;
use consilium_ledger::IndexFile;
use consilium_protocol::hash::sha256;
use consilium_protocol::names::{self, NameError};
use serde::{Deserialize, Serialize};

/// What [`Package::parse`] refuses. The texts are Fabric's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PackageError {
    /// Not gzip, not tar, too large, or holding something other than regular files.
    #[error("{0}")]
    Archive(String),
    /// There is no `code.tar.gz`.
    #[error("did not find a code package inside the package")]
    NoCode,
    /// There is no `metadata.json`.
    #[error("did not find any package metadata (missing metadata.json)")]
    NoMetadata,
    /// `metadata.json` is not the JSON object that it should be.
    #[error("could not unmarshal metadata.json as json: {0}")]
    Metadata(String),
    /// The label cannot be part of a file name.
    #[error(transparent)]
    Label(#[from] NameError),
    /// Source code cannot be packaged.
    #[error("{0}")]
    Source(String),
}

impl From<ArchiveError> for PackageError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error.to_string())
    }
}

/// `metadata.json` of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PackageMetadata {
    /// Where the source came from; free text, not interpreted.
    #[serde(default)]
    pub path: String,
    /// Who knows how to run it: `consilium`, `ccaas`, or another builder's word.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The first part of the package id.
    #[serde(default)]
    pub label: String,
}

/// A package that passed the checks of an install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// `label:hex(SHA-256(file))`.
    pub id: String,
    /// What `metadata.json` says.
    pub metadata: PackageMetadata,
    /// The bytes of `metadata.json`.
    metadata_json: Bytes,
    /// The bytes of `code.tar.gz`.
    code: Bytes,
}

/// What a package asks the peer to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A contract that is compiled into this binary, by its registered name.
    InProcess(String),
    /// A chaincode service at an address.
    Service(Connection),
    /// What an external builder makes of the package: a process, or a service that it names.
    External,
    /// In development mode, whatever its developer starts.
    Developed,
}

/// Why a well-formed package cannot be run by this peer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProgramError {
    /// No builder here knows the type.
    #[error(
        "no builder of this peer takes packages of type '{0}', expected 'consilium' or 'ccaas', or what an external builder takes (chaincode.externalBuilders)"
    )]
    UnknownType(String),
    /// `code.tar.gz` lacks the file that names the program.
    #[error("{file} not found in code.tar.gz of a package of type '{kind}'")]
    MissingFile {
        /// The file that was expected.
        file: &'static str,
        /// The package's type.
        kind: String,
    },
    /// `code.tar.gz` could not be read.
    #[error("could not read code.tar.gz: {0}")]
    Code(String),
    /// `contract.json` does not name a contract.
    #[error("could not read contract.json: {0}")]
    Contract(String),
    /// `connection.json` does not describe a reachable service.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// The content of `contract.json` in a package of type `consilium`.
#[derive(Serialize, Deserialize)]
struct ContractFile {
    contract: String,
}

/// What is in the code archive of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageContent {
    /// What it asks to run.
    pub program: Program,
    /// The index definitions below `META-INF/statedb/couchdb`; other files there are passed over.
    /// fabric: internal/ccmetadata/validators.go, core/common/ccprovider
    pub indexes: Vec<IndexFile>,
}

/// Index definitions in one package at most.
pub(crate) const MAX_INDEXES: usize = 200;

/// How large an index definition may be.
pub(crate) const MAX_INDEX_BYTES: u64 = 64 << 10;

/// The type of packages that name a contract compiled into the peer.
pub const IN_PROCESS_TYPE: &str = "consilium";
/// The type of packages that name a chaincode service.
pub const SERVICE_TYPE: &str = "ccaas";

impl Package {
    /// Reads and checks the bytes of an install package.
    ///
    /// # Errors
    /// Whatever Fabric refuses, in its words, and archives that grow beyond [`Limits::INSTALL`].
    pub fn parse(file: &[u8]) -> Result<Self, PackageError> {
        let mut code = None;
        let mut metadata = None;
        archive::read(file, Limits::INSTALL, |name, content| {
            match name {
                "code.tar.gz" => code = Some(Bytes::from(content.read()?)),
                "metadata.json" => metadata = Some(content.read()?),
                other => tracing::warn!(
                    file = other,
                    "ignoring unexpected file in a chaincode package"
                ),
            }
            Ok(())
        })?;
        let code = code.ok_or(PackageError::NoCode)?;
        let metadata_json = Bytes::from(metadata.ok_or(PackageError::NoMetadata)?);
        let metadata: PackageMetadata = serde_json::from_slice(&metadata_json)
            .map_err(|error| PackageError::Metadata(error.to_string()))?;
        names::validate_label(&metadata.label)?;
        let id = package_id(&metadata.label, file);
        Ok(Self {
            id,
            metadata,
            metadata_json,
            code,
        })
    }

    /// Whether only this peer itself can run it, whatever builders there are.
    pub(crate) fn is_in_process(&self) -> bool {
        self.metadata.kind.eq_ignore_ascii_case(IN_PROCESS_TYPE)
    }

    /// What this package asks to run, and what it declares. Reads the code archive once.
    ///
    /// # Errors
    /// Types that this peer has no way to run, damaged or missing descriptions, and more or larger
    /// index definitions than a package may have.
    pub fn content(&self) -> Result<PackageContent, ProgramError> {
        let kind = self.metadata.kind.as_str();
        let parse: fn(&[u8]) -> Result<Program, ProgramError>;
        let description;
        if self.is_in_process() {
            (description, parse) = ("contract.json", contract);
        } else if kind.eq_ignore_ascii_case(SERVICE_TYPE) {
            (description, parse) = ("connection.json", service);
        } else {
            return Err(ProgramError::UnknownType(kind.to_owned()));
        }
        let mut described = None;
        let mut indexes: Vec<IndexFile> = Vec::new();
        archive::read(&self.code, Limits::CODE, |path, content| {
            if path == description {
                described = Some(content.read()?);
            } else if let Some((collection, name)) = index_place(path) {
                if indexes.len() == MAX_INDEXES {
                    return Err(ArchiveError::TooManyIndexes(MAX_INDEXES));
                }
                indexes.push(IndexFile {
                    collection: collection.map(str::to_owned),
                    name: name.to_owned(),
                    content: content.read_at_most(MAX_INDEX_BYTES)?.into(),
                });
            }
            Ok(())
        })
        .map_err(|error| ProgramError::Code(error.to_string()))?;
        let described = described.ok_or_else(|| ProgramError::MissingFile {
            file: description,
            kind: self.metadata.kind.clone(),
        })?;
        Ok(PackageContent {
            program: parse(&described)?,
            indexes,
        })
    }
}

fn contract(description: &[u8]) -> Result<Program, ProgramError> {
    let file: ContractFile = serde_json::from_slice(description)
        .map_err(|error| ProgramError::Contract(error.to_string()))?;
    Ok(Program::InProcess(file.contract))
}

fn service(description: &[u8]) -> Result<Program, ProgramError> {
    Ok(Program::Service(Connection::parse(description)?))
}

/// Collection and file name of an index definition in a code archive.
pub(crate) fn index_place(path: &str) -> Option<(Option<&str>, &str)> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let parts: Vec<&str> = path
        .strip_prefix("META-INF/statedb/couchdb/")?
        .split('/')
        .collect();
    let place = match parts.as_slice() {
        ["indexes", name] => (None, *name),
        ["collections", collection, "indexes", name] => (Some(*collection), *name),
        _ => return None,
    };
    let is_name = |name: &str| !matches!(name, "" | "." | "..");
    let stem = place.1.strip_suffix(".json")?;
    (is_name(stem) && place.0.is_none_or(is_name)).then_some(place)
}

/// The id of the package `file` with this label.
pub fn package_id(label: &str, file: &[u8]) -> String {
    format!("{label}:{}", hex::encode(sha256(file)))
}

/// A package that runs the contract registered as `contract` inside the peer.
/// The same label and contract give the same bytes everywhere, hence the same package id.
///
/// # Errors
/// [`PackageError::Label`] for a label that no peer would take.
pub fn package_in_process(label: &str, contract: &str) -> Result<Vec<u8>, PackageError> {
    let file = ContractFile {
        contract: contract.to_owned(),
    };
    package(
        &described(label, IN_PROCESS_TYPE),
        &[("contract.json", &json(&file))],
    )
}

/// A package that runs the chaincode service at `connection`.
///
/// # Errors
/// [`PackageError::Label`] for a label that no peer would take.
pub fn package_service(label: &str, connection: &Connection) -> Result<Vec<u8>, PackageError> {
    package(
        &described(label, SERVICE_TYPE),
        &[("connection.json", &connection.to_json())],
    )
}

/// As [`package_service`], with the files of a `META-INF` folder, named by their paths from
/// `META-INF/` on.
///
/// # Errors
/// [`PackageError::Label`] for a label that no peer would take, [`PackageError::Archive`] for names
/// that do not fit into an archive.
pub fn package_service_with(
    label: &str,
    connection: &Connection,
    metadata: &[(String, Vec<u8>)],
) -> Result<Vec<u8>, PackageError> {
    let connection = connection.to_json();
    let mut code = vec![("connection.json", connection.as_slice())];
    for (name, content) in metadata {
        if name.len() > 255 || index_place(name).is_none() {
            return Err(PackageError::Archive(format!(
                "metadata file path or name is not supported: {name}"
            )));
        }
        code.push((name, content));
    }
    package(&described(label, SERVICE_TYPE), &code)
}

fn described(label: &str, kind: &str) -> PackageMetadata {
    PackageMetadata {
        path: String::new(),
        kind: kind.to_owned(),
        label: label.to_owned(),
    }
}

fn package(metadata: &PackageMetadata, code: &[(&str, &[u8])]) -> Result<Vec<u8>, PackageError> {
    names::validate_label(&metadata.label)?;
    let failed = |error: std::io::Error| PackageError::Archive(error.to_string());
    let code = archive::write(code).map_err(failed)?;
    let files: [(&str, &[u8]); 2] = [("metadata.json", &json(metadata)), ("code.tar.gz", &code)];
    archive::write(&files).map_err(failed)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain structs of strings: no map keys or numbers that could fail.
    serde_json::to_vec(value).expect("structs of strings always serialize")
}

#[cfg(test)]
mod tests;
