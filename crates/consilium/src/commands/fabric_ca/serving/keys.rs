//! The keys of `fabric-ca-server-config.yaml`. fabric-ca: lib/serverconfig.go, lib/caconfig.go

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::commands::fabric_ca::asking::{KeyPair, KeyRequest, Names, Tls};
use crate::config::{MetricsProvider, OperationsTls};

/// Keys of the server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServerKeys {
    pub port: Option<u16>,
    pub address: Option<String>,
    pub tls: ServerTlsKeys,
    pub cacount: u32,
    pub cafiles: Vec<PathBuf>,
    pub operations: Operations,
    pub metrics: Metrics,
    pub cors: Cors,
    // Read before, or so that Fabric's files are.
    #[serde(rename = "debug")]
    _debug: Option<IgnoredAny>,
    #[serde(rename = "loglevel")]
    _loglevel: Option<IgnoredAny>,
    #[serde(rename = "boot")]
    _boot: Option<IgnoredAny>,
    #[serde(rename = "crlsizelimit")]
    _crlsizelimit: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServerTlsKeys {
    pub enabled: bool,
    pub certfile: Option<PathBuf>,
    pub keyfile: Option<PathBuf>,
    pub clientauth: ClientAuthKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClientAuthKeys {
    #[serde(rename = "type")]
    pub kind: String,
    pub certfiles: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Operations {
    pub listenaddress: String,
    pub tls: OperationsTls,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Metrics {
    pub provider: MetricsProvider,
    #[serde(rename = "statsd")]
    _statsd: Option<IgnoredAny>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            // As Fabric CA, unlike our nodes.
            provider: MetricsProvider::Disabled,
            _statsd: None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cors {
    pub enabled: bool,
    #[serde(rename = "origins")]
    _origins: Option<IgnoredAny>,
}

/// Keys of one authority.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CaKeys {
    pub cfg: Cfg,
    pub ca: Ca,
    pub signing: Signing,
    pub csr: CsrKeys,
    pub registry: Registry,
    pub affiliations: Value,
    pub ldap: Ldap,
    pub db: Db,
    pub intermediate: Intermediate,
    pub crl: Crl,
    // Read, so that Fabric's files are; mean nothing here.
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(rename = "bccsp")]
    _bccsp: Option<IgnoredAny>,
    #[serde(rename = "idemix")]
    _idemix: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cfg {
    pub identities: CfgIdentities,
    pub affiliations: CfgAffiliations,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct CfgIdentities {
    pub passwordattempts: i64,
    pub allowremove: bool,
}

impl Default for CfgIdentities {
    fn default() -> Self {
        Self {
            passwordattempts: 10,
            allowremove: false,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CfgAffiliations {
    pub allowremove: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ca {
    pub name: String,
    pub keyfile: Option<PathBuf>,
    pub certfile: Option<PathBuf>,
    pub chainfile: Option<PathBuf>,
    pub reenrollignorecertexpiry: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Signing {
    pub default: Option<ProfileKeys>,
    pub profiles: BTreeMap<String, ProfileKeys>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct ProfileKeys {
    pub usage: Option<Vec<String>>,
    pub expiry: String,
    pub caconstraint: CaConstraint,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct CaConstraint {
    pub isca: bool,
    pub maxpathlen: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CsrKeys {
    pub cn: String,
    pub serialnumber: String,
    pub keyrequest: KeyRequest,
    pub names: Vec<Names>,
    pub hosts: Vec<String>,
    pub ca: CsrCa,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CsrCa {
    pub expiry: String,
    pub pathlength: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Registry {
    pub maxenrollments: i64,
    pub identities: Vec<RegistryIdentity>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            maxenrollments: -1,
            identities: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RegistryIdentity {
    pub name: String,
    pub pass: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub affiliation: String,
    pub maxenrollments: i64,
    pub attrs: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ldap {
    pub enabled: bool,
    #[serde(rename = "url")]
    _url: Option<IgnoredAny>,
    #[serde(rename = "tls")]
    _tls: Option<IgnoredAny>,
    #[serde(rename = "attribute")]
    _attribute: Option<IgnoredAny>,
    #[serde(rename = "userfilter")]
    _userfilter: Option<IgnoredAny>,
    #[serde(rename = "groupfilter")]
    _groupfilter: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Db {
    #[serde(rename = "type")]
    pub kind: String,
    /// A file, or where PostgreSQL is.
    pub datasource: String,
    pub tls: DbTls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DbTls {
    pub enabled: bool,
    pub certfiles: Vec<PathBuf>,
    pub client: KeyPair,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Intermediate {
    pub parentserver: ParentServer,
    pub enrollment: ParentEnrollment,
    pub tls: Tls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ParentServer {
    pub url: String,
    pub caname: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ParentEnrollment {
    pub profile: String,
    #[serde(rename = "hosts")]
    _hosts: Option<IgnoredAny>,
    #[serde(rename = "label")]
    _label: Option<IgnoredAny>,
    #[serde(rename = "type")]
    _kind: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Crl {
    pub expiry: String,
}
