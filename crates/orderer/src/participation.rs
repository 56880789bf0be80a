//! The channel participation REST API that `osnadmin` speaks.
//!
//! fabric: orderer/common/channelparticipation/restapi.go

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use consilium_proto::common;
use consilium_protocol::{block, names};
use prost::Message;
use serde::Serialize;

use crate::multipart;
use crate::orderer::{ChannelInfo, JoinError, Orderer, RemoveError, UpdateError};

const CHANNELS: &str = "/participation/v1/channels";
/// Fabric's default for the size of a request: 1 MB.
const MAX_BODY: usize = 1 << 20;

/// The path of a channel in the API.
pub(crate) fn channel_url(name: &str) -> String {
    format!("{CHANNELS}/{name}")
}

pub(crate) fn router(orderer: Arc<Orderer>) -> Router {
    let to_channels =
        || async { (StatusCode::FOUND, [(header::LOCATION, CHANNELS)]).into_response() };
    Router::new()
        .route("/participation/v1/", any(to_channels))
        .route("/participation/v1", any(to_channels))
        .route(CHANNELS, any(collection))
        .route("/participation/v1/channels/{channel}", any(one))
        .route(
            "/participation/v1/channels/{channel}/blocks/{block}",
            any(blocks),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(orderer)
}

#[derive(Serialize)]
struct ChannelList {
    #[serde(rename = "systemChannel")]
    system_channel: Option<()>,
    /// `null` when there are none, as Go writes an empty list.
    channels: Option<Vec<ShortInfo>>,
}

#[derive(Serialize)]
struct ShortInfo {
    name: String,
    url: String,
}

#[derive(Serialize)]
struct Failure {
    error: String,
}

/// JSON as Go's encoder writes it: with a line end.
fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            let headers = [(header::CONTENT_TYPE, "application/json")];
            (status, headers, text + "\n").into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn failure(status: StatusCode, error: impl Into<String>) -> Response {
    json(
        status,
        &Failure {
            error: error.into(),
        },
    )
}

fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

fn not_allowed(method: &Method, allowed: &'static str) -> Response {
    let mut response = failure(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("invalid request method: {method}"),
    );
    response
        .headers_mut()
        .insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    response
}

/// Whether the client takes JSON.
fn check_accept(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return Ok(());
    };
    let accept = accept.to_str().unwrap_or_default();
    if accept.is_empty() {
        return Ok(());
    }
    let takes = |range: &str| {
        let range = range.split(';').next().unwrap_or_default().trim();
        matches!(range, "application/json" | "application/*" | "*/*")
    };
    if accept.split(',').any(takes) {
        return Ok(());
    }
    Err(Box::new(failure(
        StatusCode::NOT_ACCEPTABLE,
        "response Content-Type is application/json only",
    )))
}

async fn collection(
    State(orderer): State<Arc<Orderer>>,
    method: Method,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    match method {
        Method::GET => {
            if let Err(refused) = check_accept(&headers) {
                return *refused;
            }
            let channels: Vec<ShortInfo> = orderer
                .channels()
                .into_iter()
                .map(|name| ShortInfo {
                    url: channel_url(&name),
                    name,
                })
                .collect();
            let channels = (!channels.is_empty()).then_some(channels);
            uncached(json(
                StatusCode::OK,
                &ChannelList {
                    system_channel: None,
                    channels,
                },
            ))
        }
        Method::POST | Method::PUT => {
            if let Err(refused) = check_form(&headers).and_then(|()| check_accept(&headers)) {
                return *refused;
            }
            let body = match body {
                Ok(body) => body,
                Err(error) => return unreadable(&error.body_text()),
            };
            if method == Method::POST {
                join(&orderer, &headers, &body).await
            } else {
                update(&orderer, &headers, &body).await
            }
        }
        other => not_allowed(&other, "GET, POST, PUT"),
    }
}

fn unreadable(reason: &str) -> Response {
    let error = format!("cannot read form from request body: {reason}");
    failure(StatusCode::BAD_REQUEST, error)
}

fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Whether the client sends a form.
fn check_form(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let content_type = content_type(headers);
    if content_type
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
    {
        return Ok(());
    }
    let error = format!("unsupported Content-Type: [{content_type}]");
    Err(Box::new(failure(StatusCode::BAD_REQUEST, error)))
}

/// The message in the only part of a form, a file with that key.
fn message_in_form<M: Message + Default>(
    headers: &HeaderMap,
    body: &[u8],
    key: &str,
    what: &str,
) -> Result<M, Box<Response>> {
    let refuse = |error: String| Err(Box::new(failure(StatusCode::BAD_REQUEST, error)));
    let Some(boundary) = multipart::boundary(content_type(headers)) else {
        return refuse(
            "cannot read form from request body: no multipart boundary param in Content-Type"
                .into(),
        );
    };
    let parts =
        multipart::parts(body, &boundary).map_err(|reason| Box::new(unreadable(&reason)))?;
    let is_wanted = |part: &&multipart::Part<'_>| part.is_file && part.name == key;
    let Some(part) = parts.iter().find(is_wanted) else {
        return refuse(format!("form does not contains part key: {key}"));
    };
    // Of more files with this key the first one counts.
    if !parts.iter().all(|part| is_wanted(&part)) {
        return refuse("form contains too many parts".into());
    }
    M::decode(part.content).or_else(|error| {
        refuse(format!(
            "cannot unmarshal file part {key} into {what}: {error}"
        ))
    })
}

