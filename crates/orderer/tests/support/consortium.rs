//! The nodes of simulated worlds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use consilium_msp::Certificate;
use consilium_orderer::simulation::{Consortium, Keys};
use consilium_proto::etcdraft::Consenter;
use consilium_testkit::{NodeOu, Organization, network};

use crate::config;

/// Most nodes of a world.
pub const NODES: usize = 8;

/// One organization's keys, made once: consortia differ in how many of its nodes they have.
pub fn consortium(consenters: usize, spare: usize) -> Consortium {
    static MADE: OnceLock<(Organization, Vec<Keys>, Vec<Consenter>)> = OnceLock::new();
    static CONSORTIA: Mutex<BTreeMap<(usize, usize), Consortium>> = Mutex::new(BTreeMap::new());
    let (organization, keys, listed) = MADE.get_or_init(|| {
        consilium_transport::install_crypto_provider();
        let organization = Organization::new("OrdererMSP", "example.com");
        let made = (0..NODES).map(|node| {
            let tls = organization.tls(&["127.0.0.1"]);
            let certificate = Certificate::from_pem(tls.cert_pem.as_bytes()).unwrap();
            let port = 7050 + node as u16;
            let keys = Keys {
                signer: organization.signer(&format!("orderer{node}"), NodeOu::Orderer),
                certificate: Bytes::copy_from_slice(certificate.der()),
                address: format!("127.0.0.1:{port}"),
            };
            (keys, network::consenter("127.0.0.1", port, &tls))
        });
        let (keys, listed) = made.unzip();
        (organization, keys, listed)
    });
    let mut consortia = CONSORTIA.lock().unwrap();
    let made = consortia.entry((consenters, spare)).or_insert_with(|| {
        let founders = listed[..consenters].to_vec();
        let mut profile = network::profile("mychannel", &[organization], founders);
        profile.raft.tick_interval = "100ms".into();
        // Snapshots and purged logs are part of life.
        profile.raft.snapshot_interval_size = 2_000;
        profile.batch_size.max_message_count = 5;
        let admin = organization.signer("admin", NodeOu::Admin);
        Consortium {
            nodes: keys[..consenters + spare].to_vec(),
            consenters,
            genesis: network::block(&profile),
            update: Arc::new(move |current, nodes| {
                config::update_of(current, &*admin, |root| {
                    config::change_consenters(root, |consenters| {
                        *consenters = nodes.iter().map(|node| listed[*node].clone()).collect();
                    });
                })
            }),
        }
    });
    made.clone()
}
