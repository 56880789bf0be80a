//! What registrars do with the register: identities, affiliations, revocation, certificates.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{CaClient, CaClientError, Credentials, Enrollment, Request};
use crate::store::Attribute;

/// A registered identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IdentityInfo {
    /// Enrolment id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its affiliation, dotted.
    pub affiliation: String,
    /// Its attributes.
    #[serde(deserialize_with = "null_is_empty")]
    pub attrs: Vec<Attribute>,
    /// How often it may enrol; -1 without limit.
    pub max_enrollments: i64,
    /// Its secret, where it was just set.
    pub secret: String,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What to change about an identity; what is empty stays as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IdentityChanges {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its affiliation; `.` for none.
    pub affiliation: String,
    /// Attributes to add or change; an empty value removes.
    pub attrs: Vec<Attribute>,
    /// How often it may enrol; -2 for not at all.
    pub max_enrollments: i64,
    /// A new secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret: String,
}

/// An affiliation and those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AffiliationInfo {
    /// Dotted; empty for the root of several.
    pub name: String,
    /// Those directly below.
    pub affiliations: Vec<AffiliationInfo>,
    /// Those who were moved or removed with it.
    pub identities: Vec<IdentityInfo>,
    /// The authority.
    pub caname: String,
}

/// What to revoke: a certificate by serial number and authority key identifier, or an identity
/// with all of its certificates.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RevokeRequest {
    /// The identity.
    pub id: String,
    /// Hex.
    pub serial: String,
    /// Hex.
    pub aki: String,
    /// Why, for instance `keycompromise`.
    pub reason: String,
    /// Whether to answer with a list of all that is revoked.
    pub gencrl: bool,
}

/// What was revoked.
#[derive(Debug, Clone, Default)]
pub struct Revocation {
    /// Serial number and authority key identifier of each certificate, hex.
    pub certificates: Vec<(String, String)>,
    /// The list of all that is revoked, PEM, if it was asked for.
    pub crl_pem: String,
}

/// Which revoked certificates a list names: all, or those within times (RFC 3339).
#[derive(Debug, Clone, Default, Serialize)]
pub struct CrlRequest {
    /// Revoked after this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revokedafter: Option<String>,
    /// Revoked before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revokedbefore: Option<String>,
    /// Ending after this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expireafter: Option<String>,
    /// Ending before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expirebefore: Option<String>,
}

#[derive(Deserialize)]
struct CrlResult {
    #[serde(rename = "CRL")]
    crl: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RevokeResult {
    #[serde(default, deserialize_with = "null_is_empty")]
    revoked_certs: Vec<RevokedCert>,
    #[serde(rename = "CRL", default)]
    crl: String,
}

#[derive(Deserialize)]
struct RevokedCert {
    #[serde(rename = "Serial")]
    serial: String,
    #[serde(rename = "AKI")]
    aki: String,
}

#[derive(Deserialize)]
struct IdentitiesResult {
    #[serde(deserialize_with = "null_is_empty")]
    identities: Vec<IdentityInfo>,
}

#[derive(Deserialize)]
struct CertificatesResult {
    #[serde(deserialize_with = "null_is_empty")]
    certs: Vec<CertificateResult>,
}

#[derive(Deserialize)]
struct CertificateResult {
    #[serde(rename = "PEM")]
    pem: String,
}

impl CaClient {
    /// Revokes a certificate, or an identity with its certificates.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn revoke(
        &self,
        registrar: &Enrollment,
        request: &RevokeRequest,
    ) -> Result<Revocation, CaClientError> {
        let body = self.body(request)?;
        let answer: RevokeResult = self
            .call(&Request::post("revoke", &body), registrar.into())
            .await?;
        let certificates = answer.revoked_certs.into_iter();
        Ok(Revocation {
            certificates: certificates.map(|one| (one.serial, one.aki)).collect(),
            crl_pem: self.decode(&answer.crl)?,
        })
    }

