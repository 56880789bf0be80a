//! The certificate authority: what it does with a request, once HTTP is out of the way.
//!
//! One root serves enrolment and TLS certificates alike, told apart by profile, as a Fabric CA
//! with one CA does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use consilium_msp::Certificate;
use consilium_transport::{ClientAuth, ServerTls, TlsError, TlsIdentity};
use serde_json::{Value, json};

use crate::authority::{Authority, AuthorityError, Order, host_name, now};
use crate::certificate::{Host, Usage};
use crate::error::{Refusal, code};
use crate::files::{self, Access};
use crate::keys::SigningKey;
use crate::registration::registrar_attributes;
use crate::request::{self, TargetBody};
use crate::store::{NewIdentity, Store, StoreError};

/// The level of Fabric CA's REST interface that `cainfo` reports.
const API_LEVEL: &str = "1.5.0";
/// The authority's own TLS certificate is renewed at a start when it ends within this time.
const RENEW_BEFORE: i64 = 30 * 24 * 3600;

/// How an authority is set up.
#[derive(Debug, Clone)]
pub struct CaOptions {
    /// Folder of the root, the database and the authority's own TLS certificate.
    pub home: PathBuf,
    /// Name by which clients may address it (`caname`), for instance `ca-org1`.
    pub name: String,
    /// Organization in the subject of the root certificate.
    pub organization: String,
    /// Identity and password of the first registrar, added if it is not there yet.
    pub bootstrap: Option<(String, String)>,
    /// Affiliations that identities may have, dotted; those above are implied.
    pub affiliations: Vec<String>,
    /// Lifetime of issued certificates.
    pub validity: Duration,
    /// How often one secret may enrol, at most; -1 for no limit, 0 to stop enrolment.
    pub max_enrollments: i64,
    /// Wrong passwords until an identity is locked; 0 for no limit.
    pub password_attempts: i64,
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
        Self {
            home: home.into(),
            name: name.into(),
            organization: organization.into(),
            bootstrap: None,
            affiliations: affiliations.map(String::from).to_vec(),
            validity: Duration::from_secs(8760 * 3600),
            max_enrollments: -1,
            password_attempts: 10,
            legacy_tokens: false,
        }
    }
}

/// Why an authority cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The root's files.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The database.
    #[error("{path}: {reason}")]
    Database {
        /// Its file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// An option has an impossible value.
    #[error("certificate authority option {option}: {reason}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The authority's own TLS certificate.
    #[error("the certificate authority's TLS certificate: {0}")]
    Tls(#[from] TlsError),
}

/// A certificate authority. Shared by all requests; calls block on disk and password hashes.
pub struct CaServer {
    pub(crate) options: CaOptions,
    pub(crate) authority: Authority,
    pub(crate) store: Store,
}

/// A request without its transport.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// The authority named in the query, if any.
    pub ca_name: Option<String>,
    pub authorization: Option<String>,
    pub body: Bytes,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    CaInfo,
    Enroll,
    Reenroll,
    Register,
}

/// A granted request.
#[derive(Debug)]
pub(crate) struct Granted {
    pub status: u16,
    pub result: Value,
    pub location: Option<String>,
}

impl CaServer {
    /// Opens the authority in `options.home`; the first time, makes its root and database.
    ///
    /// # Errors
    /// If files cannot be read or written or hold something unusable; each names its path.
    pub fn open(options: CaOptions) -> Result<Arc<Self>, CaError> {
        if options.max_enrollments < -1 {
            return Err(CaError::Option {
                option: "max_enrollments",
                reason: format!("{} is less than -1", options.max_enrollments),
            });
        }
        let authority = Authority::open(&options.home, &options.name, &options.organization)?;
        let path = options.home.join("fabric-ca-server.db");
        let database = |error: StoreError| CaError::Database {
            path: path.clone(),
            reason: error.to_string(),
        };
        let store = Store::open(&path).map_err(database)?;
        for affiliation in &options.affiliations {
            store.add_affiliation(affiliation).map_err(database)?;
        }
        if let Some((id, password)) = &options.bootstrap
            && store.identity(id).map_err(database)?.is_none()
        {
            let limit = if options.max_enrollments == 0 {
                -1
            } else {
                options.max_enrollments
            };
            let added = store.add_identity(&NewIdentity {
                id,
                password,
                kind: "client",
                affiliation: "",
                attributes: &registrar_attributes(id),
                max_enrollments: limit,
            });
            added.map_err(database)?;
            tracing::info!(ca = %options.name, id, "added the first registrar");
        }
        Ok(Arc::new(Self {
            options,
            authority,
            store,
        }))
    }

    /// The root certificate, which is also the whole chain.
    pub fn ca_certificate_pem(&self) -> &str {
        self.authority.root_pem()
    }

