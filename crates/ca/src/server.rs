//! The certificate authority: what it does with a request, once HTTP is out of the way.
//!
//! One root serves enrolment and TLS certificates alike, told apart by profile, as a Fabric CA
//! with one CA does.

use std::collections::BTreeMap;
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
use crate::certificate::{Host, Subject, Usage};
use crate::csr::{CsrError, SigningRequest};
use crate::error::{Refusal, code};
use crate::files::{self, Access};
use crate::keys::SigningKey;
use crate::register;
use crate::request::{self, AttributeRequest, EnrollBody, RegisterBody, SubjectBody, TargetBody};
use crate::store::{
    Attribute, CertificateStatus, Identity, NewCertificate, NewIdentity, Store, StoreError,
    compare_with_nobody,
};
use crate::token::{self, Signed};

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
    authority: Authority,
    store: Store,
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
        if let Some((id, password)) = &options.bootstrap {
            if store.identity(id).map_err(database)?.is_none() {
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

    fn info(&self) -> Value {
        json!({
            "CAName": self.options.name,
            "CAChain": STANDARD.encode(self.authority.root_pem()),
            "IssuerPublicKey": "",
            "IssuerRevocationPublicKey": "",
            "Version": "",
        })
    }

    /// The request must be for this authority, if it names one.
    fn target(&self, call: &Call) -> Result<(), Refusal> {
        let named = match call.ca_name.clone().filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => request::read::<TargetBody>(&call.body)?.unwrap_or_default().caname,
        };
        if named.is_empty() || named == self.options.name {
            return Ok(());
        }
        let message = format!("CA '{named}' does not exist");
        Err(Refusal::new(404, code::CA_NOT_FOUND, message))
    }

    fn authorization(call: &Call) -> Result<&str, Refusal> {
        match call.authorization.as_deref() {
            Some(header) if !header.is_empty() => Ok(header),
            _ => Err(Refusal::new(
                401,
                code::NO_AUTHORIZATION_HEADER,
                "No authorization header",
            )),
        }
    }

    /// The identity that the request's name and password prove, and how often it may enrol.
    fn log_in(&self, call: &Call) -> Result<(Identity, i64), Refusal> {
        let header = Self::authorization(call)?;
        let Some((id, password)) = basic_credentials(header) else {
            return Err(Refusal::authentication(
                code::NO_USER_AND_PASSWORD,
                "No user/pass in authorization header",
            ));
        };
        self.target(call)?;
        if self.options.max_enrollments == 0 {
            return Err(Refusal::authentication(code::ENROLL_DISABLED, "Enroll is disabled"));
        }
        let Some(identity) = self.store.identity(&id)? else {
            compare_with_nobody(&password);
            let message = format!("Failed to get user: identity '{id}' is not registered");
            return Err(Refusal::authentication(code::INVALID_USER, message));
        };
        let allowed = self.options.password_attempts;
        let attempts = identity.incorrect_password_attempts;
        if allowed > 0 && attempts >= allowed {
            return Err(Refusal::new(
                401,
                code::PASSWORD_ATTEMPTS,
                format!(
                    "Incorrect password entered {attempts} times, max incorrect password limit \
                     of {allowed} reached"
                ),
            ));
        }
        let failed = |reason: String| {
            Refusal::authentication(code::INVALID_PASSWORD, format!("Login failure: {reason}"))
        };
        if !identity.password_fits(&password) {
            self.store.count_wrong_password(&id)?;
            return Err(failed("Password mismatch".into()));
        }
        let limit = match (self.options.max_enrollments, identity.max_enrollments) {
            (_, 0) => {
                return Err(failed(format!(
                    "Zero is an invalid value for maximum enrollments on identity '{id}'"
                )));
            }
            (-1, own) => own,
            (ca, -1) => ca,
            (ca, own) => own.min(ca),
        };
        if identity.state < 0 {
            return Err(failed(format!("User {id} is revoked; access denied")));
        }
        if limit != -1 && identity.state >= limit {
            return Err(failed(used_up(&id, limit)));
        }
        self.store.forget_wrong_passwords(&id)?;
        Ok((identity, limit))
    }

    /// The identity whose certificate signed the request's token.
    fn caller(&self, call: &Call) -> Result<Identity, Refusal> {
        let header = Self::authorization(call)?;
        self.target(call)?;
        let request = Signed {
            method: &call.method,
            uri: &call.uri,
            body: &call.body,
        };
        let certificate =
            token::verify(header, request, self.options.legacy_tokens).map_err(|reason| {
                Refusal::authentication(
                    code::INVALID_TOKEN,
                    format!("Invalid token in authorization header: {reason}"),
                )
            })?;
        if certificate.is_ca() || !certificate.is_signed_by(self.authority.root()) {
            return Err(Refusal::authentication(
                code::UNTRUSTED_CERTIFICATE,
                "Untrusted certificate: Failed to verify certificate: it was not issued by this CA",
            ));
        }
        let now = now();
        if now > certificate.not_after() || now < certificate.not_before() {
            return Err(Refusal::authentication(
                code::CERTIFICATE_EXPIRED,
                "The certificate in the authorization header is a revoked or expired certificate",
            ));
        }
        let serial = certificate.serial_hex();
        let serial = serial.trim_start_matches('0').to_ascii_lowercase();
        let key_id = self.authority.key_id_hex();
        match self.store.certificate_status(&serial, &key_id)? {
            CertificateStatus::Good => {}
            CertificateStatus::Revoked => {
                return Err(Refusal::authentication(
                    code::CERTIFICATE_REVOKED,
                    "The certificate in the authorization header is a revoked certificate",
                ));
            }
            CertificateStatus::Unknown => {
                return Err(Refusal::authentication(
                    code::CERTIFICATE_NOT_FOUND,
                    format!("Certificate not found with AKI '{key_id}' and serial '{serial}'"),
                ));
            }
        }
        let id = certificate.subject_cn();
        let Some(identity) = self.store.identity(id)? else {
            return Err(Refusal::authentication(code::GETTING_USER, "Failed to get user"));
        };
        if identity.state < 0 {
            return Err(Refusal::authorization(
                code::REVOKED_IDENTITY,
                "Enrollment ID is revoked, unable to process request",
            ));
        }
        Ok(identity)
    }

    fn enroll(
        &self,
        caller: &Identity,
        body: &EnrollBody,
        count: Option<i64>,
    ) -> Result<Granted, Refusal> {
        if body.certificate_request.is_empty() {
            return Err(CsrError::NotPem.into());
        }
        let request = SigningRequest::from_pem(&body.certificate_request)?;
        let named = body.subject.as_ref().is_none_or(|subject| subject.cn == caller.id);
        if !named || request.subject.common_name != caller.id {
            return Err(Refusal::new(
                403,
                code::COMMON_NAME_MISMATCH,
                "The CSR subject common name must equal the enrollment ID",
            ));
        }
        let usage = match body.profile.as_str() {
            "" => Usage::Enrollment,
            "tls" => Usage::Tls,
            other => {
                let message = format!("Invalid profile: '{other}'");
                return Err(Refusal::new(500, code::UNKNOWN, message));
            }
        };
        if request.is_ca {
            return Err(match caller.attribute(register::INTERMEDIATE_CA).and_then(register::boolean) {
                Some(true) => Refusal::new(
                    500,
                    code::UNKNOWN,
                    "Certificate signing failure: this CA issues no CA certificates",
                ),
                _ => Refusal::authorization(
                    code::MISSING_ATTRIBUTE,
                    "Enrolled failed: the caller does not have the attribute 'hf.IntermediateCA'",
                ),
            });
        }
        if !body.extensions.is_empty() {
            // Attributes come from the register of identities, never from the requester.
            return Err(Refusal::new(
                400,
                code::BAD_CSR,
                "Certificate signing failure: extensions may not be requested",
            ));
        }
        let attributes = attribute_extension(caller, body.attr_reqs.as_deref())?;
        let hosts = match &body.hosts {
            Some(hosts) => hosts.iter().map(|host| Host::classify(host)).collect(),
            None => request.hosts,
        };
        let subject = subject(caller, request.subject, body.subject.as_ref());
        let bad_input = |error: der::Error| {
            Refusal::new(400, code::CSR_INPUT, format!("CSR input validation failed: {error}"))
        };
        let issued = self
            .authority
            .issue(Order {
                subject: subject.to_name().map_err(bad_input)?,
                public_key: request.public_key,
                usage,
                hosts,
                attributes,
                validity: seconds(self.options.validity),
                not_before: requested_start(body.notbefore.as_deref()),
            })
            .map_err(|error| {
                Refusal::new(500, code::UNKNOWN, format!("Certificate signing failure: {error}"))
            })?;
        let recorded = self.store.add_certificate(
            &NewCertificate {
                id: &caller.id,
                serial: &issued.serial,
                authority_key_id: &self.authority.key_id_hex(),
                not_after: issued.not_after,
                pem: &issued.pem,
            },
            count,
        )?;
        if !recorded {
            return Err(Refusal::authentication(
                code::INVALID_PASSWORD,
                format!("Login failure: {}", used_up(&caller.id, count.unwrap_or(-1))),
            ));
        }
        let profile = if body.profile.is_empty() { "default" } else { &body.profile };
        let what = if count.is_some() { "enroll" } else { "reenroll" };
        self.audit(what, &caller.id, profile, &issued.serial, issued.not_after);
        Ok(Granted {
            status: 201,
            result: json!({
                "Cert": STANDARD.encode(&issued.pem),
                "ServerInfo": self.info(),
            }),
            location: None,
        })
    }

    fn register(&self, registrar: &Identity, mut body: RegisterBody) -> Result<Granted, Refusal> {
        match body.affiliation.as_str() {
            "" => body.affiliation.clone_from(&registrar.affiliation),
            "." => body.affiliation.clear(),
            _ => {}
        }
        if body.kind.is_empty() {
            body.kind.clone_from(&registrar.kind);
        }
        let id = body.id.as_str();
        if id.is_empty() {
            return Err(Refusal::new(
                400,
                code::REGISTERING_IDENTITY,
                "Registration failed: the enrollment ID is missing",
            ));
        }
        if let Err(refusal) = self.may_register(registrar, &body) {
            tracing::warn!(registrar = %registrar.id, id, reason = %refusal, "registration refused");
            return Err(Refusal::authorization(
                code::REGISTRAR_NOT_AUTHORIZED,
                format!("Registration of '{id}' failed: {refusal}"),
            ));
        }
        let secret = if body.secret.is_empty() {
            random_secret()?
        } else {
            body.secret
        };
        let limit = register::max_enrollments(body.max_enrollments, self.options.max_enrollments)
            .map_err(|reason| Refusal::new(400, code::INVALID_MAX_ENROLLMENTS, reason))?;
        let mut attributes = body.attrs;
        attributes.extend(fixed_attributes(id, &body.kind, &body.affiliation));
        let added = self.store.add_identity(&NewIdentity {
            id,
            password: &secret,
            kind: &body.kind,
            affiliation: &body.affiliation,
            attributes: &attributes,
            max_enrollments: limit,
        });
        match added {
            Ok(true) => {}
            Ok(false) => {
                let message = format!("Identity '{id}' is already registered");
                return Err(Refusal::new(409, code::DUPLICATE_IDENTITY, message));
            }
            Err(error @ StoreError::Password(_)) => {
                let message = format!("Registration of '{id}' failed: {error}");
                return Err(Refusal::new(400, code::REGISTERING_IDENTITY, message));
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(
            target: "audit",
            ca = %self.options.name,
            action = "register",
            registrar = %registrar.id,
            id,
            kind = %body.kind,
            affiliation = %body.affiliation,
            "registered an identity"
        );
        Ok(Granted {
            status: 201,
            location: Some(format!("/api/v1/identities/{}", escape(id))),
            result: json!({ "secret": secret }),
        })
    }

    fn may_register(&self, registrar: &Identity, body: &RegisterBody) -> Result<(), String> {
        register::may_act_on_type(registrar, &body.kind)?;
        let affiliation = body.affiliation.as_str();
        if !register::may_act_on_affiliation(registrar, affiliation) {
            return Err(format!(
                "Caller does not have authority to act on affiliation '{affiliation}' (code {})",
                code::CALLER_NOT_AFFILIATED
            ));
        }
        let known = affiliation.is_empty()
            || self.store.has_affiliation(affiliation).map_err(|error| error.to_string())?;
        if !known {
            return Err(format!(
                "Failed getting affiliation '{affiliation}': it does not exist (code {})",
                code::AFFILIATION_NOT_FOUND
            ));
        }
        register::may_register_attributes(registrar, &body.attrs)
            .map_err(|reason| format!("Failed to register attribute: {reason}"))
    }

    /// One line for every certificate that leaves the authority.
    fn audit(&self, action: &str, id: &str, profile: &str, serial: &str, not_after: i64) {
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

fn used_up(id: &str, limit: i64) -> String {
    format!(
        "The identity {id} has already enrolled {limit} times, it has reached its maximum \
         enrollment allowance"
    )
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Identity and password of `Basic …`.
fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, password) = text.split_once(':')?;
    Some((id.to_owned(), password.to_owned()))
}

/// The certificate's subject: names from the request, units from the register, because
/// authorization reads the units (fabric-ca: `setRequestOUs`).
fn subject(caller: &Identity, requested: Subject, overriding: Option<&SubjectBody>) -> Subject {
    let mut subject = requested;
    if let Some(body) = overriding {
        let chosen = |pick: fn(&crate::request::NameBody) -> &String| {
            let values = body.names.iter().map(pick).filter(|value| !value.is_empty());
            values.cloned().collect::<Vec<_>>()
        };
        let replace = |field: &mut Vec<String>, values: Vec<String>| {
            if !values.is_empty() {
                *field = values;
            }
        };
        replace(&mut subject.country, chosen(|name| &name.c));
        replace(&mut subject.province, chosen(|name| &name.st));
        replace(&mut subject.locality, chosen(|name| &name.l));
        replace(&mut subject.organization, chosen(|name| &name.o));
        if !body.serialnumber.is_empty() {
            subject.serial_number.clone_from(&body.serialnumber);
        }
    }
    let affiliation = caller.affiliation.split('.').filter(|part| !part.is_empty());
    subject.organizational_units = std::iter::once(caller.kind.as_str())
        .filter(|kind| !kind.is_empty())
        .chain(affiliation)
        .map(String::from)
        .collect();
    subject
}

/// The attribute extension's contents: what was asked for, or else what the identity carries by
/// default, or nothing.
fn attribute_extension(
    caller: &Identity,
    requested: Option<&[AttributeRequest]>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut chosen: BTreeMap<&str, &str> = BTreeMap::new();
    match requested {
        Some(requests) => {
            let mut missing = Vec::new();
            for request in requests {
                match caller.attribute(&request.name) {
                    Some(value) => {
                        chosen.insert(&request.name, value);
                    }
                    None if request.optional => {}
                    None => missing.push(request.name.as_str()),
                }
            }
            if !missing.is_empty() {
                return Err(Refusal::new(
                    500,
                    code::UNKNOWN,
                    format!(
                        "Failed to find requested attributes: The following required attributes \
                         are missing: [{}]",
                        missing.join(" ")
                    ),
                ));
            }
        }
        None => {
            for attribute in caller.attributes.iter().filter(|attribute| attribute.ecert) {
                chosen.entry(&attribute.name).or_insert(&attribute.value);
            }
            if chosen.is_empty() {
                return Ok(None);
            }
        }
    }
    serde_json::to_vec(&json!({ "attrs": chosen }))
        .map(Some)
        .map_err(Refusal::internal)
}

/// A start that the requester chose, unless it is Go's zero time or unreadable.
fn requested_start(text: Option<&str>) -> Option<i64> {
    let moment: jiff::Timestamp = text?.parse().ok()?;
    Some(moment.as_second()).filter(|second| *second > 0)
}

fn fixed_attributes(id: &str, kind: &str, affiliation: &str) -> [Attribute; 3] {
    let fixed = |name: &str, value: &str| Attribute {
        name: name.into(),
        value: value.into(),
        ecert: true,
    };
    [
        fixed(register::ENROLLMENT_ID, id),
        fixed(register::TYPE, kind),
        fixed(register::AFFILIATION, affiliation),
    ]
}

/// What Fabric CA's default configuration gives its first registrar.
fn registrar_attributes(id: &str) -> Vec<Attribute> {
    let granted = [
        (register::ROLES, "*"),
        (register::DELEGATE_ROLES, "*"),
        (register::REVOKER, "true"),
        (register::INTERMEDIATE_CA, "true"),
        (register::GEN_CRL, "true"),
        (register::REGISTRAR_ATTRIBUTES, "*"),
        (register::AFFILIATION_MANAGER, "true"),
    ];
    let granted = granted.map(|(name, value)| Attribute {
        name: name.into(),
        value: value.into(),
        ecert: false,
    });
    granted
        .into_iter()
        .chain(fixed_attributes(id, "client", ""))
        .collect()
}

/// Twelve letters, as Fabric CA makes them; 68 bits.
fn random_secret() -> Result<String, Refusal> {
    const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut secret = String::with_capacity(12);
    while secret.len() < 12 {
        let mut random = [0; 24];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Refusal::internal("the random source failed"))?;
        // 208 is four times 52: larger values would favour some letters.
        let fair = random.iter().filter(|byte| **byte < 208);
        secret.extend(fair.map(|byte| char::from(LETTERS[usize::from(byte % 52)])));
    }
    secret.truncate(12);
    Ok(secret)
}

/// Percent-encodes all but unreserved characters.
fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
