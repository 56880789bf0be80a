//! Tests of the whole authority: over TLS with its own client, and request by request.

mod enrollment;
mod keys;
mod msp_folders;
pub(crate) mod postgres;
mod refusals;
mod rest;
mod revocation_lists;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;

use consilium_transport::listen;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::client::{CaClient, EnrollRequest, Enrollment, RegisterRequest};
use crate::{CaOptions, CaServer};

const ADMIN: &str = "admin";
const PASSWORD: &str = "adminpw";

/// An authority in a folder of its own.
struct Fixture {
    home: TempDir,
    ca: Arc<CaServer>,
}

fn options(home: &TempDir) -> CaOptions {
    CaOptions {
        bootstrap: Some((ADMIN.into(), PASSWORD.into())),
        ..CaOptions::new(home.path(), "ca-org1", "Hospital")
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CaOptions)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut options = options(&home);
        change(&mut options);
        let ca = CaServer::open(options).unwrap();
        Self { home, ca }
    }

    async fn serve(&self) -> Served {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = self
            .ca
            .tls(&["localhost".into(), "127.0.0.1".into()])
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let ca = self.ca.clone();
        tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            ca.serve(listener, Some(tls), shutdown).await.unwrap();
        });
        let url = format!("https://localhost:{}", address.port());
        let roots = [self.ca.ca_certificate_pem().to_owned().into()];
        Served {
            client: CaClient::new(&url, &roots, "ca-org1").unwrap(),
            address,
            _stop: stop,
        }
    }
}

/// A running authority and its client.
struct Served {
    client: CaClient,
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Served {
    async fn admin(&self) -> Enrollment {
        self.enroll(ADMIN, PASSWORD, "").await
    }

    async fn enroll(&self, id: &str, secret: &str, profile: &str) -> Enrollment {
        self.client
            .enroll(&request(id, secret, profile))
            .await
            .unwrap()
    }

    async fn register(&self, admin: &Enrollment, id: &str, kind: &str) -> String {
        let request = RegisterRequest {
            id: id.into(),
            kind: kind.into(),
            ..RegisterRequest::default()
        };
        self.client.register(admin, &request).await.unwrap()
    }
}

fn request(id: &str, secret: &str, profile: &str) -> EnrollRequest {
    EnrollRequest {
        id: id.into(),
        secret: secret.into(),
        profile: profile.into(),
        hosts: vec!["localhost".into(), "127.0.0.1".into()],
        ..EnrollRequest::default()
    }
}
