//! Tests over real sockets, with authorities and certificates made on the spot.

mod grpc;
mod hostile;
mod http;
mod metering;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::oneshot;
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;

use crate::{
    ClientAuth, ClientTls, ConnectError, GrpcLimits, ServerTls, TlsIdentity, client_certificate,
    connect, grpc_server_within, incoming_within, listen,
};

/// No step of any test takes longer on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate authority for TLS.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate counts.
#[derive(Clone, Copy)]
enum Validity {
    Now,
    Past,
    Future,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    fn root(&self) -> Bytes {
        self.issuer.pem().into()
    }

    fn issue(&self, hosts: &[&str], validity: Validity) -> TlsIdentity {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        (params.not_before, params.not_after) = match validity {
            Validity::Now => (
                rcgen::date_time_ymd(2020, 1, 1),
                rcgen::date_time_ymd(2100, 1, 1),
            ),
            Validity::Past => (
                rcgen::date_time_ymd(2020, 1, 1),
                rcgen::date_time_ymd(2021, 1, 1),
            ),
            Validity::Future => (
                rcgen::date_time_ymd(2099, 1, 1),
                rcgen::date_time_ymd(2100, 1, 1),
            ),
        };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        TlsIdentity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    /// An identity for this machine.
    fn local(&self) -> TlsIdentity {
        self.issue(&["localhost", "127.0.0.1"], Validity::Now)
    }

    fn client(&self, identity: Option<TlsIdentity>) -> Arc<ClientTls> {
        ClientTls::new(identity, &[self.root()]).unwrap()
    }
}

/// A running gRPC server whose answer to any call is who called.
struct Server {
    address: SocketAddr,
    // Dropping it ends the server and its connections.
    _stop: oneshot::Sender<()>,
}

impl Server {
    async fn start(tls: Option<Arc<ServerTls>>) -> Self {
        Self::start_at("127.0.0.1:0", tls, crate::HANDSHAKE_TIMEOUT).await
    }

    async fn start_at(
        address: &str,
        tls: Option<Arc<ServerTls>>,
        handshake_timeout: Duration,
    ) -> Self {
        let mut limits = GrpcLimits::default();
        limits.connections.handshake = handshake_timeout;
        let listener = listen(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = HealthServer::with_interceptor(
            tonic_health::server::HealthService::from_health_reporter(
                tonic_health::server::HealthReporter::new(),
            ),
            |request: Request<()>| -> Result<Request<()>, Status> {
                let caller = match client_certificate(&request) {
                    Some(leaf) => hex::encode(leaf),
                    None => "nobody".to_owned(),
                };
                Err(Status::already_exists(caller))
            },
        );
        let connections = incoming_within(listener, tls, &limits.connections);
        let mut server = grpc_server_within(&limits, []);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            server
                .add_service(service)
                .serve_with_incoming_shutdown(connections, shutdown)
                .await
                .unwrap();
        });
        Self {
            address,
            _stop: stop,
        }
    }

    fn endpoint(&self) -> String {
        format!("localhost:{}", self.address.port())
    }
}

/// Why nobody answered; read by people when a test fails.
#[derive(Debug)]
#[expect(dead_code, reason = "the status is only printed")]
enum Failed {
    Connecting(ConnectError),
    Calling(Status),
}

/// Calls the server; gives whom it saw: the caller's certificate in hex, or "nobody".
async fn call(endpoint: &str, tls: Option<Arc<ClientTls>>) -> Result<String, Failed> {
    let channel = connect(endpoint, tls, PATIENCE)
        .await
        .map_err(Failed::Connecting)?;
    call_over(channel).await.map_err(Failed::Calling)
}

async fn call_over(channel: tonic::transport::Channel) -> Result<String, Status> {
    let request = HealthCheckRequest::default();
    let answer = tokio::time::timeout(PATIENCE, HealthClient::new(channel).check(request)).await;
    let status = answer.expect("an answer or an error in time").unwrap_err();
    match status.code() {
        tonic::Code::AlreadyExists => Ok(status.message().to_owned()),
        _ => Err(status),
    }
}

fn server_tls(identity: TlsIdentity, auth: ClientAuth, roots: &[Bytes]) -> Arc<ServerTls> {
    ServerTls::new(identity, auth, roots).unwrap()
}
