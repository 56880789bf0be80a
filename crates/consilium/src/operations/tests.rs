//! The operations server over real sockets.

use std::net::SocketAddr;

use axum::routing::get;
use consilium_transport::TlsIdentity;
use metrics_exporter_prometheus::PrometheusRecorder;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Client, Response};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tracing_subscriber::{Registry, reload};

use super::*;
use crate::telemetry::{self, Filter};

/// A client without TLS; the library wants to know of a TLS provider nevertheless.
fn plain_client() -> Client {
    consilium_transport::install_crypto_provider();
    Client::builder().no_proxy().build().unwrap()
}

/// A running operations server. Its tasks, and so its metrics, stay on the test's thread.
struct Server {
    address: SocketAddr,
    log: LogControl,
    failing: Arc<Mutex<Vec<FailedCheck>>>,
    recorder: PrometheusRecorder,
    // The control of the levels ends with the layer.
    _layer: reload::Layer<Filter, Registry>,
}

impl Server {
    async fn start(tls: Option<Arc<ServerTls>>) -> Self {
        let (layer, log) = LogControl::new("gossip=debug:warn".parse().unwrap());
        let recorder = telemetry::exporter().unwrap().build_recorder();
        let failing = Arc::new(Mutex::new(Vec::new()));
        let shown = failing.clone();
        let operations = Operations {
            metrics: Some(recorder.handle()),
            log: log.clone(),
            health: Arc::new(move || shown.lock().clone()),
            routes: Router::new().route("/channels/{channel}/state", get(async || "state")),
        };
        let listener = consilium_transport::listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(
            listener,
            tls,
            operations,
            HttpLimits::named("operations"),
            std::future::pending(),
        ));
        Self {
            address,
            log,
            failing,
            recorder,
            _layer: layer,
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let client = plain_client();
        let method = method.parse().unwrap();
        let url = format!("http://{}{path}", self.address);
        let request = client.request(method, url).body(body.to_owned());
        request.send().await.unwrap()
    }

    /// Status and body of an answer in JSON.
    async fn ask_json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let response = self.ask(method, path, body).await;
        let status = response.status().as_u16();
        let format = response.headers()["content-type"].clone();
        assert_eq!(format, "application/json", "{method} {path}");
        (status, response.json().await.unwrap())
    }
}

