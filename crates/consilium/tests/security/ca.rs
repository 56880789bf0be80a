//! The certificate authority, which knows its callers by tokens instead of TLS certificates.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consilium_msp::{Signer, SoftwareSigner};
use consilium_testkit::{NodeOu, Template};
use serde_json::Value;

use crate::http::{self, Answer};
use crate::people::self_signed;
use crate::site::{REGISTRAR, Site, Tampering};
use crate::table::{Attack, Entry};

const REGISTER: &str = "/api/v1/register";

/// The answer to an attack that is made otherwise than on the other entry points.
pub async fn attempt(site: &Site, attack: Attack) -> Option<String> {
    let body = br#"{"id":"mallory","type":"client","affiliation":""}"#;
    let people = &site.people;
    Some(match attack {
        Attack::NoCertificate => post(site, REGISTER, None, body).await,
        Attack::OtherOrganization => {
            let stranger = people.stranger.issue(REGISTRAR.0, NodeOu::Admin);
            let signer = people.stranger.signer_of(&stranger);
            let token = http::token(signer.as_ref(), &stranger.cert_pem, "POST", REGISTER, body);
            post(site, REGISTER, Some(&token), body).await
        }
        Attack::SelfSigned => {
            let own = self_signed(&Template::new(REGISTRAR.0));
            let signer = people.hospital.signer_of(&own);
            let token = http::token(signer.as_ref(), &own.cert_pem, "POST", REGISTER, body);
            post(site, REGISTER, Some(&token), body).await
        }
        Attack::ReplayedToken => {
            let (signer, certificate) = enroll(site).await;
            let other = "/api/v1/reenroll";
            let token = http::token(signer.as_ref(), &certificate, "POST", other, body);
            post(site, REGISTER, Some(&token), body).await
        }
        Attack::TamperedToken => {
            let (signer, certificate) = enroll(site).await;
            let signer = Tampering(signer);
            let token = http::token(&signer, &certificate, "POST", REGISTER, body);
            post(site, REGISTER, Some(&token), body).await
        }
        Attack::PathTraversal => {
            let mut answers = Vec::new();
            for path in ["/../../msp/keystore", "/api/v1/..%2F..%2Fca-cert.pem"] {
                let request = http::request("GET", path, &[], b"");
                let answer = http::exchange(site.door(Entry::Ca), None, &request).await;
                answers.push(match answer {
                    Ok(answer) => answer.status.to_string(),
                    Err(error) => error,
                });
            }
            answers.join("; ")
        }
        _ => return None,
    })
}

async fn post(site: &Site, path: &str, token: Option<&str>, body: &[u8]) -> String {
    let headers: Vec<(&str, &str)> = token
        .map(|token| ("authorization", token))
        .into_iter()
        .collect();
    match send(site, path, &headers, body).await {
        Err(error) => error,
        Ok(answer) => {
            let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let error = &said["errors"][0];
            format!(
                "{} code {}: {}",
                answer.status,
                error["code"],
                error["message"].as_str().unwrap_or_default()
            )
        }
    }
}

async fn send(
    site: &Site,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, String> {
    let request = http::request("POST", path, headers, body);
    http::exchange(site.door(Entry::Ca), None, &request).await
}

/// The registrar, enrolled: a signer, and its certificate in PEM.
async fn enroll(site: &Site) -> (Arc<SoftwareSigner>, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut request = rcgen::CertificateParams::default();
    request.distinguished_name = rcgen::DistinguishedName::new();
    let name = rcgen::DnType::CommonName;
    request.distinguished_name.push(name, REGISTRAR.0);
    let request = request
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .expect("a request");
    let body = serde_json::json!({ "certificate_request": request }).to_string();
    let basic = format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{}", REGISTRAR.0, REGISTRAR.1))
    );
    let path = "/api/v1/enroll";
    let answer = send(site, path, &[("authorization", &basic)], body.as_bytes()).await;
    let answer = answer.expect("an answer");
    let said: Value = serde_json::from_str(&answer.body).expect("JSON");
    let certificate = said["result"]["Cert"].as_str().unwrap_or_default();
    let certificate = STANDARD.decode(certificate).expect("base64");
    let key = key.serialize_pem();
    let signer = SoftwareSigner::from_pem("HospitalMSP", &certificate, key.as_bytes());
    let signer = signer.unwrap_or_else(|error| panic!("{error}: {}", answer.body));
    let pem = String::from_utf8(certificate).expect("PEM");
    assert_eq!(signer.msp_id(), "HospitalMSP");
    (Arc::new(signer), pem)
}
