//! The other side of the REST interface: enrolling over TLS with keys made here.
//!
//! Works with Fabric's own CA server as well.

mod management;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use consilium_transport::causes;
use http::Method;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub use self::management::{
    AffiliationInfo, CrlRequest, IdentityChanges, IdentityInfo, Revocation, RevokeRequest,
};
use crate::certificate::Subject;
use crate::keys::{KeyError, KeyKind, SigningKey};
use crate::store::Attribute;
use crate::token::{self, Signed};

/// How long any call may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Lists of all certificates are the largest answers; some 50,000 fit.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// Why a call to a certificate authority gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaClientError {
    /// The authority refused; code and message are Fabric CA's.
    #[error("the certificate authority refused ({status}, code {code}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Fabric CA's error code.
        code: i64,
        /// Fabric CA's message.
        message: String,
    },
    /// It could not be reached, or its TLS certificate was not accepted.
    #[error("cannot talk to the certificate authority at {url}: {reason}")]
    Unreachable {
        /// Whom we called.
        url: String,
        /// A sentence.
        reason: String,
    },
    /// What answered does not speak Fabric CA's interface.
    #[error("the answer of {url} is not that of a Fabric CA: {reason}")]
    Malformed {
        /// Whom we called.
        url: String,
        /// A sentence.
        reason: String,
    },
    /// A given value cannot be used.
    #[error("{what}: {reason}")]
    Input {
        /// Which.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl From<KeyError> for CaClientError {
    fn from(error: KeyError) -> Self {
        Self::Input {
            what: "private key",
            reason: error.to_string(),
        }
    }
}

/// What an authority says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaInfo {
    /// Its name.
    pub name: String,
    /// Its certificate, and those above it, in PEM.
    pub chain_pem: String,
    /// The version it reports, possibly empty.
    pub version: String,
}

/// An enrolment to ask for.
#[derive(Clone, Default)]
pub struct EnrollRequest {
    /// Enrolment id; becomes the common name.
    pub id: String,
    /// The secret from registration. Not used when enrolling again.
    pub secret: String,
    /// Empty for a signing certificate, `tls` for TLS.
    pub profile: String,
    /// Host names and IP addresses for the certificate.
    pub hosts: Vec<String>,
    /// Organization in the subject, if any.
    pub organization: Option<String>,
    /// The subject, instead of the organization; its common name is not used.
    pub subject: Option<Subject>,
    /// What kind of key to make.
    pub key: KeyKind,
    /// A key to certify instead of a new one, PEM.
    pub key_pem: Option<Zeroizing<String>>,
    /// To become a certificate authority: how many authorities may follow below it.
    pub authority: Option<u8>,
    /// Attributes to put into the certificate; `None` for those that the identity carries by
    /// default.
    pub attributes: Option<Vec<AttributeRequest>>,
}

/// A wish for an attribute in the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttributeRequest {
    /// Its name.
    pub name: String,
    /// Whether the enrolment may go on without it.
    pub optional: bool,
}

/// An enrolled identity: certificate, key and the authority's chain, all PEM.
#[derive(Clone)]
pub struct Enrollment {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS#8, wiped when dropped.
    pub key_pem: Zeroizing<String>,
    /// The authority's certificate, and those above it.
    pub ca_chain_pem: String,
}

impl std::fmt::Debug for Enrollment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Enrollment")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// An identity to register.
#[derive(Debug, Clone, Default)]
pub struct RegisterRequest {
    /// Enrolment id.
    pub id: String,
    /// `client`, `peer`, `admin` or `orderer`, which becomes the node role; others are possible.
    pub kind: String,
    /// Its secret; made by the authority if empty.
    pub secret: String,
    /// Affiliation, dotted; empty for the registrar's own, `.` for none.
    pub affiliation: String,
    /// How often it may enrol; 0 for the authority's limit.
    pub max_enrollments: i64,
    /// Attributes.
    pub attributes: Vec<Attribute>,
}

/// A request in Fabric CA's form.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path after `/api/v1/`.
    pub path: String,
    /// Names and values of the query.
    pub query: Vec<(String, String)>,
    /// JSON, or empty.
    pub body: String,
}

impl Request {
    /// A `POST` of `body`.
    pub fn post(path: &str, body: &Value) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            query: Vec::new(),
            body: body.to_string(),
        }
    }

    /// Path and query as they stand in the request line.
    fn uri(&self) -> String {
        let mut uri = format!("/api/v1/{}", encoded(&self.path, b"-._~/"));
        for (number, (name, value)) in self.query.iter().enumerate() {
            uri.push(if number == 0 { '?' } else { '&' });
            uri.push_str(&encoded(name, b"-._~"));
            uri.push('=');
            uri.push_str(&encoded(value, b"-._~"));
        }
        uri
    }
}

