//! Requests that must not succeed, each with Fabric CA's status and code, and nothing written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::csr::{CsrError, SigningRequest};
use crate::keys::SigningKey;
use crate::server::{Call, Endpoint, Granted};
use crate::token::{self, Signed};

/// A certificate and its key, as a caller holds them.
#[derive(Clone)]
pub(super) struct Caller {
    pub certificate: String,
    pub key: String,
}

pub(super) fn csr(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, ADMIN);
    change(&mut params);
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    (csr, key.serialize_pem())
}

pub(super) fn basic(id: &str, password: &str) -> Option<String> {
    Some(format!(
        "Basic {}",
        STANDARD.encode(format!("{id}:{password}"))
    ))
}

pub(super) fn call(authorization: Option<String>, body: impl Into<Bytes>) -> Call {
    Call {
        method: "POST".into(),
        uri: "/api/v1/x".into(),
        authorization,
        body: body.into(),
        ..Call::default()
    }
}

pub(super) fn signed(caller: &Caller, body: &Value) -> Call {
    let body = body.to_string();
    let request = Signed {
        method: "POST",
        uri: "/api/v1/x",
        body: body.as_bytes(),
    };
    let key = SigningKey::from_pem(caller.key.as_bytes()).unwrap();
    let token = token::create(request, caller.certificate.as_bytes(), &key).unwrap();
    call(Some(token), body)
}

/// Enrols without a network.
pub(super) fn enroll(ca: &CaServer, id: &str, password: &str) -> Caller {
    let (csr, key) = csr(|params| params.distinguished_name.push(DnType::CommonName, id));
    let body = json!({ "certificate_request": csr }).to_string();
    let granted = ca
        .answer(Endpoint::Enroll, &call(basic(id, password), body))
        .unwrap();
    Caller {
        certificate: certificate(&granted),
        key,
    }
}

pub(super) fn certificate(granted: &Granted) -> String {
    let text = granted.result["Cert"].as_str().unwrap();
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// Status, and the codes for the log and for the client.
pub(super) fn refused(ca: &CaServer, endpoint: Endpoint, call: &Call) -> (u16, i64, i64) {
    let refusal = ca.answer(endpoint, call).unwrap_err();
    (refusal.status, refusal.local.0, refusal.remote.0)
}

#[test]
fn enrolment_requests_that_cannot_be_granted() {
    let fixture = Fixture::new();
    let ca = &fixture.ca;
    let admin = || basic(ADMIN, PASSWORD);
    let good = csr(|_| {}).0;
    let body = |csr: &str| json!({ "certificate_request": csr }).to_string();
    let with = |name: &str, value: Value| {
        let mut body = json!({ "certificate_request": good });
        body[name] = value;
        body.to_string()
    };
    let long = |kind: DnType, length: usize| {
        body(&csr(|params| params.distinguished_name.push(kind, "x".repeat(length))).0)
    };
    let mut tampered = STANDARD
        .decode(
            good.lines()
                .filter(|line| !line.starts_with('-'))
                .collect::<String>(),
        )
        .unwrap();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    let tampered = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(tampered)
    );
    let ed25519 = {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, ADMIN);
        params.serialize_request(&key).unwrap().pem().unwrap()
    };
    let authority = csr(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).0;
    let cases = [
        ("no header", None, body(&good), (401, 2, 2)),
        (
            "empty header",
            Some(String::new()),
            body(&good),
            (401, 2, 2),
        ),
        (
            "bearer",
            Some("Bearer x".into()),
            body(&good),
            (401, 21, 20),
        ),
        (
            "not base64",
            Some("Basic %".into()),
            body(&good),
            (401, 21, 20),
        ),
        (
            "unknown identity",
            basic("nobody", PASSWORD),
            body(&good),
            (401, 23, 20),
        ),
        (
            "wrong password",
            basic(ADMIN, "wrong"),
            body(&good),
            (401, 24, 20),
        ),
        ("empty body", admin(), String::new(), (400, 4, 4)),
        ("not JSON", admin(), "{".into(), (400, 5, 5)),
        (
            "wrong type",
            admin(),
            r#"{"certificate_request":1}"#.into(),
            (400, 5, 5),
        ),
        (
            "other CA",
            admin(),
            with("caname", json!("ca2")),
            (404, 19, 19),
        ),
        ("no request", admin(), "{}".into(), (400, 31, 31)),
        ("garbage", admin(), body("garbage"), (400, 31, 31)),
        (
            "a certificate",
            admin(),
            body(ca.ca_certificate_pem()),
            (400, 31, 31),
        ),
        ("wrong signature", admin(), body(&tampered), (400, 31, 31)),
        ("unsupported key", admin(), body(&ed25519), (400, 31, 31)),
        (
            "another's name",
            admin(),
            body(&csr(|params| params.distinguished_name.push(DnType::CommonName, "x")).0),
            (403, 77, 77),
        ),
        (
            "another's subject",
            admin(),
            with("subject", json!({"CN": "x"})),
            (403, 77, 77),
        ),
        (
            "unknown profile",
            admin(),
            with("profile", json!("x")),
            (500, 0, 0),
        ),
        ("a CA", admin(), body(&authority), (500, 0, 0)),
        (
            "extensions",
            admin(),
            with("extensions", json!([{"id": "1.2"}])),
            (400, 31, 31),
        ),
        (
            "long organization",
            admin(),
            long(DnType::OrganizationName, 65),
            (400, 80, 80),
        ),
        (
            "long country",
            admin(),
            long(DnType::CountryName, 3),
            (400, 80, 80),
        ),
        (
            "long locality",
            admin(),
            long(DnType::LocalityName, 129),
            (400, 80, 80),
        ),
        (
            "bad host",
            admin(),
            with("hosts", json!(["höst"])),
            (500, 0, 0),
        ),
        (
            "missing attribute",
            admin(),
            with("attr_reqs", json!([{"name": "x"}])),
            (500, 0, 0),
        ),
    ];
    for (what, authorization, body, expected) in cases {
        let call = call(authorization, body);
        assert_eq!(refused(ca, Endpoint::Enroll, &call), expected, "{what}");
    }
    let good = call(admin(), body(&good));
    assert_eq!(ca.answer(Endpoint::Enroll, &good).unwrap().status, 201);
}