#[tokio::test]
async fn health_names_everything_that_fails() {
    let server = Server::start(None).await;
    let (status, body) = server.ask_json("GET", "/healthz", "").await;
    assert_eq!((status, &body["status"]), (200, &json!("OK")));
    let time = body["time"].as_str().unwrap();
    time.parse::<jiff::Timestamp>().unwrap();
    assert_eq!(body.get("failed_checks"), None);

    let check = |component: &str, reason: &str| FailedCheck {
        component: component.to_owned(),
        reason: reason.to_owned(),
    };
    *server.failing.lock() = vec![
        check("health", "the disk is full"),
        check("trade", "halted"),
    ];
    let (status, body) = server.ask_json("GET", "/healthz", "").await;
    assert_eq!(status, 503);
    assert_eq!(body["status"], "Service Unavailable");
    let failed = json!([
        {"component": "health", "reason": "the disk is full"},
        {"component": "trade", "reason": "halted"},
    ]);
    assert_eq!(body["failed_checks"], failed);

    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "INVENTED"] {
        let response = server.ask(method, "/healthz", "").await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.text().await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_health_check_that_panics_is_a_failed_check() {
    let operations = Operations {
        metrics: None,
        log: LogControl::new("info".parse().unwrap()).1,
        health: Arc::new(|| panic!("a bug")),
        routes: Router::new(),
    };
    let response = healthz(State(operations), Method::GET).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn metrics_that_are_disabled_are_not_found() {
    let operations = Operations {
        metrics: None,
        log: LogControl::new("info".parse().unwrap()).1,
        health: Arc::new(Vec::new),
        routes: Router::new(),
    };
    let listener = consilium_transport::listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(
        listener,
        None,
        operations,
        HttpLimits::named("operations"),
        std::future::pending(),
    ));
    for (path, status) in [("metrics", 404), ("healthz", 200)] {
        let answer = plain_client().get(format!("http://{address}/{path}"));
        assert_eq!(answer.send().await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn version_and_commit_are_shown() {
    let server = Server::start(None).await;
    let (status, body) = server.ask_json("GET", "/version", "").await;
    assert_eq!(status, 200);
    assert_eq!(body["Version"], env!("CARGO_PKG_VERSION"));
    let commit = body["CommitSHA"].as_str().unwrap();
    let is_hash = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_hash || commit == "development build", "{commit}");

    for method in ["POST", "PUT", "DELETE"] {
        let (status, body) = server.ask_json(method, "/version", "").await;
        let error = format!("invalid request method: {method}");
        assert_eq!((status, body), (400, json!({"Error": error})));
    }
}

#[tokio::test]
async fn log_levels_are_shown_and_changed() {
    let server = Server::start(None).await;
    let shown = async || {
        server
            .ask("GET", "/logspec", "")
            .await
            .text()
            .await
            .unwrap()
    };
    assert_eq!(shown().await, "{\"spec\":\"gossip=debug:warn\"}\n");

    for (body, spec) in [
        (
            r#"{"spec":"orderer,deliver=debug:error"}"#,
            "deliver=debug:orderer=debug:error",
        ),
        (r#"{"spec":"debug","more":[1]}"#, "debug"),
        (r#"{"Spec":"warn"} and what follows"#, "warn"),
        // No spec is Fabric's default.
        ("{}", "info"),
        (r#"{"spec":"fatal"}"#, "fatal"),
        (r#"{"spec":null}"#, "info"),
        (r#"{"level":"debug"}"#, "info"),
        ("null", "info"),
    ] {
        let response = server.ask("PUT", "/logspec", body).await;
        assert_eq!(response.status(), 204, "{body}");
        assert_eq!(response.text().await.unwrap(), "");
        assert_eq!(server.log.spec().to_string(), spec, "{body}");
    }
}

#[tokio::test]
async fn log_levels_that_are_none_are_refused_and_change_nothing() {
    let server = Server::start(None).await;
    for (body, expected) in [
        ("", "EOF"),
        ("debug", "expected value at line 1 column 1"),
        (r#"{"spec":"debug""#, "EOF while parsing an object"),
        (
            r#"{"spec":7}"#,
            "cannot read 7 as a spec: expected a string",
        ),
        (r#"["debug"]"#, "invalid type: sequence, expected a map"),
        (
            r#""debug""#,
            "invalid type: string \"debug\", expected a map",
        ),
        (
            r#"{"spec":"loud"}"#,
            "invalid logging specification 'loud': bad segment 'loud'",
        ),
        (
            r#"{"spec":"=debug"}"#,
            "invalid logging specification '=debug': no logger specified in segment '=debug'",
        ),
    ] {
        let (status, answer) = server.ask_json("PUT", "/logspec", body).await;
        assert_eq!(status, 400, "{body}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with(expected), "{body}: {error}");
    }
    for method in ["POST", "DELETE", "PATCH"] {
        let (status, body) = server.ask_json(method, "/logspec", "{}").await;
        let error = format!("invalid request method: {method}");
        assert_eq!((status, body), (400, json!({"error": error})));
    }
    let large = format!(r#"{{"spec":"{}"}}"#, "a".repeat(BODY_BYTES));
    let response = server.ask("PUT", "/logspec", &large).await;
    assert_eq!(response.status(), 413);
    assert_eq!(server.log.spec().to_string(), "gossip=debug:warn");
}

#[tokio::test]
async fn metrics_are_shown_as_text() {
    let server = Server::start(None).await;
    let _recording = metrics::set_default_local_recorder(&server.recorder);
    telemetry::describe_metrics();
    metrics::gauge!("fabric_version", "version" => VERSION).set(1.0);
    let response = server.ask("GET", "/metrics", "").await;
    assert_eq!(response.status(), 200);
    let format = response.headers()["content-type"].to_str().unwrap();
    assert!(format.starts_with("text/plain; version=0.0.4"), "{format}");
    let text = response.text().await.unwrap();
    for line in [
        "# HELP fabric_version The active version of Fabric.".to_owned(),
        "# TYPE fabric_version gauge".to_owned(),
        format!("fabric_version{{version=\"{VERSION}\"}} 1"),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn requests_are_named_and_unknown_paths_are_not_found() {
    let server = Server::start(None).await;
    let response = server.ask("GET", "/healthz", "").await;
    let id = response.headers()["x-request-id"].to_str().unwrap();
    uuid::Uuid::parse_str(id).unwrap();
    let request = plain_client().get(format!("http://{}/version", server.address));
    let response = request.header("x-request-id", "mine").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine");
    for path in ["/", "/healthz/", "/metrics/x", "/debug/pprof/"] {
        assert_eq!(server.ask("GET", path, "").await.status(), 404, "{path}");
    }
}

/// A certificate authority for TLS.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Certificate and key in PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A client that trusts this authority, and shows a certificate of `issuer`.
    fn client(&self, issuer: Option<&Authority>) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match issuer {
            None => config.with_no_client_auth(),
            Some(issuer) => {
                let (certificate, key) = issuer.issue();
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap()
            }
        };
        Client::builder()
            .tls_backend_preconfigured(config)
            .no_proxy()
            .build()
            .unwrap()
    }
}

#[tokio::test]
async fn with_tls_most_paths_want_a_certificate_and_some_do_not() {
    let (own, foreign) = (Authority::new(), Authority::new());
    let open = ["/healthz", "/version"];
    let guarded = ["/metrics", "/logspec", "/channels/health/state"];
    // Whether certificates are required of all; whose certificate a client shows; whether it gets
    // through to paths that are open, and to the others. `None`: TLS itself fails.
    let cases = [
        (false, None, Some((200, 401))),
        (false, Some(&own), Some((200, 200))),
        (false, Some(&foreign), None),
        (true, None, None),
        (true, Some(&own), Some((200, 200))),
        (true, Some(&foreign), None),
    ];
    for (required, shown, expected) in cases {
        let (certificate, key) = own.issue();
        let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let tls = server_tls(identity, required, &[own.0.pem().into()]).unwrap();
        let server = Server::start(Some(tls)).await;
        let client = own.client(shown);
        for (paths, is_open) in [(&open[..], true), (&guarded, false)] {
            for path in paths {
                let url = format!("https://localhost:{}{path}", server.address.port());
                let status = client.get(url).send().await.ok();
                let status = status.map(|response| response.status().as_u16());
                let expected =
                    expected.map(|(to_open, other)| if is_open { to_open } else { other });
                assert_eq!(
                    status,
                    expected,
                    "{path}, required {required}, certificate {}",
                    shown.is_some()
                );
            }
        }
    }
    // Nothing on the other side of TLS: no answer without it.
    let (certificate, key) = own.issue();
    let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let server = Server::start(Some(server_tls(identity, false, &[]).unwrap())).await;
    let url = format!("http://{}/healthz", server.address);
    assert!(plain_client().get(url).send().await.is_err());
}

#[tokio::test]
async fn certificates_that_nobody_checked_count_for_nothing() {
    let own = Authority::new();
    let (certificate, key) = own.issue();
    let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let unchecked = ServerTls::new(identity, consilium_transport::ClientAuth::Request, &[]);
    let server = Server::start(Some(unchecked.unwrap())).await;
    let url = format!("https://localhost:{}/metrics", server.address.port());
    let response = own.client(Some(&own)).get(url).send().await.unwrap();
    assert_eq!(response.status(), 401);
}
