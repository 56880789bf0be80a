//! Which certificates a node has, by its configuration file.

use std::path::{Path, PathBuf};

use consilium_ca::folders;
use consilium_msp::Certificate;

use super::{
    Purpose, SigningSource,
    pair::{self, Pair},
};
use crate::config::{self, Certificates, Node, OrdererConfig, PeerConfig};

/// A node's certificates.
pub struct Inventory {
    /// Its settings about them.
    pub settings: Certificates,
    /// The signing identity.
    pub source: SigningSource,
    /// TLS pairs, each once.
    pub pairs: Vec<(Purpose, Pair)>,
    /// The authority's TLS roots.
    pub root_cert: PathBuf,
}

/// A certificate that lies in a node's folder.
pub struct Found {
    /// What it is for.
    pub purpose: Purpose,
    /// Itself.
    pub certificate: std::sync::Arc<Certificate>,
}

impl Inventory {
    /// That of the node with this configuration file, `core.yaml` or `orderer.yaml` by its contents.
    ///
    /// # Errors
    /// The file cannot be read, or is neither.
    pub fn of(file: &Path) -> anyhow::Result<Self> {
        let keys: serde_json::Map<String, serde_json::Value> = config::read(file)?;
        let has = |name: &str| keys.keys().any(|key| key.eq_ignore_ascii_case(name));
        if has("peer") {
            let PeerConfig {
                peer, operations, ..
            } = config::read_node(Node::Peer, file)?;
            let (dir, id) = (&peer.msp_config_path, &peer.local_msp_id);
            let source = SigningSource::new(file, dir, id, &peer.bccsp)?;
            let mut inventory = Self::new(file, &peer.certificates, source);
            inventory.add(
                file,
                Purpose::Server,
                &peer.tls.cert.file,
                &peer.tls.key.file,
            );
            if operations.tls.enabled {
                let tls = &operations.tls;
                inventory.add(file, Purpose::Operations, &tls.cert.file, &tls.key.file);
            }
            return Ok(inventory);
        }
        anyhow::ensure!(
            has("general"),
            "{} is neither a core.yaml nor an orderer.yaml: it has no `peer` and no `General`",
            file.display()
        );
        let OrdererConfig {
            general,
            admin,
            operations,
            ..
        } = config::read_node(Node::Orderer, file)?;
        let (dir, id) = (&general.local_msp_dir, &general.local_msp_id);
        let source = SigningSource::new(file, dir, id, &general.bccsp)?;
        let mut inventory = Self::new(file, &general.certificates, source);
        let (tls, cluster) = (&general.tls, &general.cluster);
        inventory.add(file, Purpose::Server, &tls.certificate, &tls.private_key);
        if !cluster.client_certificate.as_os_str().is_empty() {
            let (certificate, key) = (&cluster.client_certificate, &cluster.client_private_key);
            inventory.add(file, Purpose::Cluster, certificate, key);
        }
        let others = [(Purpose::Admin, admin), (Purpose::Operations, operations)];
        for (purpose, endpoint) in others {
            let tls = &endpoint.tls;
            if tls.enabled && !endpoint.listen_address.is_empty() {
                inventory.add(file, purpose, &tls.certificate, &tls.private_key);
            }
        }
        Ok(inventory)
    }

    fn new(file: &Path, settings: &Certificates, source: SigningSource) -> Self {
        Self {
            root_cert: config::relative(file, &settings.renewal.root_cert),
            source,
            settings: settings.clone(),
            pairs: Vec::new(),
        }
    }

    fn add(&mut self, file: &Path, purpose: Purpose, certificate: &Path, key: &Path) {
        let pair = Pair {
            certificate: config::relative(file, certificate),
            key: config::relative(file, key),
        };
        if !self.pairs.iter().any(|(_, known)| *known == pair) {
            self.pairs.push((purpose, pair));
        }
    }

    /// The certificates as they lie there now.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn found(&self) -> anyhow::Result<Vec<Found>> {
        let signing = folders::read_signer_certificate(&self.source.msp_dir)?;
        let mut found = vec![Found {
            purpose: Purpose::Enrollment,
            certificate: Certificate::from_pem(&signing)?,
        }];
        for (purpose, pair) in &self.pairs {
            found.push(Found {
                purpose: *purpose,
                certificate: pair::leaf(&pair.read()?)?,
            });
        }
        Ok(found)
    }
}