    /// The name that clients may address the authority by.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// TLS settings for the authority's own port, with a certificate of its own root for `hosts`
    /// (kept in `tls-cert.pem` and `tls-key.pem`, renewed when it ends soon or hosts changed).
    /// Clients are not asked for certificates.
    ///
    /// # Errors
    /// If the files cannot be read or written.
    pub fn tls(&self, hosts: &[String]) -> Result<Arc<ServerTls>, CaError> {
        let home = &self.options.home;
        let (certificate, key) = (home.join("tls-cert.pem"), home.join("tls-key.pem"));
        if !self.still_serves(&certificate, hosts) || !key.is_file() {
            let (pair, key_pem) = SigningKey::generate().map_err(AuthorityError::from)?;
            let name = hosts.first().map_or("localhost", String::as_str);
            let issued = self.authority.issue(Order {
                subject: host_name(name, &self.options.organization)?,
                public_key: pair.public_key().map_err(AuthorityError::from)?,
                usage: Usage::Tls,
                hosts: hosts.iter().map(|host| Host::classify(host)).collect(),
                attributes: None,
                validity: seconds(self.options.validity),
                not_before: None,
            })?;
            let write = |path, contents: &str, access| {
                files::write(path, contents.as_bytes(), access).map_err(AuthorityError::from)
            };
            write(&key, &key_pem, Access::Secret)?;
            write(&certificate, &issued.pem, Access::Public)?;
            self.audit("tls-server", name, "tls", &issued.serial, issued.not_after);
        }
        let read = |path| files::read(path).map_err(AuthorityError::from);
        let identity = TlsIdentity::from_pem(&read(&certificate)?, &read(&key)?)?;
        Ok(ServerTls::new(identity, ClientAuth::None, &[])?)
    }

    fn still_serves(&self, certificate: &std::path::Path, hosts: &[String]) -> bool {
        let Some(certificate) = std::fs::read(certificate)
            .ok()
            .and_then(|pem| Certificate::from_pem(&pem).ok())
        else {
            return false;
        };
        let covers = |host: &String| match Host::classify(host) {
            Host::Ip(std::net::IpAddr::V4(address)) => certificate
                .ip_addresses()
                .contains(&address.octets().to_vec()),
            Host::Ip(std::net::IpAddr::V6(address)) => certificate
                .ip_addresses()
                .contains(&address.octets().to_vec()),
            _ => certificate.dns_names().contains(host),
        };
        certificate.is_signed_by(self.authority.root())
            && certificate.not_after() > now() + RENEW_BEFORE
            && hosts.iter().all(covers)
    }

    /// Decides one request. Blocks.
    pub(crate) fn answer(&self, endpoint: Endpoint, call: &Call) -> Result<Granted, Refusal> {
        match endpoint {
            Endpoint::CaInfo => {
                self.target(call)?;
                let mut result = self.info();
                result["Version"] = json!(API_LEVEL);
                Ok(Granted {
                    status: 200,
                    result,
                    location: None,
                })
            }
            Endpoint::Enroll => {
                let (caller, limit) = self.log_in(call)?;
                self.enroll(&caller, &request::require(&call.body)?, Some(limit))
            }
            Endpoint::Reenroll => {
                let caller = self.caller(call)?;
                self.enroll(&caller, &request::require(&call.body)?, None)
            }
            Endpoint::Register => {
                self.target(call)?;
                let body = request::require(&call.body)?;
                let registrar = self.caller(call)?;
                self.register(&registrar, body)
            }
        }
    }

    pub(crate) fn info(&self) -> Value {
        json!({
            "CAName": self.options.name,
            "CAChain": STANDARD.encode(self.authority.root_pem()),
            "IssuerPublicKey": "",
            "IssuerRevocationPublicKey": "",
            "Version": "",
        })
    }

    /// The request must be for this authority, if it names one.
    pub(crate) fn target(&self, call: &Call) -> Result<(), Refusal> {
        let named = match call.ca_name.clone().filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => {
                request::read::<TargetBody>(&call.body)?
                    .unwrap_or_default()
                    .caname
            }
        };
        if named.is_empty() || named == self.options.name {
            return Ok(());
        }
        let message = format!("CA '{named}' does not exist");
        Err(Refusal::new(404, code::CA_NOT_FOUND, message))
    }

    /// One line for every certificate that leaves the authority.
    pub(crate) fn audit(
        &self,
        action: &str,
        id: &str,
        profile: &str,
        serial: &str,
        not_after: i64,
    ) {
        let until = jiff::Timestamp::from_second(not_after).unwrap_or_default();
        tracing::info!(
            target: "audit",
            ca = %self.options.name,
            action,
            id,
            profile,
            serial,
            not_after = %until,
            "issued a certificate"
        );
    }
}

pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
