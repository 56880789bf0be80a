//! The HTTP surface: paths, methods, limits and the envelope's exact text.

use std::time::Duration;

use axum::body::Body;
use consilium_transport::{HttpLimits, serve_http_with};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use super::*;

async fn answer(ca: &Arc<CaServer>, request: Request<Body>) -> (StatusCode, String) {
    let response = ca.router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: &str, uri: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri)
        .body(body.into())
        .unwrap()
}

#[tokio::test]
async fn the_envelope_is_fabric_cas() {
    let fixture = Fixture::new();
    let (status, text) = answer(&fixture.ca, request("GET", "/cainfo", "")).await;
    assert_eq!(status, 200);
    assert!(text.starts_with(r#"{"result":{"#), "{text}");
    assert!(
        text.ends_with(r#","errors":[],"messages":[],"success":true}"#),
        "{text}"
    );
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["result"]["CAName"], "ca-org1");

    let (status, text) = answer(&fixture.ca, request("POST", "/api/v1/enroll", "")).await;
    assert_eq!(status, 401);
    let expected = "{\"result\":\"\"\n,\"errors\":[{\"code\":2,\"message\":\"No authorization \
                    header\"}],\"messages\":[],\"success\":false}";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn paths_and_methods_are_those_of_fabric_ca() {
    let fixture = Fixture::new();
    let cases = [
        ("GET", "/cainfo", 200),
        ("POST", "/cainfo", 200),
        ("HEAD", "/api/v1/cainfo", 200),
        ("GET", "/cainfo?ca=ca-org1", 200),
        ("GET", "/cainfo?ca=", 200),
        ("GET", "/cainfo?ca=other", 404),
        ("DELETE", "/cainfo", 405),
        ("GET", "/enroll", 405),
        ("PUT", "/api/v1/register", 405),
        ("GET", "/reenroll", 405),
        ("POST", "/register", 400),
        ("POST", "/reenroll", 401),
        ("GET", "/elsewhere", 404),
        ("GET", "/api/v2/cainfo", 404),
    ];
    for (method, uri, expected) in cases {
        let (status, text) = answer(&fixture.ca, request(method, uri, "")).await;
        assert_eq!(status.as_u16(), expected, "{method} {uri}: {text}");
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let message = format!(r#"{{"code":1,"message":"Method {method} is not allowed"}}"#);
            assert!(text.contains(&message), "{text}");
        }
    }
    let body = r#"{"caName":"other"}"#;
    let (status, text) = answer(&fixture.ca, request("POST", "/cainfo", body)).await;
    assert_eq!(status, 404);
    assert!(
        text.contains(r#"{"code":19,"message":"CA 'other' does not exist"}"#),
        "{text}"
    );
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_unread() {
    let fixture = Fixture::new();
    let large = "x".repeat(1024 * 1024 + 1);
    let (status, text) = answer(&fixture.ca, request("POST", "/enroll", large)).await;
    assert_eq!(status, 413);
    assert!(text.contains(r#""code":3"#), "{text}");
}

#[tokio::test]
async fn bodies_that_stop_arriving_are_answered_408_and_others_are_served() {
    let fixture = Fixture::new();
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = HttpLimits {
        body_pause: Duration::from_millis(200),
        ..CaServer::limits()
    };
    let router = fixture.ca.router();
    tokio::spawn(async move {
        serve_http_with(listener, None, router, limits, std::future::pending()).await
    });
    let exchange = async |request: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        let read = stream.read_to_end(&mut text);
        tokio::time::timeout(Duration::from_secs(30), read)
            .await
            .expect("an answer in time")
            .unwrap();
        String::from_utf8(text).unwrap()
    };
    for length in ["content-length: 1000", "transfer-encoding: chunked"] {
        let begun = format!("POST /enroll HTTP/1.1\r\nhost: a\r\n{length}\r\n\r\n");
        let text = exchange(&begun).await;
        assert!(text.starts_with("HTTP/1.1 408 "), "{length}: {text}");
        assert!(text.contains(r#""code":3,"#), "{length}: {text}");
    }
    let served = exchange("GET /cainfo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(served.starts_with("HTTP/1.1 200 "), "{served}");
}

#[test]
fn the_authority_has_limits_of_its_own() {
    let (own, usual) = (CaServer::limits(), HttpLimits::default());
    assert_eq!(own.connections.listener, "ca");
    assert!(own.body_bytes < usual.body_bytes && own.body_pause < usual.body_pause);
    assert!(own.connections.total < usual.connections.total);
    assert!(own.connections.per_address * 2 <= own.connections.total);
}
