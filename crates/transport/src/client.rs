//! The TLS side of a client: whom it trusts and the certificate it shows.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use crate::identity::{TlsError, TlsIdentity, anchors, describe};

/// A client's TLS settings. Roots and identity can change at any time: connections made later,
/// also by channels that exist already, use the new ones.
pub struct ClientTls {
    parts: Mutex<(Option<TlsIdentity>, Vec<Bytes>)>,
    config: ArcSwap<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Settings from the identity to show when a server asks, if any, and the PEM roots (and
    /// intermediates) that servers must chain to. A root that cannot be used is logged and left
    /// out; with none left every server is refused.
    ///
    /// # Errors
    /// If the TLS library refuses the combination.
    pub fn new(identity: Option<TlsIdentity>, roots: &[Bytes]) -> Result<Arc<Self>, TlsError> {
        Self::build(identity, roots, None)
    }

    /// As [`ClientTls::new`], but servers are checked against `server_name` whatever address was
    /// dialled: Fabric's `--tls-server-name`/`ssl-target-name-override`.
    ///
    /// # Errors
    /// As [`ClientTls::new`], and if `server_name` is neither a DNS name nor an IP address.
    pub fn with_server_name(
        identity: Option<TlsIdentity>,
        roots: &[Bytes],
        server_name: &str,
    ) -> Result<Arc<Self>, TlsError> {
        let name =
            ServerName::try_from(server_name.to_owned()).map_err(|_| TlsError::Configuration {
                reason: format!("{server_name:?} is not a host name"),
            })?;
        Self::build(identity, roots, Some(name))
    }

    fn build(
        identity: Option<TlsIdentity>,
        roots: &[Bytes],
        server_name: Option<ServerName<'static>>,
    ) -> Result<Arc<Self>, TlsError> {
        let config = configuration(identity.as_ref(), roots)?;
        Ok(Arc::new(Self {
            parts: Mutex::new((identity, roots.to_vec())),
            config: ArcSwap::from(config),
            server_name,
        }))
    }

    /// Replaces the roots that servers must chain to.
    ///
    /// # Errors
    /// As [`ClientTls::new`]; the old roots then stay.
    pub fn set_roots(&self, roots: &[Bytes]) -> Result<(), TlsError> {
        let mut parts = self.parts.lock();
        if parts.1 == roots {
            return Ok(());
        }
        let config = configuration(parts.0.as_ref(), roots)?;
        parts.1 = roots.to_vec();
        self.config.store(config);
        Ok(())
    }

    /// Replaces the certificate that is shown when a server asks.
    ///
    /// # Errors
    /// As [`ClientTls::new`]; the old identity then stays.
    pub fn set_identity(&self, identity: Option<TlsIdentity>) -> Result<(), TlsError> {
        let mut parts = self.parts.lock();
        let config = configuration(identity.as_ref(), &parts.1)?;
        parts.0 = identity;
        self.config.store(config);
        Ok(())
    }

    /// SHA-256 of the client's leaf certificate in DER, for `tls_cert_hash` fields.
    pub fn identity_hash(&self) -> Option<[u8; 32]> {
        self.parts.lock().0.as_ref().map(TlsIdentity::leaf_hash)
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.load_full()
    }

    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        self.server_name.clone()
    }
}

fn configuration(
    identity: Option<&TlsIdentity>,
    roots: &[Bytes],
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(crate::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Configuration {
            reason: describe(&error),
        })?
        .with_root_certificates(anchors(roots));
    let mut config = match identity {
        Some(identity) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
