//! `/logspec`: the log levels, shown and changed.
//!
//! fabric: fabric-lib-go common/flogging/httpadmin/spec.go

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::Operations;
use crate::telemetry::LogSpec;

pub(super) async fn answer(
    State(operations): State<Operations>,
    method: Method,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match method {
        Method::GET => {
            let spec = operations.log.spec().to_string();
            json(StatusCode::OK, &serde_json::json!({"spec": spec}))
        }
        Method::PUT => {
            let body = match body {
                Ok(body) => body,
                Err(rejection) => return rejection.into_response(),
            };
            let changed = read(&body).and_then(|spec| {
                tracing::info!(%spec, "log levels change");
                operations.log.set(spec).map_err(|error| error.to_string())
            });
            match changed {
                Ok(()) => StatusCode::NO_CONTENT.into_response(),
                Err(error) => refused(&error),
            }
        }
        _ => refused(&format!("invalid request method: {method}")),
    }
}

/// The spec in a body, which is read as Go reads it: the first JSON value only, keys in any case,
/// `null` for nothing.
fn read(body: &[u8]) -> Result<LogSpec, String> {
    type Object = Option<serde_json::Map<String, Value>>;
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Object>();
    let object = match values.next() {
        None => return Err("EOF".to_owned()),
        Some(Err(error)) => return Err(error.to_string()),
        Some(Ok(object)) => object.unwrap_or_default(),
    };
    let mut spec = LogSpec::default();
    for (key, value) in object {
        match value {
            Value::Null => {}
            _ if !key.eq_ignore_ascii_case("spec") => {}
            Value::String(text) => {
                spec = text
                    .parse()
                    .map_err(|error: anyhow::Error| error.to_string())?;
            }
            other => return Err(format!("cannot read {other} as a spec: expected a string")),
        }
    }
    Ok(spec)
}

fn refused(error: &str) -> Response {
    json(
        StatusCode::BAD_REQUEST,
        &serde_json::json!({"error": error}),
    )
}

/// An answer as Go's encoder writes it: with a line's end.
fn json(status: StatusCode, value: &Value) -> Response {
    let body = format!("{value}\n");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
