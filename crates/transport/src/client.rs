//! The TLS side of a client: whom it trusts and the certificate it shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::identity::{TlsError, TlsIdentity, anchors, describe};

/// A client's TLS settings. Roots and identity can change at any time: connections made later,
/// also by channels that exist already, use the new ones.
pub struct ClientTls {
    parts: Mutex<(Option<TlsIdentity>, Vec<Bytes>)>,
    config: ArcSwap<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    clock_behind: Duration,
    /// Counts the identities there have been.
    identities: AtomicU64,
}

/// How a client departs from checking servers by the name that was dialled and the time that it is.
#[derive(Debug, Clone, Default)]
pub struct ClientTlsOptions {
    /// The name in servers' certificates, whatever address was dialled: Fabric's
    /// `--tls-server-name`/`ssl-target-name-override`.
    pub server_name: Option<String>,
    /// How far back the clock is set that validity of servers' certificates is judged by: Fabric's
    /// `--tlsHandshakeTimeShift`.
    pub clock_behind: Duration,
}

impl ClientTls {
    /// Settings from the identity to show when a server asks, if any, and the PEM roots (and
    /// intermediates) that servers must chain to. A root that cannot be used is logged and left
    /// out; with none left every server is refused.
    ///
    /// # Errors
    /// If the TLS library refuses the combination.
    pub fn new(identity: Option<TlsIdentity>, roots: &[Bytes]) -> Result<Arc<Self>, TlsError> {
        Self::with(identity, roots, ClientTlsOptions::default())
    }

    /// As [`ClientTls::new`], but servers are checked against `server_name` whatever address was
    /// dialled.
    ///
    /// # Errors
    /// As [`ClientTls::new`], and if `server_name` is neither a DNS name nor an IP address.
    pub fn with_server_name(
        identity: Option<TlsIdentity>,
        roots: &[Bytes],
        server_name: &str,
    ) -> Result<Arc<Self>, TlsError> {
        let options = ClientTlsOptions {
            server_name: Some(server_name.to_owned()),
            ..ClientTlsOptions::default()
        };
        Self::with(identity, roots, options)
    }

    /// As [`ClientTls::new`], with options.
    ///
    /// # Errors
    /// As [`ClientTls::new`], and if the server's name is neither a DNS name nor an IP address.
    pub fn with(
        identity: Option<TlsIdentity>,
        roots: &[Bytes],
        options: ClientTlsOptions,
    ) -> Result<Arc<Self>, TlsError> {
        let server_name = options.server_name.map(|name| {
            ServerName::try_from(name.clone()).map_err(|_| TlsError::Configuration {
                reason: format!("{name:?} is not a host name"),
            })
        });
        let config = configuration(identity.as_ref(), roots, options.clock_behind)?;
        Ok(Arc::new(Self {
            parts: Mutex::new((identity, roots.to_vec())),
            config: ArcSwap::from(config),
            server_name: server_name.transpose()?,
            clock_behind: options.clock_behind,
            identities: AtomicU64::new(0),
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
        let config = configuration(parts.0.as_ref(), roots, self.clock_behind)?;
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
        let config = configuration(identity.as_ref(), &parts.1, self.clock_behind)?;
        parts.0 = identity;
        self.config.store(config);
        self.identities.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// SHA-256 of the client's leaf certificate in DER, for `tls_cert_hash` fields.
    pub fn identity_hash(&self) -> Option<[u8; 32]> {
        self.parts.lock().0.as_ref().map(TlsIdentity::leaf_hash)
    }

    /// Grows when the identity is replaced.
    pub(crate) fn identities(&self) -> u64 {
        self.identities.load(Ordering::Acquire)
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
    clock_behind: Duration,
) -> Result<Arc<ClientConfig>, TlsError> {
    let clock = Arc::new(ClockBehind(clock_behind));
    let builder = ClientConfig::builder_with_details(crate::provider(), clock)
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

/// The system's clock, set back.
#[derive(Debug)]
struct ClockBehind(Duration);

impl TimeProvider for ClockBehind {
    fn current_time(&self) -> Option<UnixTime> {
        let now = DefaultTimeProvider.current_time()?.as_secs();
        let shown = now.saturating_sub(self.0.as_secs());
        Some(UnixTime::since_unix_epoch(Duration::from_secs(shown)))
    }
}
