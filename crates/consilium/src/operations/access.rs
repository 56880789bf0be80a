//! Who may ask the operations server, and under which name a request is known.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use consilium_transport::{
    ClientAuth, ClientCertificate, ConnectionInfo, ServerTls, TlsError, TlsIdentity,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// TLS of an operations server: certificates of clients must chain to the roots, and every client
/// must show one if `client_auth_required`.
///
/// fabric: common/fabhttp/tls.go
///
/// # Errors
/// As [`ServerTls::new`].
pub fn server_tls(
    identity: TlsIdentity,
    client_auth_required: bool,
    client_roots: &[Bytes],
) -> Result<Arc<ServerTls>, TlsError> {
    let auth = if client_auth_required {
        ClientAuth::Require
    } else {
        ClientAuth::Verify
    };
    ServerTls::new(identity, auth, client_roots)
}

/// Whether a certificate that a client showed was checked.
pub(super) fn checks_certificates(tls: &ServerTls) -> bool {
    matches!(tls.client_auth(), ClientAuth::Verify | ClientAuth::Require)
}

/// Refuses requests that come without a certificate that was checked.
///
/// fabric: core/middleware/require_cert.go
pub(super) async fn require_certificate(
    State(checked): State<bool>,
    Extension(ClientCertificate(certificate)): Extension<ClientCertificate>,
    Extension(connection): Extension<ConnectionInfo>,
    request: Request,
    next: Next,
) -> Response {
    if checked && certificate.is_some() {
        return next.run(request).await;
    }
    tracing::warn!(
        remote = %connection.remote,
        method = %request.method(),
        path = request.uri().path(),
        "operations request without a valid client certificate refused"
    );
    StatusCode::UNAUTHORIZED.into_response()
}

/// Gives a request an id, if its caller did not, and names it in the answer.
///
/// fabric: core/middleware/request_id.go
pub(super) async fn name_request(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).cloned();
    let id = given
        .filter(|id| !id.is_empty())
        .or_else(|| HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).ok());
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
