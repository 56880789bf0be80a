//! The REST server. fabric: internal/configtxlator/rest

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use consilium_orderer::multipart::{self, Part};
use consilium_proto::common::Config;
use prost::Message as _;
use serde::Deserialize;

use super::{NAME, computed, protolator};
use crate::commands::golang::kingpin;

/// Bytes of a request: a block of the largest size, with room.
const LARGEST: usize = 128 * 1024 * 1024;

/// Serves until it is told to end.
pub async fn serve(hostname: String, port: u16, origins: Vec<String>) -> anyhow::Result<ExitCode> {
    let address = format!("{hostname}:{port}");
    let listener = match tokio::net::TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            let complaint = format!("Could not bind to address '{address}': {error}");
            return Ok(kingpin::fail(NAME, &complaint));
        }
    };
    let bound = listener.local_addr()?;
    match origins.is_empty() {
        true => eprintln!("Serving HTTP requests on {bound}"),
        false => eprintln!(
            "Serving HTTP requests on {bound} with CORS [{}]",
            origins.join(" ")
        ),
    }
    consilium_transport::serve_http(listener, None, router(origins), async {
        // Without signals it ends with its process.
        if crate::node::stop_signal().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

fn router(origins: Vec<String>) -> Router {
    Router::new()
        .route("/protolator/encode/{type}", post(encode))
        .route("/protolator/decode/{type}", post(decode))
        .route(
            "/configtxlator/compute/update-from-configs",
            post(compute_update),
        )
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(Arc::new(origins), allow))
}

async fn encode(Path(kind): Path<String>, body: Bytes) -> Response {
    let descriptor = match protolator::message_type(&kind) {
        Ok(descriptor) => descriptor,
        Err(error) => return not_found(&error),
    };
    match protolator::from_json(&descriptor, &body) {
        Ok(encoded) => bytes(encoded),
        Err(error) => bad(&format!("{error:#}")),
    }
}

async fn decode(Path(kind): Path<String>, body: Bytes) -> Response {
    let descriptor = match protolator::message_type(&kind) {
        Ok(descriptor) => descriptor,
        Err(error) => return not_found(&error),
    };
    let json = protolator::decode(descriptor, &body)
        .and_then(|message| protolator::to_json(&message, &protolator::Role::Plain));
    match json {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => bad(&format!("{error:#}")),
    }
}

#[derive(Deserialize)]
struct Channel {
    channel: Option<String>,
}

async fn compute_update(
    Query(channel): Query<Channel>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE);
    let boundary = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(multipart::boundary);
    let parts = match boundary {
        None => Err("request Content-Type isn't multipart/form-data".to_owned()),
        Some(boundary) => multipart::parts(&body, &boundary),
    };
    let config = |name: &str| {
        let failed = |reason: &str| format!("Error with field '{name}': {reason}");
        let parts = parts
            .as_ref()
            .map_err(|error| failed(&format!("error reading field bytes: {error}")))?;
        let part = file(parts, name)
            .ok_or_else(|| failed("error reading field bytes: http: no such file"))?;
        consilium_proto::decode::<Config>(&Bytes::copy_from_slice(part.content))
            .map_err(|error| failed(&format!("error unmarshalling field bytes: {error}")))
    };
    let configs = config("original").and_then(|original| Ok((original, config("updated")?)));
    let (original, updated) = match configs {
        Ok(configs) => configs,
        Err(error) => return bad(&error),
    };
    let posted = parts.iter().flatten().find(|part| part.name == "channel");
    let posted = posted.map(|part| String::from_utf8_lossy(part.content).into_owned());
    let channel = posted.or(channel.channel).unwrap_or_default();
    match computed(&original, &updated, &channel) {
        Ok(update) => bytes(update.encode_to_vec()),
        Err(error) => bad(&format!("Error computing update: {error}")),
    }
}

fn file<'a>(parts: &'a [Part<'a>], name: &str) -> Option<&'a Part<'a>> {
    parts.iter().find(|part| part.is_file && part.name == name)
}

fn bytes(content: Vec<u8>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/octet-stream")],
        content,
    )
        .into_response()
}

fn bad(reason: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response()
}

fn not_found(error: &anyhow::Error) -> Response {
    let text = format!("message type not found: {error}\n");
    (StatusCode::NOT_FOUND, text).into_response()
}

/// Lets pages of the named origins call.
async fn allow(State(origins): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| {
        let any = |allowed: &String| allowed == "*" || origin.as_bytes() == allowed.as_bytes();
        origins.iter().any(any)
    });
    let Some(origin) = allowed else {
        return next.run(request).await;
    };
    let is_asked_before = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_asked_before {
        let headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type"),
        ];
        (StatusCode::OK, headers).into_response()
    } else {
        next.run(request).await
    };
    let shown = match origins.iter().any(|allowed| allowed == "*") {
        true => HeaderValue::from_static("*"),
        false => origin,
    };
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, shown);
    response
}
