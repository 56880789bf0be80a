//! What must not get a caller in.

use std::{fs, path::Path, sync::Arc};

use consilium_contracts::caller::ATTRIBUTES_OID;
use consilium_testkit::{Credential, NodeOu, Organization, Template};
use consilium_transport::ClientCertificate;
use http::{Request, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{
    authenticate::Members,
    scopes,
    tokens::{TokenRequest, Tokens},
    wallet::Wallet,
};

const URL: &str = "https://hospital.example";
const ENDPOINT: &str = "https://hospital.example/oauth2/token";

struct House {
    folder: tempfile::TempDir,
    organization: Organization,
    wallet: Arc<Wallet>,
    tokens: Arc<Tokens>,
    members: Members,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wallet = Arc::new(Wallet::open(folder.path(), "HospitalMSP").unwrap());
        let tokens = Arc::new(Tokens::new(URL, ENDPOINT).unwrap());
        House {
            members: Members::new(wallet.clone(), tokens.clone()),
            organization: Organization::new("HospitalMSP", "hospital.example"),
            folder,
            wallet,
            tokens,
        }
    }

    fn issue(&self, name: &str, attributes: &Value) -> Credential {
        let value = json!({"attrs": attributes}).to_string().into_bytes();
        let mut template = Template::new(name).with_units(&[NodeOu::Client.name()]);
        template.extensions.push((ATTRIBUTES_OID, false, value));
        self.organization.ca().issue(&template)
    }

    /// A new member of the wallet.
    fn member(&self, name: &str, attributes: &Value) -> Credential {
        let credential = self.issue(name, attributes);
        put(
            self.folder.path(),
            &format!("{name}@hospital.example"),
            &credential,
        );
        credential
    }

    fn exchange(&self, assertion: &str, scope: &str) -> Result<String, String> {
        let request = TokenRequest {
            grant_type: "client_credentials".into(),
            scope: scope.into(),
            client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into(),
            client_assertion: assertion.into(),
            purpose_of_use: String::new(),
        };
        let member = |name: &str| self.wallet.member(name).ok().flatten();
        self.tokens
            .exchange(
                &request,
                now(),
                |name| Some(member(name)?.signer.certificate().clone()),
                |name, wanted| {
                    let member = member(name).unwrap();
                    scopes::granted(wanted, member.caller.attribute("hc.scope"))
                },
            )
            .map(|answer| answer.access_token)
            .map_err(|refusal| refusal.to_string())
    }

    fn identify(&self, authorization: Option<&str>, certificate: Option<&[u8]>) -> Option<String> {
        let mut request = Request::builder();
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let shown = certificate.map(bytes::Bytes::copy_from_slice);
        parts.extensions.insert(ClientCertificate(shown));
        self.members
            .identify(&parts)
            .ok()
            .map(|identity| identity.name)
    }
}

fn put(folder: &Path, name: &str, credential: &Credential) {
    let msp = folder.join(name).join("msp");
    for (kind, file, text) in [
        ("signcerts", "cert.pem", &credential.cert_pem),
        ("keystore", "key.pem", &credential.key_pem),
    ] {
        fs::create_dir_all(msp.join(kind)).unwrap();
        fs::write(msp.join(kind).join(file), text).unwrap();
    }
}

fn der_of(pem: &str) -> Vec<u8> {
    der::pem::decode_vec(pem.as_bytes()).unwrap().1
}

fn now() -> u64 {
    jiff::Timestamp::now().as_second().unsigned_abs()
}

fn claims(name: &str, id: &str) -> Value {
    json!({"iss": name, "sub": name, "aud": ENDPOINT, "exp": now() + 120, "jti": id})
}

fn assertion(credential: &Credential, claims: &Value) -> String {
    let key = EncodingKey::from_ec_der(&der_of(&credential.key_pem));
    encode(&Header::new(Algorithm::ES256), claims, &key).unwrap()
}

