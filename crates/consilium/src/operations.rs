//! The operations server of a node: health, metrics, version and log level, under Fabric's paths.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use consilium_transport::ServerTls;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::telemetry::{LogFilter, parse_filter};

/// Whether a node can do its work; the error names the component that cannot.
pub type Health = Arc<dyn Fn() -> Result<(), (String, String)> + Send + Sync>;

/// What the server shows.
#[derive(Clone)]
pub struct Operations {
    /// Recorder of the process.
    pub metrics: PrometheusHandle,
    /// Filter to change on `PUT /logspec`.
    pub log_filter: LogFilter,
    /// Health of the node.
    pub health: Health,
    /// Routes of this kind of node.
    pub routes: Router,
}

#[derive(Serialize, Deserialize)]
struct LogSpec {
    spec: String,
}

/// Serves until `shutdown` resolves. Without `tls` the listener must be on a loopback or otherwise
/// protected address.
///
/// # Errors
/// Failure of the listener.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    operations: Operations,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let upkeep = operations.metrics.clone();
    let upkeep = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    let routes = operations.routes.clone();
    let app = Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/logspec", get(logspec).put(set_logspec))
        .with_state(operations)
        .merge(routes);
    let served = consilium_transport::serve_http(listener, tls, app, shutdown).await;
    upkeep.abort();
    served
}

async fn healthz(State(operations): State<Operations>) -> Response {
    let time = jiff::Timestamp::now().to_string();
    match (operations.health)() {
        Ok(()) => Json(serde_json::json!({"status": "OK", "time": time})).into_response(),
        Err((component, reason)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(serde_json::json!({
                "status": "Service Unavailable",
                "time": time,
                "failed_checks": [{"component": component, "reason": reason}],
            })),
        )
            .into_response(),
    }
}

async fn metrics(State(operations): State<Operations>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        operations.metrics.render(),
    )
}

async fn version() -> impl IntoResponse {
    Json(serde_json::json!({"Version": env!("CARGO_PKG_VERSION"), "CommitSHA": ""}))
}

async fn logspec(State(operations): State<Operations>) -> Response {
    let spec = operations
        .log_filter
        .with_current(ToString::to_string)
        .unwrap_or_default();
    Json(LogSpec { spec }).into_response()
}

async fn set_logspec(State(operations): State<Operations>, Json(spec): Json<LogSpec>) -> Response {
    let refused = |error: String| {
        (
            StatusCode::BAD_REQUEST,
            Json(serde_json::json!({"error": error})),
        )
            .into_response()
    };
    match parse_filter(&spec.spec) {
        Err(error) => refused(error.to_string()),
        Ok(filter) => match operations.log_filter.reload(filter) {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => refused(error.to_string()),
        },
    }
}
