//! The operations server of a node: health, metrics, version and log levels, under Fabric's paths.
//!
//! fabric: core/operations/system.go, common/fabhttp/server.go

mod access;
mod calls;
mod log_levels;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::any,
};
use consilium_transport::{HttpLimits, ServerTls};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::telemetry::LogControl;

pub use access::server_tls;
pub use calls::{grpc_metrics, shapes};

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from; the build script knows it where git does.
const COMMIT: &str = match option_env!("CONSILIUM_COMMIT") {
    Some(commit) => commit,
    None => "development build",
};

/// How long health checks may take. fabric: fabric-lib-go healthz/checker.go
const CHECKS: Duration = Duration::from_secs(30);
/// The largest request.
const BODY_BYTES: usize = 64 * 1024;

/// Names everything that keeps a node from its work; nothing when it is well. May block.
pub type Health = Arc<dyn Fn() -> Vec<FailedCheck> + Send + Sync>;

/// A part of a node that cannot do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedCheck {
    /// The part.
    pub component: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What the server shows.
#[derive(Clone)]
pub struct Operations {
    /// Recorder of the process; without, metrics are not shown.
    pub metrics: Option<PrometheusHandle>,
    /// Levels to change on `PUT /logspec`.
    pub log: LogControl,
    /// Health of the node.
    pub health: Health,
    /// Routes of this kind of node; guarded like metrics.
    pub routes: Router,
}

/// Serves until `shutdown` resolves.
///
/// Whoever asks for more than health and version must show a certificate, over TLS made by
/// [`server_tls`]. Without TLS only callers on the same machine get more.
///
/// # Errors
/// Failure of the listener.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    operations: Operations,
    limits: HttpLimits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    metrics::gauge!("fabric_version", "version" => VERSION).set(1.0);
    let upkeep = tokio::spawn(upkeep(operations.metrics.clone()));
    let limits = HttpLimits {
        body_bytes: BODY_BYTES,
        ..limits
    };
    let app = router(operations, tls.as_deref());
    let served = consilium_transport::serve_http_with(listener, tls, app, limits, shutdown).await;
    upkeep.abort();
    served
}

fn router(operations: Operations, tls: Option<&ServerTls>) -> Router {
    let mut guarded = Router::new()
        .route("/logspec", any(log_levels::answer))
        .with_state(operations.clone())
        .merge(operations.routes.clone());
    if let Some(metrics) = &operations.metrics {
        let shown = Router::new().route("/metrics", any(show_metrics));
        guarded = guarded.merge(shown.with_state(metrics.clone()));
    }
    let proof = access::Proof::of(tls);
    guarded = guarded.route_layer(middleware::from_fn_with_state(proof, access::require_proof));
    Router::new()
        .route("/healthz", any(healthz))
        .route("/version", any(version))
        .with_state(operations)
        .merge(guarded)
        .layer(middleware::from_fn(access::name_request))
}

async fn healthz(State(operations): State<Operations>, method: Method) -> Response {
    if method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let health = operations.health;
    let checks = tokio::task::spawn_blocking(move || health());
    let failed = match tokio::time::timeout(CHECKS, checks).await {
        Ok(Ok(failed)) => failed,
        Ok(Err(error)) => vec![FailedCheck {
            component: "healthz".to_owned(),
            reason: error.to_string(),
        }],
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let time = jiff::Timestamp::now().to_string();
    if failed.is_empty() {
        return Json(serde_json::json!({"status": "OK", "time": time})).into_response();
    }
    let status = serde_json::json!({
        "status": "Service Unavailable",
        "time": time,
        "failed_checks": failed,
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(status)).into_response()
}

async fn show_metrics(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], metrics.render())
}

/// Keeps the recorder's memory small while nobody asks for metrics.
async fn upkeep(metrics: Option<PrometheusHandle>) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    while let Some(metrics) = &metrics {
        tick.tick().await;
        metrics.run_upkeep();
    }
}

/// fabric: core/operations/version.go
async fn version(method: Method) -> Response {
    if method == Method::GET {
        let version = serde_json::json!({"CommitSHA": COMMIT, "Version": VERSION});
        return Json(version).into_response();
    }
    let error = serde_json::json!({"Error": format!("invalid request method: {method}")});
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}
