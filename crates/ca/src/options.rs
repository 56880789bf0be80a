//! How an authority is set up, with Fabric CA's defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::certificate::{Subject, Usage};
use crate::keys::KeyKind;
use crate::server::CaError;
use crate::store::{Attribute, PostgresOptions};

const HOUR: u64 = 3600;

/// How an authority is set up.
#[derive(Debug, Clone)]
pub struct CaOptions {
    /// Folder that relative paths below are in, with the keystore and the authority's own TLS
    /// certificate.
    pub home: PathBuf,
    /// Name by which clients may address it (`caname`), for instance `ca-org1`.
    pub name: String,
    /// What the authority's own certificate says where it signs itself.
    pub root: RootOptions,
    /// The authority's certificate.
    pub certificate_file: PathBuf,
    /// Its key, if it lies outside of the keystore.
    pub key_file: PathBuf,
    /// The certificate and those above it, where there is a parent.
    pub chain_file: PathBuf,
    /// The database.
    pub database: DatabaseOptions,
    /// Identity and password of the first registrar, added if it is not there yet.
    pub bootstrap: Option<(String, String)>,
    /// Identities added if they are not there yet.
    pub identities: Vec<InitialIdentity>,
    /// Affiliations that identities may have, dotted; those above are implied.
    pub affiliations: Vec<String>,
    /// What certificates may be asked for.
    pub profiles: Profiles,
    /// How often one secret may enrol, at most; -1 for no limit, 0 to stop enrolment.
    pub max_enrollments: i64,
    /// Wrong passwords until an identity is locked; 0 for no limit.
    pub password_attempts: i64,
    /// Whether identities may be removed over the network.
    pub remove_identities: bool,
    /// Whether affiliations may be removed over the network.
    pub remove_affiliations: bool,
    /// How long a list of revoked certificates holds.
    pub crl_validity: Duration,
    /// Whether an expired certificate may enrol again.
    pub reenroll_ignores_expiry: bool,
    /// Whether tokens of clients before version 1.4, which cover the body only, are accepted.
    pub legacy_tokens: bool,
}

impl CaOptions {
    /// Fabric CA's defaults: one year, unlimited enrolments, ten wrong passwords.
    pub fn new(
        home: impl Into<PathBuf>,
        name: impl Into<String>,
        organization: impl Into<String>,
    ) -> Self {
        let affiliations = ["org1.department1", "org1.department2", "org2.department1"];
        let name = name.into();
        Self {
            home: home.into(),
            root: RootOptions {
                subject: Subject {
                    organization: vec![organization.into()],
                    common_name: name.clone(),
                    ..Subject::default()
                },
                ..RootOptions::default()
            },
            name,
            certificate_file: "ca-cert.pem".into(),
            key_file: "ca-key.pem".into(),
            chain_file: "ca-chain.pem".into(),
            database: DatabaseOptions::File("fabric-ca-server.db".into()),
            bootstrap: None,
            identities: Vec::new(),
            affiliations: affiliations.map(String::from).to_vec(),
            profiles: Profiles::default(),
            max_enrollments: -1,
            password_attempts: 10,
            remove_identities: false,
            remove_affiliations: false,
            crl_validity: Duration::from_secs(24 * HOUR),
            reenroll_ignores_expiry: false,
            legacy_tokens: false,
        }
    }

    /// `path` in the authority's folder, unless it is absolute.
    pub(crate) fn path(&self, path: &std::path::Path) -> PathBuf {
        self.home.join(path)
    }

    /// The database's file, or its address without user and password.
    pub(crate) fn database_name(&self) -> String {
        match &self.database {
            DatabaseOptions::File(file) => self.path(file).display().to_string(),
            DatabaseOptions::Postgres(options) => options.name().to_owned(),
        }
    }
}

/// Where an authority keeps its register.
#[derive(Debug, Clone)]
pub enum DatabaseOptions {
    /// A file of SQLite, in the authority's folder unless the path is absolute.
    File(PathBuf),
    /// A database of PostgreSQL, which several servers may share.
    Postgres(PostgresOptions),
}

/// What a certificate says that its own key signs.
#[derive(Debug, Clone)]
pub struct RootOptions {
    /// Whose it is.
    pub subject: Subject,
    /// How long it holds.
    pub validity: Duration,
    /// How many authorities may follow below it, if that is limited.
    pub path_length: Option<u8>,
    /// What kind of key it has.
    pub key: KeyKind,
}

impl Default for RootOptions {
    fn default() -> Self {
        Self {
            subject: Subject::default(),
            validity: Duration::from_secs(131_400 * HOUR),
            path_length: Some(1),
            key: KeyKind::default(),
        }
    }
}

/// An identity that is there from the first start.
#[derive(Debug, Clone, Default)]
pub struct InitialIdentity {
    /// Enrolment id.
    pub id: String,
    /// Its password.
    pub password: String,
    /// Its type, for instance `client`.
    pub kind: String,
    /// Its affiliation, dotted.
    pub affiliation: String,
    /// How often it may enrol; 0 for the authority's limit.
    pub max_enrollments: i64,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}

/// The kinds of certificates that an authority issues.
#[derive(Debug, Clone)]
pub struct Profiles {
    /// For a request that names none.
    pub default: Profile,
    /// By name.
    pub named: BTreeMap<String, Profile>,
}

impl Default for Profiles {
    fn default() -> Self {
        let named = [("ca", Profile::ca()), ("tls", Profile::tls())];
        Self {
            default: Profile::enrollment(),
            named: named.map(|(name, it)| (name.to_owned(), it)).into(),
        }
    }
}

/// A kind of certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What the key may be used for, in cfssl's words, for instance `digital signature`.
    pub usages: Vec<String>,
    /// How long the certificate holds.
    pub validity: Duration,
    /// `Some` for certificate authorities, with the number of authorities that may follow below,
    /// if that is limited.
    pub authority: Option<Option<u8>>,
}

impl Profile {
    fn of(usages: &[&str], hours: u64, authority: Option<Option<u8>>) -> Self {
        Self {
            usages: usages.iter().map(|usage| (*usage).to_owned()).collect(),
            validity: Duration::from_secs(hours * HOUR),
            authority,
        }
    }

    /// Signing transactions, for a year.
    pub fn enrollment() -> Self {
        Self::of(&["digital signature"], 8760, None)
    }

    /// A certificate authority below this one, for five years, with none below it.
    pub fn ca() -> Self {
        Self::of(&["cert sign", "crl sign"], 43800, Some(Some(0)))
    }

    /// Both sides of TLS, for a year.
    pub fn tls() -> Self {
        let usages = [
            "signing",
            "key encipherment",
            "server auth",
            "client auth",
            "key agreement",
        ];
        Self::of(&usages, 8760, None)
    }

    pub(crate) fn usage(&self, name: &str) -> Result<Usage, CaError> {
        Usage::named(&self.usages, self.authority).map_err(|unknown| CaError::Option {
            option: "signing profile",
            reason: format!("{name}: the usage '{unknown}' does not exist"),
        })
    }
}