#[test]
fn an_assertion_is_good_once_and_by_its_own_key_alone() {
    let house = House::new();
    let alice = house.member("alice", &json!({"hc.role": "physician"}));
    let stranger = house.issue("alice", &json!({}));
    let other = |field: &str, value: Value| {
        let mut claims = claims("alice", "other");
        claims[field] = value;
        assertion(&alice, &claims)
    };
    let refused = |assertion: &str, reason: &str| {
        let said = house.exchange(assertion, "user/*.rs").unwrap_err();
        assert!(said.contains(reason), "{said} instead of {reason}");
    };
    refused(
        &assertion(&stranger, &claims("alice", "1")),
        "not signed by the key",
    );
    refused(
        &assertion(&alice, &claims("nobody", "1")),
        "not signed by the key",
    );
    refused(
        &assertion(&alice, &claims("../alice", "1")),
        "not signed by the key",
    );
    refused(&other("exp", json!(now() - 3600)), "expired");
    refused(&other("exp", json!(now() + 3600)), "within five minutes");
    refused(
        &other("aud", json!("https://elsewhere.example")),
        "aud of client_assertion",
    );
    refused(&other("sub", json!("bob")), "iss and sub");
    refused(&other("jti", json!("")), "jti");
    refused("", "client_assertion has to have");
    refused("a.b.c", "no JWT");
    let good = assertion(&alice, &claims("alice", "2"));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (_, body) = head.split_once('.').unwrap();
    // {"alg":"none"}
    refused(&format!("eyJhbGciOiJub25lIn0.{body}."), "");
    let swapped = if signature.starts_with('A') { "B" } else { "A" };
    refused(
        &format!("{head}.{swapped}{}", &signature[1..]),
        "not signed by the key",
    );
    let token = house.exchange(&good, "user/*.rs").unwrap();
    assert_eq!(house.tokens.check(&token).unwrap().sub, "alice");
    refused(&good, "used before");
}

#[test]
fn nobody_is_known_without_proof() {
    let house = House::new();
    let alice = house.member("alice", &json!({"hc.role": "nurse"}));
    let stranger =
        Organization::new("HospitalMSP", "hospital.example").issue("alice", NodeOu::Client);
    let own = der_of(&alice.cert_pem);
    let token = house
        .exchange(&assertion(&alice, &claims("alice", "1")), "user/*.rs")
        .unwrap();
    let elsewhere = House::new();
    let theirs = elsewhere.member("alice", &json!({}));
    let foreign = elsewhere
        .exchange(&assertion(&theirs, &claims("alice", "1")), "user/*.rs")
        .unwrap();
    let (head, _) = token.rsplit_once('.').unwrap();
    for (authorization, certificate, known) in [
        (None, None, false),
        (None, Some(own.as_slice()), true),
        (None, Some(der_of(&stranger.cert_pem).as_slice()), false),
        (None, Some(b"no certificate".as_slice()), false),
        (Some(format!("Bearer {token}")), None, true),
        (Some(format!("bearer {token}")), None, true),
        (Some(format!("Bearer {foreign}")), None, false),
        (Some(format!("Bearer {head}.AAAA")), None, false),
        (Some(format!("Basic {token}")), None, false),
        (Some("Bearer".into()), None, false),
        // A bad token is not made up for by a certificate.
        (Some("Bearer x".into()), Some(own.as_slice()), false),
    ] {
        let found = house.identify(authorization.as_deref(), certificate);
        assert_eq!(found.is_some(), known, "{authorization:?}");
        assert!(found.is_none_or(|name| name == "alice"));
    }
}

#[test]
fn a_token_is_no_wider_than_the_certificate() {
    let house = House::new();
    let bound = json!({"hc.role": "billing", "hc.scope": "system/Claim.cruds"});
    let bob = house.member("bob", &bound);
    let refused = house.exchange(&assertion(&bob, &claims("bob", "1")), "user/*.cruds");
    assert!(refused.unwrap_err().starts_with("invalid_scope"));
    let wanted = "system/Claim.rs system/Patient.rs";
    let token = house.exchange(&assertion(&bob, &claims("bob", "2")), wanted);
    let claims = house.tokens.check(&token.unwrap()).unwrap();
    assert_eq!(claims.scope, "system/Claim.rs");
}

#[test]
fn names_do_not_lead_out_of_the_wallet() {
    let house = House::new();
    let outside = tempfile::tempdir_in(house.folder.path().parent().unwrap()).unwrap();
    let credential = house.issue("eve", &json!({}));
    put(outside.path(), "eve", &credential);
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    for name in [
        format!("../{name}/eve"),
        format!("{}/eve", outside.path().display()),
        "..".into(),
        ".".into(),
        String::new(),
    ] {
        assert!(house.wallet.member(&name).unwrap().is_none(), "{name}");
    }
}

#[test]
fn lines_are_counted_with_and_without_their_last_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)] {
        fs::write(&file, text).unwrap();
        assert_eq!(super::count_lines(&file).unwrap(), lines, "{text:?}");
    }
    assert!(
        super::count_lines(folder.path()).is_err(),
        "a folder has none"
    );
}
