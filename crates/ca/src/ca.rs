//! One certificate authority: its key, its register and what it answers.
//!
//! One root serves enrolment and TLS certificates alike, told apart by profile, as a Fabric CA
//! with one CA does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consilium_msp::Certificate;
use consilium_transport::{ClientAuth, ServerTls, TlsIdentity};
use serde::Serialize;
use serde_json::Value;

use crate::authority::{Authority, AuthorityError, Order, now, seconds};
use crate::certificate::{Host, Subject, Usage};
use crate::error::Refusal;
use crate::files::{self, Access};
use crate::keys::SigningKey;
use crate::options::{CaOptions, InitialIdentity};
use crate::registrar;
use crate::registration::registrar_attributes;
use crate::request;
use crate::server::{CaError, Call, Endpoint, Granted};
use crate::store::{NewIdentity, Store, StoreError};

/// The level of Fabric CA's REST interface that `cainfo` reports.
pub(crate) const API_LEVEL: &str = "1.5.15";
/// The authority's own TLS certificate is renewed at a start when it ends within this time.
const RENEW_BEFORE: i64 = 30 * 24 * 3600;

/// One authority. Shared by all requests; calls block on disk and password hashes.
pub(crate) struct Ca {
    pub options: CaOptions,
    pub authority: Authority,
    pub store: Store,
    usages: BTreeMap<String, (Usage, i64)>,
}

/// What an authority tells about itself (fabric-ca: `api/serverresponses.go`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Info<'a> {
    #[serde(rename = "CAName")]
    ca_name: &'a str,
    #[serde(rename = "CAChain")]
    ca_chain: String,
    issuer_public_key: &'a str,
    issuer_revocation_public_key: &'a str,
    version: &'a str,
}

impl Ca {
    /// Opens the authority in `options.home`; the first time, makes its root and database.
    pub fn open(options: CaOptions) -> Result<Arc<Self>, CaError> {
        if options.max_enrollments < -1 {
            return Err(CaError::Option {
                option: "max_enrollments",
                reason: format!("{} is less than -1", options.max_enrollments),
            });
        }
        let usages = usages(&options)?;
        let authority = Authority::open(&options)?;
        let name = options.database_name();
        let database = |error: StoreError| CaError::Database {
            database: name.clone(),
            reason: error.to_string(),
        };
        let store = Store::open(&options).map_err(database)?;
        for affiliation in &options.affiliations {
            store.add_affiliation(affiliation).map_err(database)?;
        }
        for identity in initial_identities(&options) {
            if store.identity(&identity.id).map_err(database)?.is_some() {
                continue;
            }
            let limit = match options.max_enrollments {
                // Nobody enrols then, and this identity waits until that is changed.
                0 => -1,
                limit => registrar::max_enrollments(identity.max_enrollments, limit).map_err(
                    |reason| CaError::Option {
                        option: "registry.identities",
                        reason: format!("{}: {reason}", identity.id),
                    },
                )?,
            };
            let added = store.add_identity(&NewIdentity {
                id: &identity.id,
                password: &identity.password,
                kind: &identity.kind,
                affiliation: &identity.affiliation,
                attributes: &identity.attributes,
                max_enrollments: limit,
            });
            added.map_err(database)?;
            tracing::info!(ca = %options.name, id = identity.id, "added an initial identity");
        }
        Ok(Arc::new(Self {
            options,
            authority,
            store,
            usages,
        }))
    }

    /// What certificates of a profile are for and how many seconds they hold.
    pub fn profile(&self, name: &str) -> Option<&(Usage, i64)> {
        self.usages.get(name)
    }

    /// TLS settings for the port that the authority is reached at, with a certificate of its own
    /// for `hosts`.
    pub fn tls(&self, hosts: &[String]) -> Result<Arc<ServerTls>, CaError> {
        let (certificate, key) = self.tls_files(hosts)?;
        let read = |path| files::read(path).map_err(AuthorityError::from);
        let identity = TlsIdentity::from_pem(&read(&certificate)?, &read(&key)?)?;
        Ok(ServerTls::new(identity, ClientAuth::None, &[])?)
    }