/// Percent-encodes all but letters, digits and what is `safe`.
pub(crate) fn encoded(text: &str, safe: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || safe.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A client of one certificate authority.
#[derive(Clone)]
pub struct CaClient {
    http: reqwest::Client,
    url: String,
    ca_name: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    errors: Vec<EnvelopeError>,
    success: bool,
}

#[derive(Deserialize)]
struct EnvelopeError {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InfoResult {
    #[serde(rename = "CAName")]
    ca_name: String,
    #[serde(rename = "CAChain")]
    ca_chain: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnrollResult {
    cert: String,
    server_info: InfoResult,
}

#[derive(Deserialize)]
struct RegisterResult {
    secret: String,
}

impl CaClient {
    /// A client of the authority at `url` (`https://host:port`), whose TLS certificate must chain
    /// to `tls_roots` (PEM). `ca_name` may be empty for the server's default authority.
    ///
    /// # Errors
    /// If a root cannot be read or the URL is none.
    pub fn new(url: &str, tls_roots: &[Bytes], ca_name: &str) -> Result<Self, CaClientError> {
        Self::with_certificate(url, tls_roots, None, ca_name)
    }

    /// As [`new`](Self::new), with a certificate and its key (PEM) for servers that ask for one.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if certificate and key do not fit.
    pub fn with_certificate(
        url: &str,
        tls_roots: &[Bytes],
        own: Option<(&[u8], &[u8])>,
        ca_name: &str,
    ) -> Result<Self, CaClientError> {
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(CaClientError::Input {
                what: "URL of the certificate authority",
                reason: format!("{url:?} does not begin with https://"),
            });
        }
        let mut roots = RootCertStore::empty();
        for pem in tls_roots {
            let bad_root = |reason: String| CaClientError::Input {
                what: "TLS root of the certificate authority",
                reason,
            };
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| bad_root(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| bad_root(error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let refused = |reason: String| CaClientError::Input {
            what: "TLS settings",
            reason,
        };
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(error.to_string()))?
            .with_root_certificates(roots);
        let mut tls = match own {
            None => tls.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>();
                let chain = chain.map_err(|error| refused(error.to_string()))?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| refused(error.to_string()))?;
                tls.with_client_auth_cert(chain, key)
                    .map_err(|error| refused(error.to_string()))?
            }
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| refused(causes(&error)))?;
        Ok(Self {
            http,
            url,
            ca_name: ca_name.to_owned(),
        })
    }

    /// The authority's name and certificates.
    ///
    /// # Errors
    /// If it cannot be reached or refuses.
    pub async fn cainfo(&self) -> Result<CaInfo, CaClientError> {
        let body = json!({ "caname": self.ca_name });
        let request = Request::post("cainfo", &body);
        let info: InfoResult = self.call(&request, Credentials::None).await?;
        Ok(CaInfo {
            chain_pem: self.decode(&info.ca_chain)?,
            name: info.ca_name,
            version: info.version,
        })
    }

    /// Makes a key, and gets it certified for an identity and its secret.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn enroll(&self, request: &EnrollRequest) -> Result<Enrollment, CaClientError> {
        let credentials = Credentials::Basic {
            id: &request.id,
            secret: &request.secret,
        };
        self.certify("enroll", request, credentials).await
    }

    /// Makes a new key, unless one is given, and gets it certified for the identity of `current`, whose certificate
    /// must still be valid. Of `request`, the id must be that identity's and the secret is unused.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn reenroll(
        &self,
        current: &Enrollment,
        request: &EnrollRequest,
    ) -> Result<Enrollment, CaClientError> {
        self.certify("reenroll", request, Credentials::Token(current))
            .await
    }

    /// Registers an identity in the name of a registrar; gives its secret.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn register(
        &self,
        registrar: &Enrollment,
        request: &RegisterRequest,
    ) -> Result<String, CaClientError> {
        let body = json!({
            "id": request.id,
            "type": request.kind,
            "secret": request.secret,
            "affiliation": request.affiliation,
            "max_enrollments": request.max_enrollments,
            "attrs": request.attributes,
            "caname": self.ca_name,
        });
        let result: RegisterResult = self
            .call(&Request::post("register", &body), registrar.into())
            .await?;
        Ok(result.secret)
    }

    async fn certify(
        &self,
        endpoint: &str,
        request: &EnrollRequest,
        credentials: Credentials<'_>,
    ) -> Result<Enrollment, CaClientError> {
        let (key_pem, csr) = signing_request(request)?;
        let mut body = json!({
            "certificate_request": csr,
            "profile": request.profile,
            "caname": self.ca_name,
        });
        if !request.hosts.is_empty() {
            body["hosts"] = json!(request.hosts);
        }
        if let Some(attributes) = &request.attributes {
            body["attr_reqs"] = json!(attributes);
        }
        let result: EnrollResult = self
            .call(&Request::post(endpoint, &body), credentials)
            .await?;
        Ok(Enrollment {
            certificate_pem: self.decode(&result.cert)?,
            key_pem,
            ca_chain_pem: self.decode(&result.server_info.ca_chain)?,
        })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        asked: &Request,
        credentials: Credentials<'_>,
    ) -> Result<T, CaClientError> {
        let uri = asked.uri();
        let mut request = self
            .http
            .request(asked.method.clone(), format!("{}{uri}", self.url))
            .header("content-type", "application/json");
        match credentials {
            Credentials::None => {}
            Credentials::Basic { id, secret } => request = request.basic_auth(id, Some(secret)),
            Credentials::Token(enrollment) => {
                let key = SigningKey::from_pem(enrollment.key_pem.as_bytes())?;
                let signed = Signed {
                    method: asked.method.as_str(),
                    uri: &uri,
                    body: asked.body.as_bytes(),
                };
                let token = token::create(signed, enrollment.certificate_pem.as_bytes(), &key)?;
                request = request.header("authorization", token);
            }
        }
        let unreachable = |error: reqwest::Error| CaClientError::Unreachable {
            url: self.url.clone(),
            reason: causes(&error.without_url()),
        };
        let mut response = request
            .body(asked.body.clone())
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut text = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            text.extend_from_slice(&piece);
            if text.len() > ANSWER_LIMIT {
                return Err(self.malformed("it is too long"));
            }
        }
        let envelope: Envelope = serde_json::from_slice(&text)
            .map_err(|error| self.malformed(format!("status {status}, {error}")))?;
        if !envelope.success {
            let (code, message) = match envelope.errors.into_iter().next() {
                Some(error) => (error.code, error.message),
                None => (0, "no reason was given".into()),
            };
            return Err(CaClientError::Refused {
                status,
                code,
                message,
            });
        }
        serde_json::from_value(envelope.result).map_err(|error| self.malformed(error))
    }

    fn decode(&self, text: &str) -> Result<String, CaClientError> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| self.malformed(error))?;
        String::from_utf8(bytes).map_err(|error| self.malformed(error))
    }

    fn malformed(&self, reason: impl std::fmt::Display) -> CaClientError {
        CaClientError::Malformed {
            url: self.url.clone(),
            reason: reason.to_string(),
        }
    }
}

