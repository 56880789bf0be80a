//! `connection.json`: where a chaincode service listens and how to trust it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long dialling may take when the file does not say.
const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// A chaincode service. (fabric: core/container/externalbuilder ccserverinfo)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `host:port`.
    pub address: String,
    /// How long establishing the connection may take.
    pub dial_timeout: Duration,
    /// TLS, when the service wants it.
    pub tls: Option<ConnectionTls>,
}

/// The TLS side of a [`Connection`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionTls {
    /// PEM of the certificates that may have issued the service's certificate.
    pub root_cert: String,
    /// PEM of (certificate, key) when the service asks for ours.
    pub client: Option<(String, String)>,
    /// The name to expect in the service's certificate instead of the address's host.
    pub domain: Option<String>,
}

/// Why a `connection.json` cannot be used. The texts are Fabric's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConnectionError {
    /// Not a JSON object of the expected form.
    #[error("connection.json malformed: {0}")]
    Malformed(String),
    /// No address.
    #[error("chaincode address not provided")]
    NoAddress,
    /// `dial_timeout` is neither a duration nor nanoseconds.
    #[error("invalid duration")]
    Duration,
    /// TLS without a root certificate.
    #[error("chaincode tls root cert not provided")]
    NoRootCert,
    /// Mutual TLS without a key.
    #[error("chaincode tls key not provided")]
    NoKey,
    /// Mutual TLS without a certificate.
    #[error("chaincode tls cert not provided")]
    NoCert,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct File {
    address: String,
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    dial_timeout: serde_json::Value,
    #[serde(skip_serializing_if = "String::is_empty")]
    domain: String,
    tls_required: bool,
    client_auth_required: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_cert: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    root_cert: String,
}

impl Connection {
    /// A service without TLS, for a program on the same host or in the same pod.
    pub fn plain(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            dial_timeout: DEFAULT_DIAL_TIMEOUT,
            tls: None,
        }
    }

    /// Reads `connection.json`.
    ///
    /// # Errors
    /// The first thing that is missing or malformed.
    pub fn parse(json: &[u8]) -> Result<Self, ConnectionError> {
        let file: File = serde_json::from_slice(json)
            .map_err(|error| ConnectionError::Malformed(error.to_string()))?;
        if file.address.is_empty() {
            return Err(ConnectionError::NoAddress);
        }
        let tls = if file.tls_required {
            Some(tls(&file)?)
        } else {
            None
        };
        Ok(Self {
            dial_timeout: dial_timeout(&file.dial_timeout)?,
            address: file.address,
            tls,
        })
    }

    /// The same connection with `{{.name}}` in each text replaced from `values`, as the `ccaas`
    /// builder of Fabric does with the JSON of CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG.
    pub fn filled_in(mut self, values: &BTreeMap<String, String>) -> Self {
        fill_in(&mut self.address, values);
        if let Some(tls) = &mut self.tls {
            fill_in(&mut tls.root_cert, values);
            if let Some((certificate, key)) = &mut tls.client {
                fill_in(certificate, values);
                fill_in(key, values);
            }
            if let Some(domain) = &mut tls.domain {
                fill_in(domain, values);
            }
        }
        self
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut file = File {
            address: self.address.clone(),
            dial_timeout: format!("{}ms", self.dial_timeout.as_millis()).into(),
            tls_required: self.tls.is_some(),
            ..File::default()
        };
        if let Some(tls) = &self.tls {
            file.root_cert = tls.root_cert.clone();
            file.domain = tls.domain.clone().unwrap_or_default();
            if let Some((certificate, key)) = &tls.client {
                file.client_auth_required = true;
                file.client_cert = certificate.clone();
                file.client_key = key.clone();
            }
        }
        // A struct of strings, booleans and one string value.
        serde_json::to_vec(&file).expect("structs of strings always serialize")
    }
}

fn tls(file: &File) -> Result<ConnectionTls, ConnectionError> {
    let mut tls = ConnectionTls {
        root_cert: String::new(),
        client: None,
        domain: None,
    };
    if file.client_auth_required {
        if file.client_key.is_empty() {
            return Err(ConnectionError::NoKey);
        }
        if file.client_cert.is_empty() {
            return Err(ConnectionError::NoCert);
        }
        tls.client = Some((file.client_cert.clone(), file.client_key.clone()));
        // Fabric looks at `domain` only together with client authentication.
        tls.domain = (!file.domain.is_empty()).then(|| file.domain.clone());
    }
    if file.root_cert.is_empty() {
        return Err(ConnectionError::NoRootCert);
    }
    tls.root_cert = file.root_cert.clone();
    Ok(tls)
}

fn dial_timeout(value: &serde_json::Value) -> Result<Duration, ConnectionError> {
    let duration = match value {
        serde_json::Value::Null => return Ok(DEFAULT_DIAL_TIMEOUT),
        serde_json::Value::String(text) => {
            humantime::parse_duration(text).map_err(|_| ConnectionError::Duration)?
        }
        serde_json::Value::Number(nanoseconds) => {
            let nanoseconds = nanoseconds
                .as_u64()
                .or_else(|| nanoseconds.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
                .ok_or(ConnectionError::Duration)?;
            Duration::from_nanos(nanoseconds)
        }
        _ => return Err(ConnectionError::Duration),
    };
    Ok(if duration.is_zero() {
        DEFAULT_DIAL_TIMEOUT
    } else {
        duration
    })
}

fn fill_in(text: &mut String, values: &BTreeMap<String, String>) {
    if text.contains("{{") {
        for (name, value) in values {
            *text = text.replace(&format!("{{{{.{name}}}}}"), value);
        }
    }
}