#[test]
fn an_identity_without_the_attribute_may_not_become_an_authority() {
    let fixture = Fixture::new();
    let admin = enroll(&fixture.ca, ADMIN, PASSWORD);
    let registration = json!({"id": "user", "secret": "pw"});
    fixture
        .ca
        .answer(Endpoint::Register, &signed(&admin, &registration))
        .unwrap();
    let authority = csr(|params| {
        params.distinguished_name.push(DnType::CommonName, "user");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let body = json!({ "certificate_request": authority.0 }).to_string();
    let call = call(basic("user", "pw"), body);
    assert_eq!(refused(&fixture.ca, Endpoint::Enroll, &call), (403, 78, 71));
}

#[test]
fn tokens_that_prove_nothing() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let ca = &fixture.ca;
    let admin = enroll(ca, ADMIN, PASSWORD);
    let foreign = enroll(&other.ca, ADMIN, PASSWORD);
    let body = json!({"id": "someone"});
    let good = signed(&admin, &body);
    let with_token = |token: String| call(Some(token), body.to_string());
    let changed = |change: &dyn Fn(&mut Call)| {
        let mut call = good.clone();
        change(&mut call);
        call
    };
    let token = good.authorization.clone().unwrap();
    let (certificate, _) = token.split_once('.').unwrap();
    let stolen = Caller {
        certificate: admin.certificate.clone(),
        key: foreign.key.clone(),
    };
    let root_claim = Caller {
        certificate: ca.ca_certificate_pem().into(),
        key: admin.key.clone(),
    };
    let invalid = (401, 25, 20);
    let cases = [
        (
            "no header",
            changed(&|call| call.authorization = None),
            (401, 2, 2),
        ),
        ("one part", with_token("abc".into()), invalid),
        ("three parts", with_token("a.b.c".into()), invalid),
        ("not base64", with_token("%.%".into()), invalid),
        ("not a certificate", with_token("YWJj.YWJj".into()), invalid),
        (
            "no signature",
            with_token(format!("{certificate}.")),
            invalid,
        ),
        (
            "basic",
            with_token(basic(ADMIN, PASSWORD).unwrap()),
            invalid,
        ),
        (
            "another body",
            changed(&|call| call.body = r#"{"id":"x"}"#.into()),
            invalid,
        ),
        (
            "another path",
            changed(&|call| call.uri = "/register".into()),
            invalid,
        ),
        (
            "another method",
            changed(&|call| call.method = "PUT".into()),
            invalid,
        ),
        ("another's certificate", signed(&stolen, &body), invalid),
        (
            "the root's certificate",
            signed(&root_claim, &body),
            invalid,
        ),
        (
            "another authority's",
            signed(&foreign, &body),
            (401, 26, 20),
        ),
    ];
    for (what, call, expected) in cases {
        for endpoint in [Endpoint::Register, Endpoint::Reenroll] {
            assert_eq!(
                refused(ca, endpoint, &call),
                expected,
                "{what} {endpoint:?}"
            );
        }
    }
    assert_eq!(ca.answer(Endpoint::Register, &good).unwrap().status, 201);
}

#[test]
fn a_certificate_that_is_not_in_the_register_proves_nothing() {
    let fixture = Fixture::new();
    let admin = enroll(&fixture.ca, ADMIN, PASSWORD);
    // The same root with an empty database.
    let home = tempfile::tempdir().unwrap();
    let from = fixture.home.path();
    std::fs::copy(from.join("ca-cert.pem"), home.path().join("ca-cert.pem")).unwrap();
    let key = std::fs::read_dir(from.join("msp/keystore"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::copy(key.path(), home.path().join("ca-key.pem")).unwrap();
    let ca = CaServer::open(options(&home)).unwrap();
    let call = signed(&admin, &json!({"id": "someone"}));
    assert_eq!(refused(&ca, Endpoint::Register, &call), (401, 30, 20));
}

#[test]
fn an_expired_certificate_proves_nothing() {
    let fixture =
        Fixture::with(|options| options.profiles.default.validity = std::time::Duration::ZERO);
    let admin = enroll(&fixture.ca, ADMIN, PASSWORD);
    let end = crate::authority::now();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while crate::authority::now() <= end {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let call = signed(&admin, &json!({"id": "someone"}));
    assert_eq!(
        refused(&fixture.ca, Endpoint::Register, &call),
        (401, 27, 20)
    );
}

#[test]
fn the_older_form_of_token_is_accepted_where_it_is_allowed() {
    for allowed in [false, true] {
        let fixture = Fixture::with(|options| options.legacy_tokens = allowed);
        let admin = enroll(&fixture.ca, ADMIN, PASSWORD);
        let body = json!({"id": "someone"}).to_string();
        let certificate = STANDARD.encode(&admin.certificate);
        let payload = format!("{}.{certificate}", STANDARD.encode(&body));
        let key = SigningKey::from_pem(admin.key.as_bytes()).unwrap();
        let signature = STANDARD.encode(key.sign(payload.as_bytes()).unwrap());
        let call = call(Some(format!("{certificate}.{signature}")), body);
        let answer = fixture.ca.answer(Endpoint::Register, &call);
        assert_eq!(answer.is_ok(), allowed);
    }
}

#[test]
fn registrations_that_must_not_happen() {
    let fixture = Fixture::with(|options| options.max_enrollments = 5);
    let ca = &fixture.ca;
    let admin = enroll(ca, ADMIN, PASSWORD);
    let register = |caller: &Caller, body: Value| {
        ca.answer(Endpoint::Register, &signed(caller, &body))
            .map(|granted| granted.status)
    };
    let peers_only = json!([
        {"name": "hf.Registrar.Roles", "value": "peer"},
        {"name": "hf.Registrar.Attributes", "value": "color"},
    ]);
    register(&admin, json!({"id": "user", "secret": "pw"})).unwrap();
    let limited = json!({
        "id": "limited", "secret": "pw", "affiliation": "org1", "attrs": peers_only,
    });
    register(&admin, limited).unwrap();
    let user = enroll(ca, "user", "pw");
    let limited = enroll(ca, "limited", "pw");
    let unauthorized = (403, 76, 71);
    let cases = [
        (&admin, json!({"id": "user"}), (409, 74, 74)),
        (&admin, json!({"id": ""}), (400, 75, 75)),
        (
            &admin,
            json!({"id": "x", "secret": "s".repeat(80)}),
            (400, 75, 75),
        ),
        (
            &admin,
            json!({"id": "x", "max_enrollments": 6}),
            (400, 82, 82),
        ),
        (
            &admin,
            json!({"id": "x", "max_enrollments": -1}),
            (400, 82, 82),
        ),
        (
            &admin,
            json!({"id": "x", "max_enrollments": -2}),
            (400, 82, 82),
        ),
        (
            &admin,
            json!({"id": "x", "affiliation": "org9"}),
            unauthorized,
        ),
        (
            &admin,
            json!({"id": "x", "attrs": [{"name": "hf.Type", "value": "a"}]}),
            unauthorized,
        ),
        (
            &admin,
            json!({"id": "x", "attrs": [{"name": "hf.Z", "value": "a"}]}),
            unauthorized,
        ),
        (&admin, json!({"id": "x", "caname": "ca2"}), (404, 19, 19)),
        (&user, json!({"id": "x"}), unauthorized),
        (&limited, json!({"id": "x", "type": "client"}), unauthorized),
        (
            &limited,
            json!({"id": "x", "type": "peer", "affiliation": "."}),
            unauthorized,
        ),
        (
            &limited,
            json!({"id": "x", "type": "peer", "affiliation": "org2"}),
            unauthorized,
        ),
        (
            &limited,
            json!({"id": "x", "type": "peer", "attrs": [{"name": "size", "value": "1"}]}),
            unauthorized,
        ),
    ];
    for (caller, body, expected) in cases {
        let call = signed(caller, &body);
        assert_eq!(refused(ca, Endpoint::Register, &call), expected, "{body}");
    }
    let below = json!({
        "id": "x", "type": "peer", "affiliation": "org1.department1",
        "attrs": [{"name": "color", "value": "blue"}],
    });
    assert_eq!(register(&limited, below), Ok(201));
}

#[test]
fn an_identity_is_locked_after_too_many_wrong_passwords() {
    let fixture = Fixture::with(|options| options.password_attempts = 2);
    let body = json!({ "certificate_request": csr(|_| {}).0 }).to_string();
    let attempt = |password: &str| {
        let call = call(basic(ADMIN, password), body.clone());
        let answer = fixture.ca.answer(Endpoint::Enroll, &call);
        answer
            .map(|granted| granted.status)
            .map_err(|refusal| refusal.local.0)
    };
    assert_eq!(attempt("wrong"), Err(24));
    assert_eq!(attempt(PASSWORD), Ok(201));
    assert_eq!(attempt("wrong"), Err(24));
    assert_eq!(attempt("wrong"), Err(24));
    assert_eq!(attempt(PASSWORD), Err(73));
}

#[test]
fn an_authority_that_enrols_nobody_says_so() {
    let fixture = Fixture::with(|options| options.max_enrollments = 0);
    let body = json!({ "certificate_request": csr(|_| {}).0 }).to_string();
    let call = call(basic(ADMIN, PASSWORD), body);
    assert_eq!(refused(&fixture.ca, Endpoint::Enroll, &call), (401, 22, 20));
}

#[test]
fn a_request_that_was_changed_anywhere_is_refused_or_means_the_same() {
    let (pem, _) = csr(|_| {});
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(text).unwrap();
    let original = SigningRequest::from_pem(&pem).unwrap();
    let mut accepted = 0;
    for position in 0..der.len() {
        let mut changed = der.clone();
        changed[position] ^= 0x10;
        let pem = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            STANDARD.encode(changed)
        );
        // What the signature does not cover, such as the tag of its own algorithm, may differ.
        if let Ok(request) = SigningRequest::from_pem(&pem) {
            assert_eq!(request.subject, original.subject, "byte {position}");
            assert_eq!(request.public_key, original.public_key, "byte {position}");
            accepted += 1;
        }
    }
    assert!(accepted <= 2, "{accepted} changes went unnoticed");
}

proptest! {
    #[test]
    fn texts_that_are_no_requests_are_refused(text in "\\PC{0,200}") {
        prop_assert_eq!(SigningRequest::from_pem(&text).unwrap_err(), CsrError::NotPem);
    }

    #[test]
    fn texts_that_are_no_tokens_are_refused(token in "[a-zA-Z0-9+/=.]{0,200}") {
        let request = Signed { method: "POST", uri: "/", body: b"" };
        prop_assert!(token::verify(&token, request, true).is_err());
    }
}