/// How a call proves who makes it.
#[derive(Clone, Copy)]
enum Credentials<'a> {
    None,
    Basic { id: &'a str, secret: &'a str },
    Token(&'a Enrollment),
}

impl<'a> From<&'a Enrollment> for Credentials<'a> {
    fn from(enrollment: &'a Enrollment) -> Self {
        Self::Token(enrollment)
    }
}

/// A fresh key (PKCS#8 PEM), or the given one, and a signing request for it (PEM).
pub fn signing_request(
    request: &EnrollRequest,
) -> Result<(Zeroizing<String>, String), CaClientError> {
    let refused = |error: rcgen::Error| CaClientError::Input {
        what: "certificate signing request",
        reason: error.to_string(),
    };
    let key_pem = match &request.key_pem {
        Some(pem) => pem.clone(),
        None => SigningKey::generate_for(request.key)?.1,
    };
    let key = KeyPair::from_pem(&key_pem).map_err(refused)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(length) = request.authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
    }
    let mut subject = request.subject.clone().unwrap_or_default();
    subject.organization.extend(request.organization.clone());
    for (kind, values) in [
        (DnType::CountryName, &subject.country),
        (DnType::StateOrProvinceName, &subject.province),
        (DnType::LocalityName, &subject.locality),
        (DnType::OrganizationName, &subject.organization),
        (
            DnType::OrganizationalUnitName,
            &subject.organizational_units,
        ),
        (
            DnType::CustomDnType(vec![2, 5, 4, 5]),
            &vec![subject.serial_number.clone()],
        ),
    ] {
        // One of a kind: the library has room for no more, and the authority sets the units.
        if let Some(value) = values.first().filter(|value| !value.is_empty()) {
            params.distinguished_name.push(kind, value.as_str());
        }
    }
    params
        .distinguished_name
        .push(DnType::CommonName, request.id.as_str());
    for host in &request.hosts {
        params.subject_alt_names.push(match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(Ia5String::try_from(host.as_str()).map_err(refused)?),
        });
    }
    let csr = params
        .serialize_request(&key)
        .and_then(|csr| csr.pem())
        .map_err(refused)?;
    Ok((key_pem, csr))
}
