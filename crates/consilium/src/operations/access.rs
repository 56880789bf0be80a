//! Who may ask the operations server, and under which name a request is known.

use std::{net::SocketAddr, sync::Arc};

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

/// What shows that a caller may see and change more than health and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A certificate that was checked.
    Certificate,
    /// That it is on this machine: there is no TLS to show a certificate over. In Fabric everybody may
    /// then.
    Loopback,
    /// Nothing would.
    None,
}

impl Proof {
    pub fn of(tls: Option<&ServerTls>) -> Self {
        match tls.map(ServerTls::client_auth) {
            None => Self::Loopback,
            Some(ClientAuth::Verify | ClientAuth::Require) => Self::Certificate,
            Some(ClientAuth::None | ClientAuth::Request) => Self::None,
        }
    }

    fn given(self, certificate: Option<&Bytes>, caller: SocketAddr) -> bool {
        match self {
            Self::Certificate => certificate.is_some(),
            Self::Loopback => caller.ip().to_canonical().is_loopback(),
            Self::None => false,
        }
    }
}

/// Refuses requests that come without proof.
///
/// fabric: core/middleware/require_cert.go
pub(super) async fn require_proof(
    State(proof): State<Proof>,
    Extension(ClientCertificate(certificate)): Extension<ClientCertificate>,
    Extension(connection): Extension<ConnectionInfo>,
    request: Request,
    next: Next,
) -> Response {
    if proof.given(certificate.as_ref(), connection.remote) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_callers_on_the_machine_see_more_than_health() {
        let certificate = Bytes::from_static(b"checked by TLS");
        for (proof, caller, shown, given) in [
            (Proof::Loopback, "127.0.0.1:1", false, true),
            (Proof::Loopback, "[::1]:1", false, true),
            (Proof::Loopback, "[::ffff:127.0.0.1]:1", false, true),
            (Proof::Loopback, "10.0.0.1:1", false, false),
            (Proof::Loopback, "[::ffff:10.0.0.1]:1", false, false),
            (Proof::Certificate, "127.0.0.1:1", false, false),
            (Proof::Certificate, "10.0.0.1:1", true, true),
            (Proof::None, "127.0.0.1:1", true, false),
        ] {
            let certificate = Some(&certificate).filter(|_| shown);
            let found = proof.given(certificate, caller.parse().unwrap());
            assert_eq!(found, given, "{proof:?} {caller} {shown}");
        }
    }
}
