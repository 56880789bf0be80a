//! Fabric CA's REST interface over axum: paths, methods, the response envelope
//! (fabric-ca: `lib/serverendpoint.go`).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use consilium_transport::{HttpLimits, ServerTls, serve_http_with};
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::error::{Refusal, code};
use crate::server::{CaServer, Call, Endpoint, Granted};

/// Larger bodies are refused; a request with a thousand hosts stays below.
const BODY_LIMIT: usize = 1024 * 1024;
/// Requests in work at once; each may hash a password, which takes a core.
const AT_ONCE: usize = 8;

impl CaServer {
    /// The REST interface: `/cainfo`, `/enroll`, `/reenroll`, `/register`, each also under
    /// `/api/v1`.
    pub fn router(self: &Arc<Self>) -> Router {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut router = Router::new();
        for (name, endpoint) in [
            ("cainfo", Endpoint::CaInfo),
            ("enroll", Endpoint::Enroll),
            ("reenroll", Endpoint::Reenroll),
            ("register", Endpoint::Register),
        ] {
            for prefix in ["", "/api/v1"] {
                let (ca, slots) = (self.clone(), slots.clone());
                let handler = move |request: Request<Body>| {
                    respond(ca.clone(), slots.clone(), endpoint, request)
                };
                router = router.route(&format!("{prefix}/{name}"), any(handler));
            }
        }
        router
    }

    /// Serves [`CaServer::router`] until `shutdown` is ready and requests under way have ended.
    ///
    /// # Errors
    /// If the listener dies.
    pub async fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: Option<Arc<ServerTls>>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let limits = HttpLimits {
            body_bytes: BODY_LIMIT,
            ..HttpLimits::default()
        };
        serve_http_with(listener, tls, self.router(), limits, shutdown).await
    }
}

async fn respond(
    ca: Arc<CaServer>,
    slots: Arc<Semaphore>,
    endpoint: Endpoint,
    request: Request<Body>,
) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let remote = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.to_string())
        .unwrap_or_default();
    match decide(ca, slots, endpoint, request).await {
        Ok(granted) => {
            tracing::info!(%remote, %method, %path, status = granted.status, code = 0, "OK");
            let mut response = envelope(granted.status, &granted.result, None);
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
    request: Request<Body>,
) -> Result<Granted, Refusal> {
    let (parts, body) = request.into_parts();
    let allowed = match endpoint {
        Endpoint::CaInfo => [Method::GET, Method::POST, Method::HEAD].contains(&parts.method),
        _ => parts.method == Method::POST,
    };
    if !allowed {
        let message = format!("Method {} is not allowed", parts.method);
        return Err(Refusal::new(405, code::METHOD_NOT_ALLOWED, message));
    }
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|error| {
        let message = format!("Failed reading request body: {error}");
        Refusal::new(413, code::READING_BODY, message)
    })?;
    // Bytes beyond ASCII are no credentials of any kind; let them fail as such.
    let header = parts.headers.get(header::AUTHORIZATION);
    let authorization = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let call = Call {
        method: parts.method.to_string(),
        uri: parts
            .uri
            .path_and_query()
            .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
        ca_name: parts.uri.query().and_then(ca_name),
        authorization,
        body,
    };
    // The semaphore is never closed, so an error cannot happen.
    let _slot = slots.acquire().await.map_err(Refusal::internal)?;
    tokio::task::spawn_blocking(move || ca.answer(endpoint, &call))
        .await
        .map_err(Refusal::internal)?
}

/// The value of `ca` in a query.
fn ca_name(query: &str) -> Option<String> {
    let uri = http::Uri::builder()
        .path_and_query(format!("/?{query}"))
        .build()
        .ok()?;
    let pairs: axum::extract::Query<Vec<(String, String)>> =
        axum::extract::Query::try_from_uri(&uri).ok()?;
    pairs
        .0
        .into_iter()
        .find(|(name, _)| name == "ca")
        .map(|(_, value)| value)
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
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}