    /// `tls-cert.pem` and `tls-key.pem`, made if they are not there, end soon or lack a host.
    pub fn tls_files(
        &self,
        hosts: &[String],
    ) -> Result<(std::path::PathBuf, std::path::PathBuf), CaError> {
        let home = &self.options.home;
        let (certificate, key) = (home.join("tls-cert.pem"), home.join("tls-key.pem"));
        if !self.still_serves(&certificate, hosts) || !key.is_file() {
            let (pair, key_pem) = SigningKey::generate().map_err(AuthorityError::from)?;
            let name = hosts.first().map_or("localhost", String::as_str);
            let (usage, validity) = self
                .profile("tls")
                .cloned()
                .unwrap_or_else(|| (Usage::tls(), 8760 * 3600));
            let subject = Subject {
                common_name: name.to_owned(),
                ..self.options.root.subject.clone()
            };
            let issued = self.authority.issue(Order {
                subject: subject.to_name().map_err(AuthorityError::from)?,
                public_key: pair.public_key().map_err(AuthorityError::from)?,
                usage,
                hosts: hosts.iter().map(|host| Host::classify(host)).collect(),
                attributes: None,
                validity,
                not_before: None,
            })?;
            let write = |path, contents: &str, access| {
                files::write(path, contents.as_bytes(), access).map_err(AuthorityError::from)
            };
            write(&key, &key_pem, Access::Secret)?;
            write(&certificate, &issued.pem, Access::Public)?;
            self.audit("tls-server", name, "tls", &issued.serial, issued.not_after);
        }
        Ok((certificate, key))
    }

    fn still_serves(&self, certificate: &Path, hosts: &[String]) -> bool {
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

    /// Decides one request to this authority. Blocks.
    pub fn answer(self: &Arc<Self>, endpoint: Endpoint, call: &Call) -> Result<Granted, Refusal> {
        let idemix = || {
            Refusal::new(
                501,
                crate::error::code::UNKNOWN,
                "This certificate authority issues no Idemix credentials; enroll with type 'x509'",
            )
        };
        match endpoint {
            Endpoint::CaInfo => Granted::json(200, &self.info(API_LEVEL)),
            Endpoint::Enroll => {
                let (caller, limit) = self.log_in(call)?;
                self.enroll(&caller, &request::require(&call.body)?, Some(limit))
            }
            Endpoint::Reenroll => {
                let caller = self.caller_to_reenroll(call)?;
                self.enroll(&caller.identity, &request::require(&call.body)?, None)
            }
            Endpoint::Register => {
                let body = request::require(&call.body)?;
                self.register(&self.caller(call)?.identity, body)
            }
            Endpoint::Revoke => {
                let body = request::require(&call.body)?;
                self.revoke(&self.caller(call)?, &body)
            }
            Endpoint::GenCrl => {
                let body = request::require(&call.body)?;
                self.generate_crl(&self.caller(call)?.identity, &body)
            }
            Endpoint::Identities => self.identities(&self.caller(call)?.identity, call),
            Endpoint::Identity => self.one_identity(&self.caller(call)?.identity, call),
            Endpoint::Affiliations => self.affiliations(&self.caller(call)?.identity, call),
            Endpoint::Affiliation => self.one_affiliation(&self.caller(call)?.identity, call),
            Endpoint::Certificates => self.certificates(&self.caller(call)?.identity, call),
            Endpoint::Idemix => Err(idemix()),
        }
    }

    pub fn info<'a>(&'a self, version: &'a str) -> Info<'a> {
        Info {
            ca_name: &self.options.name,
            ca_chain: STANDARD.encode(self.authority.chain_pem()),
            issuer_public_key: "",
            issuer_revocation_public_key: "",
            version,
        }
    }

    /// One line for every certificate that leaves the authority.
    pub fn audit(&self, action: &str, id: &str, profile: &str, serial: &str, not_after: i64) {
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

    /// One line for everything else that a caller changes.
    pub fn audit_change(&self, action: &str, caller: &str, what: &str) {
        tracing::info!(
            target: "audit",
            ca = %self.options.name,
            action,
            caller,
            what,
            "changed the register"
        );
    }
}

/// The profiles by the names that requests use; the default's is empty.
fn usages(options: &CaOptions) -> Result<BTreeMap<String, (Usage, i64)>, CaError> {
    let profiles = &options.profiles;
    let default = [("", &profiles.default)].into_iter();
    let named = profiles.named.iter().map(|(name, it)| (name.as_str(), it));
    default
        .chain(named)
        .map(|(name, profile)| {
            let usage = profile.usage(name)?;
            Ok((name.to_owned(), (usage, seconds(profile.validity))))
        })
        .collect()
}

fn initial_identities(options: &CaOptions) -> Vec<InitialIdentity> {
    let registrar = options
        .bootstrap
        .iter()
        .map(|(id, password)| InitialIdentity {
            id: id.clone(),
            password: password.clone(),
            kind: "client".into(),
            attributes: registrar_attributes(id),
            ..InitialIdentity::default()
        });
    registrar
        .chain(options.identities.iter().cloned())
        .collect()
}

/// The result of a call as JSON. Cannot fail for what authorities answer.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(value).map_err(Refusal::internal)
}
