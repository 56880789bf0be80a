//! Fabric CA's REST interface over axum: paths, methods, the response envelope
//! (fabric-ca: `lib/serverendpoint.go`).

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use consilium_transport::{ConnectionLimits, HttpLimits, ServerTls, serve_http_with};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::LengthLimitError;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::error::{Refusal, code};
use crate::server::{CaServer, Call, Endpoint, Granted};

/// Larger bodies are refused; a request with a thousand hosts stays below.
const BODY_LIMIT: usize = 1024 * 1024;
/// Requests in work at once; each may hash a password, which takes a core.
const AT_ONCE: usize = 8;

const ENDPOINTS: [(&str, Endpoint); 13] = [
    ("cainfo", Endpoint::CaInfo),
    ("enroll", Endpoint::Enroll),
    ("reenroll", Endpoint::Reenroll),
    ("register", Endpoint::Register),
    ("revoke", Endpoint::Revoke),
    ("gencrl", Endpoint::GenCrl),
    ("identities", Endpoint::Identities),
    ("identities/{id}", Endpoint::Identity),
    ("affiliations", Endpoint::Affiliations),
    ("affiliations/{affiliation}", Endpoint::Affiliation),
    ("certificates", Endpoint::Certificates),
    ("idemix/credential", Endpoint::Idemix),
    ("idemix/cri", Endpoint::Idemix),
];

impl CaServer {
    /// Fabric CA's REST interface, each path also under `/api/v1`.
    pub fn router(self: &Arc<Self>) -> Router {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut router = Router::new();
        for (path, endpoint) in ENDPOINTS {
            for prefix in ["", "/api/v1"] {
                let (ca, slots) = (self.clone(), slots.clone());
                let handler = move |subject: Option<Path<String>>, request: Request<Body>| {
                    let subject = subject.map(|Path(subject)| subject);
                    respond(ca, slots, endpoint, subject.unwrap_or_default(), request)
                };
                router = router.route(&format!("{prefix}/{path}"), any(handler));
            }
        }
        router
    }

    /// What callers may cost the authority's port. Its requests are small and its callers few: an
    /// organization's nodes and people, who enrol and go.
    pub fn limits() -> HttpLimits {
        HttpLimits {
            body_bytes: BODY_LIMIT,
            body_pause: Duration::from_secs(10),
            connections: ConnectionLimits {
                total: 1024,
                per_address: 512,
                stall: Duration::from_secs(30),
                ..ConnectionLimits::named("ca")
            },
            ..HttpLimits::default()
        }
    }

    /// Serves [`CaServer::router`] within [`CaServer::limits`] until `shutdown` is ready and requests
    /// under way have ended.
    ///
    /// # Errors
    /// If the listener dies.
    pub async fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: Option<Arc<ServerTls>>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        serve_http_with(listener, tls, self.router(), Self::limits(), shutdown).await
    }
}

async fn respond(
    ca: Arc<CaServer>,
    slots: Arc<Semaphore>,
    endpoint: Endpoint,
    subject: String,
    request: Request<Body>,
) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let remote = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.to_string())
        .unwrap_or_default();
    match decide(ca, slots, endpoint, subject, request).await {
        Ok(granted) => {
            tracing::info!(%remote, %method, %path, status = granted.status, code = 0, "OK");
            let mut response = match granted.listing {
                Some(listing) => json_response(granted.status, listing.into_body()),
                None => envelope(granted.status, &granted.result, None),
            };
            let location = granted.location.map(HeaderValue::try_from);
            if let Some(Ok(location)) = location {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Err(refusal) => {
            let (code, reason) = &refusal.local;
            tracing::info!(%remote, %method, %path, status = refusal.status, code, %reason, "refused");
            envelope(refusal.status, &json!(""), Some(&refusal.remote))
        }
    }
}

async fn decide(
    ca: Arc<CaServer>,
    slots: Arc<Semaphore>,
    endpoint: Endpoint,
    subject: String,
    request: Request<Body>,
) -> Result<Granted, Refusal> {
    let (parts, body) = request.into_parts();
    let methods: &[&str] = match endpoint {
        Endpoint::CaInfo => &["GET", "POST", "HEAD"],
        Endpoint::Identities | Endpoint::Affiliations => &["GET", "POST"],
        Endpoint::Identity | Endpoint::Affiliation => &["GET", "PUT", "DELETE"],
        Endpoint::Certificates => &["GET", "DELETE"],
        _ => &["POST"],
    };
    let allowed = methods.contains(&parts.method.as_str());
    if !allowed {
        let message = format!("Method {} is not allowed", parts.method);
        return Err(Refusal::new(405, code::METHOD_NOT_ALLOWED, message));
    }
    let body = to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|error| unread(&error))?;
    // Bytes beyond ASCII are no credentials of any kind; let them fail as such.
    let header = parts.headers.get(header::AUTHORIZATION);
    let authorization = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let call = Call {
        method: parts.method.to_string(),
        uri: parts
            .uri
            .path_and_query()
            .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
        query: parts.uri.query().map(query).unwrap_or_default(),
        subject,
        authorization,
        body,
    };
    // The semaphore is never closed, so an error cannot happen.
    let _slot = slots.acquire().await.map_err(Refusal::internal)?;
    tokio::task::spawn_blocking(move || ca.answer(endpoint, &call))
        .await
        .map_err(Refusal::internal)?
}

/// Why a body was not read: it is too large (413), it stopped arriving (408), or the connection
/// broke, which nobody hears (400).
fn unread(error: &axum::Error) -> Refusal {
    let mut status = 400;
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let failure = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if cause.is::<LengthLimitError>() {
            status = 413;
        } else if failure == Some(io::ErrorKind::TimedOut) {
            status = 408;
        }
        next = cause.source();
    }
    let message = format!("Failed reading request body: {error}");
    Refusal::new(status, code::READING_BODY, message)
}

/// Names and values of a query; none if it cannot be read.
fn query(query: &str) -> Vec<(String, String)> {
    let uri = http::Uri::builder()
        .path_and_query(format!("/?{query}"))
        .build();
    let pairs = uri.map(|uri| axum::extract::Query::try_from_uri(&uri));
    match pairs {
        Ok(Ok(axum::extract::Query(pairs))) => pairs,
        _ => Vec::new(),
    }
}

/// `{"result":…,"errors":[…],"messages":[],"success":…}`, members in Fabric CA's order.
fn envelope(status: u16, result: &Value, error: Option<&(i64, String)>) -> Response {
    let errors = match error {
        Some((code, message)) => format!(
            "{{\"code\":{code},\"message\":{}}}",
            Value::String(message.clone())
        ),
        None => String::new(),
    };
    let success = error.is_none();
    let text = format!(
        "{{\"result\":{result}\n,\"errors\":[{errors}],\"messages\":[],\"success\":{success}}}"
    );
    json_response(status, text.into())
}

fn json_response(status: u16, body: Body) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
