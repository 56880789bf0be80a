//! A clinic, a hospital and the others on one ledger in memory, behind one router.

#![allow(dead_code)] // each test file uses its part

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use consilium_contracts::vault::KeyRing;
use consilium_fhir::testing::MemoryLedger;
use consilium_fhir::{Authenticator, Custodian, Fhir, Identity, Settings, Store, Unauthenticated};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::Value;
use tower::ServiceExt;

pub const BASE: &str = "https://clinic.example/fhir";
/// The key of the index; what is searched cannot be guessed without it.
pub const INDEX_KEY: [u8; 32] = [3; 32];

pub struct World {
    pub ledger: MemoryLedger,
    pub store: Arc<Store>,
    pub fhir: Fhir,
    pub keys: Arc<Mutex<KeyRing>>,
}

/// Bearer tokens are `MSP role [sid]`, with scopes behind a `;`.
struct Tokens;

impl Authenticator for Tokens {
    fn authenticate<'a>(
        &'a self,
        request: &'a http::request::Parts,
    ) -> BoxFuture<'a, Result<Identity, Unauthenticated>> {
        async move {
            let token = request
                .headers
                .get("authorization")
                .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
                .ok_or_else(|| Unauthenticated("there is no token".to_owned()))?;
            Ok(identity(token))
        }
        .boxed()
    }
}

pub fn identity(token: &str) -> Identity {
    let (who, scopes) = match token.split_once(';') {
        Some((who, scopes)) => (who, Some(scopes)),
        None => (token, None),
    };
    let mut parts = who.split(' ').map(str::to_owned);
    Identity {
        name: who.replace(' ', "-"),
        msp: parts.next().unwrap_or_default(),
        role: parts.next(),
        sid: parts.next(),
        scopes: scopes.map(|list| {
            list.split(' ')
                .map(|scope| scope.parse().unwrap())
                .collect()
        }),
        ..Identity::default()
    }
}

pub const CLINIC: &str = "ClinicMSP records";
pub const CLINIC_DOCTOR: &str = "ClinicMSP physician";
pub const DOCTOR: &str = "HospitalMSP physician";
pub const AUDITOR: &str = "RegulatorMSP auditor";

pub fn world_at(path: Option<&Path>, ledger: MemoryLedger, keys: Arc<Mutex<KeyRing>>) -> World {
    let store = Arc::new(match path {
        Some(path) => Store::open(path, &INDEX_KEY).unwrap(),
        None => Store::in_memory(&INDEX_KEY).unwrap(),
    });
    let custodian = |msp: &str| {
        let key_service = identity(&format!("{msp} records"));
        (msp.to_owned(), Custodian { key_service })
    };
    let settings = Settings {
        base: BASE.to_owned(),
        custodians: BTreeMap::from([custodian("ClinicMSP"), custodian("HospitalMSP")]),
        max_body: 4 * 1024 * 1024,
        token_endpoint: Some("https://clinic.example/oauth2/token".to_owned()),
    };
    let fhir = Fhir::new(
        settings,
        Arc::new(ledger.clone()),
        keys.clone(),
        store.clone(),
        Arc::new(Tokens),
        Arc::new([9u8; 32]),
    );
    World {
        ledger,
        store,
        fhir,
        keys,
    }
}

pub fn world() -> World {
    world_at(None, MemoryLedger::new(), Arc::default())
}

pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status, issue code, our code.
    pub fn refusal(&self) -> (u16, &str, &str) {
        let issue = &self.body["issue"][0];
        (
            self.status,
            issue["code"].as_str().unwrap_or("?"),
            issue["details"]["coding"][0]["code"]
                .as_str()
                .unwrap_or("?"),
        )
    }

    /// The resources of a bundle that match.
    pub fn matches(&self) -> Vec<&Value> {
        self.body["entry"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["search"]["mode"] != "outcome")
            .map(|entry| &entry["resource"])
            .collect()
    }

    pub fn parameter(&self, name: &str) -> &Value {
        let list = self.body["parameter"].as_array().unwrap();
        let found = list.iter().find(|parameter| parameter["name"] == name);
        let object = found.unwrap_or_else(|| panic!("no {name} in {}", self.body));
        object
            .as_object()
            .unwrap()
            .iter()
            .find(|(key, _)| *key != "name")
            .unwrap()
            .1
    }
}

impl World {
    pub fn router(&self) -> Router {
        self.fhir.router()
    }

    pub async fn raw(&self, request: Request<Body>) -> Reply {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if !body.is_null() {
            // Every answer of every test is a resource of R4.
            let issues = consilium_fhir::check(&body);
            assert!(issues.is_empty(), "{issues:?} in {body}");
        }
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/fhir+json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.raw(request.body(body).unwrap()).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(Method::GET, path, token, &[], None).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, token, &[], Some(body)).await
    }

    pub async fn put(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, token, &[], Some(body)).await
    }

    /// Whether a word is in what every member of the channel has seen. A code as short as `785-6`
    /// is in some random ids by chance: there it has letters or digits around it.
    pub fn published_contains(&self, word: &str) -> bool {
        let joins =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-');
        self.ledger.with(|ledger| {
            let all = ledger.published();
            all.windows(word.len()).enumerate().any(|(at, window)| {
                window == word.as_bytes()
                    && !joins(at.checked_sub(1).and_then(|before| all.get(before)))
                    && !joins(all.get(at + word.len()))
            })
        })
    }

    pub fn height(&self) -> u64 {
        self.ledger.with(|ledger| ledger.height())
    }
}

pub fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

pub fn bundle(name: &str) -> Value {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&data(&format!("{name}.json.gz"))[..])
        .read_to_end(&mut text)
        .unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The clinic's own Johnnie, with the ids that the server gave, by type.
pub struct Johnnie {
    pub patient: String,
    pub sid: String,
    pub by_type: BTreeMap<String, Vec<String>>,
}

impl Johnnie {
    pub fn first(&self, kind: &str) -> &str {
        &self.by_type[kind][0]
    }
}

/// Posts Johnnie's bundle at the clinic.
pub async fn johnnie(world: &World) -> Johnnie {
    let reply = world.post("/", CLINIC, &bundle("johnnie")).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut by_type: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in reply.body["entry"].as_array().unwrap() {
        assert_eq!(entry["response"]["status"], "201 Created");
        let location = entry["response"]["location"].as_str().unwrap();
        let mut parts = location.split('/');
        let (kind, id) = (parts.next().unwrap(), parts.next().unwrap());
        by_type
            .entry(kind.to_owned())
            .or_default()
            .push(id.to_owned());
    }
    Johnnie {
        patient: by_type["Patient"][0].clone(),
        sid: consilium_contracts::vault::pseudonym(&[9; 32], "SS", "999-66-6607"),
        by_type,
    }
}

pub fn ok(reply: &Reply) -> &Value {
    assert_eq!(
        StatusCode::from_u16(reply.status).unwrap(),
        StatusCode::OK,
        "{}",
        reply.body
    );
    &reply.body
}
