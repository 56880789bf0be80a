//! The console's files, which are in the program.

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

/// What a browser may do on these pages: nothing but what the gateway itself serves. Charts set
/// sizes through the style object, which the policy allows.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal $kind:literal;)*) => {
        &[$(($name, $kind, include_bytes!(concat!("../../console/", $name)))),*]
    };
}

/// Name, media type, content.
const FILES: &[(&str, &str, &[u8])] = files! {
    "index.html" "text/html; charset=utf-8";
    "app.js" "text/javascript; charset=utf-8";
    "dom.js" "text/javascript; charset=utf-8";
    "ledger.js" "text/javascript; charset=utf-8";
    "people.js" "text/javascript; charset=utf-8";
    "session.js" "text/javascript; charset=utf-8";
    "timeline.js" "text/javascript; charset=utf-8";
    "values.js" "text/javascript; charset=utf-8";
    "words.js" "text/javascript; charset=utf-8";
    "uPlot.esm.js" "text/javascript; charset=utf-8";
    "style.css" "text/css; charset=utf-8";
    "uPlot.min.css" "text/css; charset=utf-8";
    "icon.svg" "image/svg+xml";
};

/// The files below `/console/`, and the way there from `/`.
pub fn router() -> Router {
    let mut router = Router::new()
        .route("/", get(|| async { Redirect::temporary("/console/") }))
        .route(
            "/console",
            get(|| async { Redirect::temporary("/console/") }),
        );
    for (name, kind, content) in FILES {
        let path = match *name {
            "index.html" => "/console/".to_owned(),
            name => format!("/console/{name}"),
        };
        router = router.route(&path, get(move || async move { file(kind, content) }));
    }
    router
}

fn file(kind: &'static str, content: &'static [u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        // The program is the version: a new one brings new files.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (StatusCode::OK, headers, content).into_response()
}