fn created(info: &ChannelInfo) -> Response {
    let mut response = json(StatusCode::CREATED, info);
    if let Ok(url) = header::HeaderValue::from_str(&info.url) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    response
}

async fn update(orderer: &Arc<Orderer>, headers: &HeaderMap, body: &[u8]) -> Response {
    let key = "config-update-envelope";
    let envelope: common::Envelope = match message_in_form(headers, body, key, "an envelope") {
        Ok(envelope) => envelope,
        Err(refused) => return *refused,
    };
    match orderer.update(envelope).await {
        Ok(info) => created(&info),
        Err(error) => {
            let status = match &error {
                UpdateError::Unknown => StatusCode::METHOD_NOT_ALLOWED,
                UpdateError::Follower => StatusCode::FORBIDDEN,
                UpdateError::Envelope(_) | UpdateError::Refused { .. } => StatusCode::BAD_REQUEST,
            };
            failure(status, error.to_string())
        }
    }
}

async fn join(orderer: &Arc<Orderer>, headers: &HeaderMap, body: &[u8]) -> Response {
    let genesis: common::Block = match message_in_form(headers, body, "config-block", "a block") {
        Ok(genesis) => genesis,
        Err(refused) => return *refused,
    };
    match orderer.join(&genesis).await {
        Ok(info) => created(&info),
        Err(error @ JoinError::Exists) => {
            let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, error.to_string());
            let allowed = header::HeaderValue::from_static("GET, DELETE");
            response.headers_mut().insert(header::ALLOW, allowed);
            response
        }
        Err(error) => failure(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

async fn one(
    State(orderer): State<Arc<Orderer>>,
    method: Method,
    headers: HeaderMap,
    Path(channel): Path<String>,
) -> Response {
    if !matches!(method, Method::GET | Method::DELETE) {
        return not_allowed(&method, "GET, DELETE");
    }
    if let Err(refused) = check_accept(&headers) {
        return *refused;
    }
    if let Err(error) = names::validate_channel_id(&channel) {
        return failure(
            StatusCode::BAD_REQUEST,
            format!("invalid channel ID: {error}"),
        );
    }
    match method {
        Method::GET => match orderer.channel_info(&channel) {
            Some(info) => uncached(json(StatusCode::OK, &info)),
            None => failure(StatusCode::NOT_FOUND, "channel does not exist"),
        },
        _ => match orderer.remove(&channel).await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error @ RemoveError::Unknown) => failure(StatusCode::NOT_FOUND, error.to_string()),
            Err(error) => failure(StatusCode::BAD_REQUEST, error.to_string()),
        },
    }
}

async fn blocks(
    State(orderer): State<Arc<Orderer>>,
    method: Method,
    headers: HeaderMap,
    Path((channel, block)): Path<(String, String)>,
) -> Response {
    if method != Method::GET {
        return not_allowed(&method, "GET");
    }
    // Asked of blocks too, though they are not JSON.
    if let Err(refused) = check_accept(&headers) {
        return *refused;
    }
    if let Err(error) = names::validate_channel_id(&channel) {
        return failure(
            StatusCode::BAD_REQUEST,
            format!("invalid channel ID: {error}"),
        );
    }
    let number = match block.as_str() {
        "newest" | "config" => None,
        "oldest" => Some(0),
        number => match number.parse::<i64>() {
            // Fabric takes what is below zero for a number far beyond the end.
            Ok(number) => Some(number.cast_unsigned()),
            Err(_) => {
                let error = format!(
                    "invalid block ID: '{block}' not equal <newest|oldest|config|(number)>"
                );
                return failure(StatusCode::BAD_REQUEST, error);
            }
        },
    };
    let Some(info) = orderer.channel_info(&channel) else {
        return failure(StatusCode::NOT_FOUND, "channel does not exist");
    };
    let wanted = number.unwrap_or(info.height.saturating_sub(1));
    let config = block == "config";
    let read = tokio::task::spawn_blocking(move || {
        let found = orderer
            .block_bytes(&channel, wanted)
            .map_err(|error| error.to_string())?;
        let (true, Some(found)) = (config, found.clone()) else {
            return Ok(found);
        };
        let newest = common::Block::decode(found).map_err(|error| error.to_string())?;
        let last = block::last_config(&newest).map_err(|error| error.to_string())?;
        orderer
            .block_bytes(&channel, last)
            .map_err(|error| error.to_string())
    });
    match read.await {
        Ok(Ok(Some(bytes))) => {
            let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
            uncached((StatusCode::OK, headers, bytes).into_response())
        }
        Ok(Ok(None)) => failure(StatusCode::NOT_FOUND, "block does not exist"),
        Ok(Err(error)) => failure(StatusCode::NOT_FOUND, error),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
