//! One or more authorities behind one address, and what a request to them is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use consilium_transport::{ServerTls, TlsError};
use serde::Serialize;
use serde_json::Value;

use crate::authority::AuthorityError;
use crate::ca::{Ca, to_json};
use crate::error::{Refusal, code};
use crate::listing::Listing;
use crate::options::CaOptions;
use crate::request::{self, TargetBody};

/// Why an authority cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The root's files.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The database.
    #[error("{database}: {reason}")]
    Database {
        /// Its file, or its address without user and password.
        database: String,
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

/// A server of certificate authorities: one that answers unless a request names another.
pub struct CaServer {
    default: Arc<Ca>,
    all: BTreeMap<String, Arc<Ca>>,
}

/// A request without its transport.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// The query's names and values, in order, decoded.
    pub query: Vec<(String, String)>,
    /// The last part of the path, decoded, where it names something.
    pub subject: String,
    pub authorization: Option<String>,
    pub body: Bytes,
}

impl Call {
    /// The first value of `name` in the query; empty if there is none.
    pub fn query(&self, name: &str) -> &str {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    CaInfo,
    Enroll,
    Reenroll,
    Register,
    Revoke,
    GenCrl,
    Identities,
    Identity,
    Affiliations,
    Affiliation,
    Certificates,
    Idemix,
}

/// A granted request.
#[derive(Debug)]
pub(crate) struct Granted {
    pub status: u16,
    pub result: Value,
    /// Sent instead of `result`, piece by piece.
    pub listing: Option<Listing>,
    pub location: Option<String>,
}

impl Granted {
    pub fn json(status: u16, result: &impl Serialize) -> Result<Self, Refusal> {
        Ok(Self {
            status,
            result: to_json(result)?,
            listing: None,
            location: None,
        })
    }
}

impl CaServer {
    /// Opens one authority; the first time, makes its root and database.
    ///
    /// # Errors
    /// If files cannot be read or written or hold something unusable; each names its path.
    pub fn open(options: CaOptions) -> Result<Arc<Self>, CaError> {
        Self::open_all(options, Vec::new())
    }

    /// Opens several authorities, the first for requests that name none.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if two have the same name or the same subject.
    pub fn open_all(default: CaOptions, others: Vec<CaOptions>) -> Result<Arc<Self>, CaError> {
        let default = Ca::open(default)?;
        let mut all = BTreeMap::from([(default.options.name.clone(), default.clone())]);
        for options in others {
            let database = options.database_name();
            if let Some(twin) = all
                .values()
                .find(|other| other.options.database_name() == database)
            {
                return Err(CaError::Database {
                    database,
                    reason: format!(
                        "it is the database of the CA '{}'; give '{}' its own db.datasource",
                        twin.options.name, options.name
                    ),
                });
            }
            let ca = Ca::open(options)?;
            let name = &ca.options.name;
            let subject = ca.authority.root().subject_der();
            let refused = |reason| CaError::Option {
                option: "ca.name",
                reason,
            };
            if all.contains_key(name) {
                return Err(refused(format!("the CA name '{name}' is used twice")));
            }
            if let Some(twin) = all
                .values()
                .find(|other| other.authority.root().subject_der() == subject)
            {
                return Err(refused(format!(
                    "the CAs '{}' and '{name}' have the same subject distinguished name; give \
                     one another csr.cn",
                    twin.options.name
                )));
            }
            all.insert(name.clone(), ca);
        }
        Ok(Arc::new(Self { default, all }))
    }

    /// The certificate of the authority that answers requests without a name.
    pub fn ca_certificate_pem(&self) -> &str {
        self.default.authority.root_pem()
    }

    /// The name of the authority that answers requests without one.
    pub fn name(&self) -> &str {
        &self.default.options.name
    }

    /// The names of all authorities, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    /// TLS settings for the server's port, with a certificate of the first authority for `hosts`
    /// (kept in `tls-cert.pem` and `tls-key.pem`, renewed when it ends soon or hosts changed).
    /// Clients are not asked for certificates.
    ///
    /// # Errors
    /// If the files cannot be read or written.
    pub fn tls(&self, hosts: &[String]) -> Result<Arc<ServerTls>, CaError> {
        self.default.tls(hosts)
    }

    /// The files that [`tls`](Self::tls) reads, made where necessary.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn tls_files(&self, hosts: &[String]) -> Result<(PathBuf, PathBuf), CaError> {
        self.default.tls_files(hosts)
    }

    /// Decides one request. Blocks.
    pub(crate) fn answer(&self, endpoint: Endpoint, call: &Call) -> Result<Granted, Refusal> {
        // Checked before the authority is looked for, in Fabric CA's order.
        match endpoint {
            Endpoint::CaInfo | Endpoint::Register | Endpoint::Idemix => {}
            Endpoint::Enroll => Ca::has_credentials(call)?,
            Endpoint::Revoke | Endpoint::GenCrl => {
                request::require::<Value>(&call.body)?;
                Ca::has_authorization(call)?;
            }
            _ => Ca::has_authorization(call)?,
        }
        self.addressed(call)?.answer(endpoint, call)
    }

    /// The authority that the request names, in its query or else its body.
    fn addressed(&self, call: &Call) -> Result<&Arc<Ca>, Refusal> {
        let named = match call.query("ca") {
            "" => {
                request::read::<TargetBody>(&call.body)?
                    .unwrap_or_default()
                    .caname
            }
            name => name.to_owned(),
        };
        if named.is_empty() {
            return Ok(&self.default);
        }
        self.all.get(&named).ok_or_else(|| {
            let message = format!("CA '{named}' does not exist");
            Refusal::new(404, code::CA_NOT_FOUND, message)
        })
    }
}
