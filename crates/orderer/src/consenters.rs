//! The orderers of a channel: who they are, where they listen, and which of them is this node.
//!
//! A consenter is known by its TLS certificates. It keeps its id for as long as it is listed; the
//! ids stand in the consenter metadata of every block, in the order of the configuration's list.
//! fabric: orderer/consensus/etcdraft/util.go

use crate::raft::membership::MAX_CONSENTER;
use bytes::Bytes;
use consilium_msp::Certificate;
use consilium_proto::etcdraft;
use consilium_protocol::config::ChannelConfig;
use x509_parser::prelude::{FromDer, X509Certificate};

/// One consenter.
#[derive(Clone, Debug)]
pub struct Consenter {
    /// Its id in the channel.
    pub id: u64,
    /// `host:port`
    pub address: String,
    pub(crate) client: Pin,
    pub(crate) server: Pin,
}

/// A certificate as it is listed; matched by its bytes or its public key.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    der: Bytes,
    public_key: Option<Bytes>,
}

impl Pin {
    fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
        Ok(Self::from_der(&Bytes::copy_from_slice(certificate.der())))
    }

    pub(crate) fn from_der(der: &Bytes) -> Self {
        Self {
            der: der.clone(),
            public_key: public_key(der),
        }
    }

    pub(crate) fn matches(&self, other: &Pin) -> bool {
        self.der == other.der || (self.public_key.is_some() && self.public_key == other.public_key)
    }
}

/// The encoded SubjectPublicKeyInfo of a certificate.
fn public_key(der: &[u8]) -> Option<Bytes> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Bytes::copy_from_slice(certificate.public_key().raw))
}

/// The consenters of a channel configuration, in order, with the ids that the block metadata gives
/// them.
pub fn of(config: &ChannelConfig, ids: &etcdraft::BlockMetadata) -> Result<Vec<Consenter>, String> {
    let metadata = config.raft_metadata().map_err(|error| error.to_string())?;
    from_metadata(&metadata, &ids.consenter_ids)
}

fn from_metadata(
    metadata: &etcdraft::ConfigMetadata,
    ids: &[u64],
) -> Result<Vec<Consenter>, String> {
    if ids.len() != metadata.consenters.len() {
        return Err(format!(
            "{} consenters are configured, and the block metadata has {} ids",
            metadata.consenters.len(),
            ids.len()
        ));
    }
    let consenters = metadata.consenters.iter().zip(ids).map(|(listed, id)| {
        let context = |error: String| format!("consenter {id} ({}): {error}", listed.host);
        if *id == 0 || *id > MAX_CONSENTER {
            return Err(context("not a consenter id".into()));
        }
        Ok(Consenter {
            id: *id,
            address: address(&listed.host, listed.port),
            client: Pin::from_pem(&listed.client_tls_cert).map_err(context)?,
            server: Pin::from_pem(&listed.server_tls_cert).map_err(context)?,
        })
    });
    consenters.collect()
}

fn address(host: &str, port: u32) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The id of the node that holds one of these certificates (DER), if it is a consenter.
pub fn own_id(consenters: &[Consenter], server: &Bytes, client: &Bytes) -> Option<u64> {
    let (server, client) = (Pin::from_der(server), Pin::from_der(client));
    let own = |consenter: &&Consenter| {
        consenter.server.matches(&server) || consenter.client.matches(&client)
    };
    consenters.iter().find(own).map(|consenter| consenter.id)
}

/// The id of the consenter whose client certificate (DER) this is.
pub fn by_client_certificate(consenters: &[Consenter], der: &Bytes) -> Option<u64> {
    // Most calls present the listed bytes: look at keys only when they do not.
    if let Some(exact) = consenters
        .iter()
        .find(|consenter| consenter.client.der == *der)
    {
        return Some(exact.id);
    }
    let caller = Pin::from_der(der);
    consenters
        .iter()
        .find(|consenter| consenter.client.matches(&caller))
        .map(|found| found.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_testkit::{Credential, Organization, network};

    fn der(credential: &Credential) -> Bytes {
        let certificate = Certificate::from_pem(credential.cert_pem.as_bytes()).unwrap();
        Bytes::copy_from_slice(certificate.der())
    }

    #[test]
    fn consenters_are_known_by_their_certificates() {
        let organization = Organization::new("OrdererMSP", "example.com");
        let tls = [(); 4].map(|()| organization.tls(&["127.0.0.1"]));
        let listed = tls[..3]
            .iter()
            .map(|tls| network::consenter("127.0.0.1", 7050, tls))
            .collect();
        let metadata = etcdraft::ConfigMetadata {
            consenters: listed,
            options: None,
        };
        assert!(from_metadata(&metadata, &[1, 2]).is_err());
        assert!(from_metadata(&metadata, &[1, 2, 0]).is_err());
        let consenters = from_metadata(&metadata, &[1, 7, 3]).unwrap();
        let ids: Vec<u64> = consenters.iter().map(|consenter| consenter.id).collect();
        assert_eq!(ids, [1, 7, 3]);
        assert_eq!(consenters[0].address, "127.0.0.1:7050");
        for (index, expected) in [(0, Some(1)), (2, Some(3)), (3, None)] {
            let der = der(&tls[index]);
            assert_eq!(by_client_certificate(&consenters, &der), expected);
            assert_eq!(own_id(&consenters, &der, &der), expected);
        }
        assert_eq!(
            by_client_certificate(&consenters, &Bytes::from_static(b"garbage")),
            None
        );
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_an_error_with_its_place() {
        let consenter = etcdraft::Consenter {
            host: "one".into(),
            port: 7050,
            client_tls_cert: Bytes::from_static(b"x"),
            server_tls_cert: Bytes::from_static(b"x"),
        };
        let metadata = etcdraft::ConfigMetadata {
            consenters: vec![consenter],
            options: None,
        };
        assert!(
            from_metadata(&metadata, &[1])
                .unwrap_err()
                .starts_with("consenter 1 (one): ")
        );
        assert_eq!(address("::1", 7050), "[::1]:7050");
    }
}
