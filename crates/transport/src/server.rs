//! The TLS side of a server: its identity, whom it asks for a certificate, and trusted roots.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use crate::identity::{TlsError, TlsIdentity, anchors, describe};
use crate::verify::{AnyClient, NoClient};

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked.
    None,
    /// Asked; its chain is not checked and it may be missing, but a shown certificate's key was
    /// proved. This is Fabric's behaviour with `clientAuthRequired: false`.
    Request,
    /// Asked; it may be missing, but a shown one must chain to the client roots now. This is
    /// Go's `VerifyClientCertIfGiven`, which Fabric's operations server uses.
    Verify,
    /// Required, and it must chain to the client roots now, with a purpose that fits.
    Require,
}

/// A server's TLS settings. Identity and roots can change at any time: handshakes that begin
/// later use the new ones, established connections stay.
pub struct ServerTls {
    auth: ClientAuth,
    // What the current configuration was made of; locked only to make the next one.
    parts: Mutex<(TlsIdentity, Vec<Bytes>)>,
    active: ArcSwap<Active>,
}

/// What handshakes use, and the certificate that goes with it.
pub(crate) struct Active {
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the server's leaf certificate in DER.
    pub(crate) certificate_hash: [u8; 32],
}

impl ServerTls {
    /// Settings from an identity and the PEM roots (and intermediates) that clients must chain
    /// to. `client_roots` matters for [`ClientAuth::Verify`] and [`ClientAuth::Require`] only;
    /// while it is empty, no client with a certificate is let in. A root that cannot be used is logged and left out; use
    /// [`crate::check_roots`] first where a person should hear of it.
    ///
    /// # Errors
    /// If the TLS library refuses the combination.
    pub fn new(
        identity: TlsIdentity,
        auth: ClientAuth,
        client_roots: &[Bytes],
    ) -> Result<Arc<Self>, TlsError> {
        let active = activate(&identity, auth, client_roots)?;
        Ok(Arc::new(Self {
            auth,
            parts: Mutex::new((identity, client_roots.to_vec())),
            active: ArcSwap::from_pointee(active),
        }))
    }

    /// Replaces the roots that clients must chain to.
    ///
    /// # Errors
    /// As [`ServerTls::new`]; the old roots then stay.
    pub fn set_client_roots(&self, client_roots: &[Bytes]) -> Result<(), TlsError> {
        let mut parts = self.parts.lock();
        if parts.1 == client_roots {
            return Ok(());
        }
        let active = activate(&parts.0, self.auth, client_roots)?;
        parts.1 = client_roots.to_vec();
        self.active.store(Arc::new(active));
        Ok(())
    }

    /// Replaces the server's own certificate and key.
    ///
    /// # Errors
    /// As [`ServerTls::new`]; the old identity then stays.
    pub fn set_identity(&self, identity: TlsIdentity) -> Result<(), TlsError> {
        let mut parts = self.parts.lock();
        let active = activate(&identity, self.auth, &parts.1)?;
        parts.0 = identity;
        self.active.store(Arc::new(active));
        Ok(())
    }

    /// Whether clients must show a certificate.
    pub fn client_auth(&self) -> ClientAuth {
        self.auth
    }

    /// SHA-256 of the server's leaf certificate in DER.
    pub fn identity_hash(&self) -> [u8; 32] {
        self.active.load().certificate_hash
    }

    pub(crate) fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }
}

fn activate(
    identity: &TlsIdentity,
    auth: ClientAuth,
    client_roots: &[Bytes],
) -> Result<Active, TlsError> {
    Ok(Active {
        config: configuration(identity, auth, client_roots)?,
        certificate_hash: identity.leaf_hash(),
    })
}

fn configuration(
    identity: &TlsIdentity,
    auth: ClientAuth,
    client_roots: &[Bytes],
) -> Result<Arc<ServerConfig>, TlsError> {
    let refused = |reason: String| TlsError::Configuration { reason };
    let provider = crate::provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(describe(&error)))?;
    let builder = match auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Request => builder.with_client_cert_verifier(Arc::new(AnyClient(provider))),
        ClientAuth::Verify | ClientAuth::Require => {
            let mandatory = auth == ClientAuth::Require;
            let roots = anchors(client_roots);
            let verifier: Arc<dyn ClientCertVerifier> = if roots.is_empty() {
                Arc::new(NoClient {
                    provider,
                    mandatory,
                })
            } else {
                // No hints: names of a whole consortium's roots would only swell the handshake,
                // and some clients then refuse to send a certificate of an intermediate.
                let builder =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .clear_root_hint_subjects();
                let builder = if mandatory {
                    builder
                } else {
                    builder.allow_unauthenticated()
                };
                builder
                    .build()
                    .map_err(|error| refused(error.to_string()))?
            };
            builder.with_client_cert_verifier(verifier)
        }
    };
    let resolver = SingleCertAndKey::from(identity.certified_key());
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    // grpc-go refuses a server that does not agree on a protocol.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // No resumption: every connection proves its key afresh against the roots of the moment.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