    /// The list of revoked certificates, PEM.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn generate_crl(
        &self,
        registrar: &Enrollment,
        request: &CrlRequest,
    ) -> Result<String, CaClientError> {
        let body = self.body(request)?;
        let answer: CrlResult = self
            .call(&Request::post("gencrl", &body), registrar.into())
            .await?;
        self.decode(&answer.crl)
    }

    /// All identities that the registrar may see.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn identities(
        &self,
        registrar: &Enrollment,
    ) -> Result<Vec<IdentityInfo>, CaClientError> {
        let request = self.get("identities");
        let answer: IdentitiesResult = self.call(&request, registrar.into()).await?;
        Ok(answer.identities)
    }

    /// One identity.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn identity(
        &self,
        registrar: &Enrollment,
        id: &str,
    ) -> Result<IdentityInfo, CaClientError> {
        let request = self.get(&format!("identities/{id}"));
        self.call(&request, registrar.into()).await
    }

    /// Adds an identity, given as JSON in Fabric CA's form.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn add_identity(
        &self,
        registrar: &Enrollment,
        identity: &Value,
    ) -> Result<IdentityInfo, CaClientError> {
        let body = self.body(identity)?;
        self.call(&Request::post("identities", &body), registrar.into())
            .await
    }

    /// Changes an identity.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn modify_identity(
        &self,
        registrar: &Enrollment,
        id: &str,
        changes: &IdentityChanges,
    ) -> Result<IdentityInfo, CaClientError> {
        let request = Request {
            method: Method::PUT,
            path: format!("identities/{id}"),
            query: Vec::new(),
            body: self.body(changes)?.to_string(),
        };
        self.call(&request, registrar.into()).await
    }

    /// Removes an identity; `force` for the registrar itself.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn remove_identity(
        &self,
        registrar: &Enrollment,
        id: &str,
        force: bool,
    ) -> Result<IdentityInfo, CaClientError> {
        let request = self.delete(&format!("identities/{id}"), force);
        self.call(&request, registrar.into()).await
    }

    /// All affiliations that the caller may see.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn affiliations(
        &self,
        manager: &Enrollment,
    ) -> Result<AffiliationInfo, CaClientError> {
        self.call(&self.get("affiliations"), manager.into()).await
    }

    /// One affiliation and those below it.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn affiliation(
        &self,
        manager: &Enrollment,
        name: &str,
    ) -> Result<AffiliationInfo, CaClientError> {
        let request = self.get(&format!("affiliations/{name}"));
        self.call(&request, manager.into()).await
    }

    /// Adds an affiliation; with `force` also those above it.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn add_affiliation(
        &self,
        manager: &Enrollment,
        name: &str,
        force: bool,
    ) -> Result<AffiliationInfo, CaClientError> {
        let body = self.body(&json!({ "name": name, "force": force }))?;
        let mut request = Request::post("affiliations", &body);
        request.query.push(("force".into(), force.to_string()));
        self.call(&request, manager.into()).await
    }

    /// Renames an affiliation; with `force` even if identities have it.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn modify_affiliation(
        &self,
        manager: &Enrollment,
        name: &str,
        new_name: &str,
        force: bool,
    ) -> Result<AffiliationInfo, CaClientError> {
        let request = Request {
            method: Method::PUT,
            path: format!("affiliations/{name}"),
            query: vec![("force".into(), force.to_string())],
            body: self
                .body(&json!({ "name": new_name, "force": force }))?
                .to_string(),
        };
        self.call(&request, manager.into()).await
    }

    /// Removes an affiliation; with `force` also those below it and the identities that have them.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn remove_affiliation(
        &self,
        manager: &Enrollment,
        name: &str,
        force: bool,
    ) -> Result<AffiliationInfo, CaClientError> {
        let request = self.delete(&format!("affiliations/{name}"), force);
        self.call(&request, manager.into()).await
    }

    /// Certificates (PEM) that fit `filter`, names and values in Fabric CA's form, for instance
    /// `("id", "peer0")` or `("notexpired", "true")`.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn certificates(
        &self,
        registrar: &Enrollment,
        filter: &[(&str, &str)],
    ) -> Result<Vec<String>, CaClientError> {
        let mut request = self.get("certificates");
        let given = filter.iter().filter(|(_, value)| !value.is_empty());
        request
            .query
            .extend(given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let answer: CertificatesResult = self.call(&request, registrar.into()).await?;
        Ok(answer.certs.into_iter().map(|one| one.pem).collect())
    }

    /// Any request, in the name of `caller` if one is given; the result as JSON.
    ///
    /// # Errors
    /// If the authority cannot be reached or refuses.
    pub async fn request(
        &self,
        caller: Option<&Enrollment>,
        request: &Request,
    ) -> Result<Value, CaClientError> {
        let credentials = caller.map_or(Credentials::None, Credentials::Token);
        self.call(request, credentials).await
    }

    fn get(&self, path: &str) -> Request {
        Request {
            method: Method::GET,
            path: path.to_owned(),
            query: self.ca_query(),
            body: String::new(),
        }
    }

    fn delete(&self, path: &str, force: bool) -> Request {
        let mut query = vec![("force".to_owned(), force.to_string())];
        query.extend(self.ca_query());
        Request {
            method: Method::DELETE,
            path: path.to_owned(),
            query,
            body: String::new(),
        }
    }

    fn ca_query(&self) -> Vec<(String, String)> {
        match self.ca_name.as_str() {
            "" => Vec::new(),
            name => vec![("ca".into(), name.into())],
        }
    }

    /// The body with the authority's name in it.
    fn body(&self, contents: &impl Serialize) -> Result<Value, CaClientError> {
        let mut body = serde_json::to_value(contents).map_err(|error| CaClientError::Input {
            what: "request",
            reason: error.to_string(),
        })?;
        if let Some(members) = body.as_object_mut() {
            members.insert("caname".into(), self.ca_name.clone().into());
        }
        Ok(body)
    }
}
