//! Out of the recorded channel.

use bytes::Bytes;
use consilium_msp::Certificate;
use consilium_proto::common::{ConfigEnvelope, Envelope};
use consilium_protocol::envelope;
use consilium_protocol::transaction;
use consilium_testkit::recorded::Recording;
use prost::Message;

use super::{Seed, kind, seed};
use crate::input::put_part;
use crate::snapshot::FILES;

/// Blocks with something of everything, small ones.
const BLOCKS: [u64; 3] = [11, 8, 24];
/// Blocks whose transactions are inputs by themselves, the first of each.
const TRANSACTIONS: [u64; 7] = [2, 9, 13, 16, 28, 30, 37];
/// The first block that changes the configuration.
const CONFIG: u64 = 44;

pub(super) fn seeds(recording: &Recording) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let genesis = recording.block(0);
    seeds.push(seed("block", "genesis", genesis.encode_to_vec()));
    for number in BLOCKS {
        let block = recording.block(number).encode_to_vec();
        seeds.push(seed("block", &format!("block{number}"), block));
    }
    for number in TRANSACTIONS {
        let block = recording.block(number);
        let envelope = &consilium_protocol::block::envelopes(&block)[0];
        let name = format!("transaction{number}");
        seeds.push(seed("envelope", &name, &envelope[..]));
        let results = transaction::check_syntax(envelope)
            .and_then(|checked| transaction::check_endorser_transaction(&checked))
            .and_then(|endorsed| endorsed.dispatch())
            .map(|parsed| parsed.action.results);
        if let Ok(results) = results
            && results.len() < 8000
        {
            seeds.push(seed("rwset", &name, &results[..]));
        }
    }
    configurations(recording, &mut seeds);
    identities(recording, &mut seeds);
    snapshot(recording, &mut seeds);
    seeds
}

fn configurations(recording: &Recording, seeds: &mut Vec<Seed>) {
    let genesis = recording.block(0);
    let (_, wrapped) = consilium_protocol::block::config_envelope(&genesis).expect("a config");
    let config = wrapped.config.expect("a config").encode_to_vec();
    seeds.push(seed("config", "whole", kind(0, &config)));
    seeds.push(seed("config", "block", kind(3, &genesis.encode_to_vec())));
    let block = recording.block(CONFIG);
    let message = &consilium_protocol::block::envelopes(&block)[0];
    seeds.push(seed("config", "message", kind(2, message)));
    let parsed = envelope::parse_bytes(message).expect("an envelope");
    let wrapped = ConfigEnvelope::decode(parsed.data).expect("a config message");
    let update: Envelope = wrapped.last_update.expect("an update");
    let update = update.encode_to_vec();
    seeds.push(seed("config", "update", kind(1, &update)));
    seeds.push(seed("envelope", "update", update));
}

fn identities(recording: &Recording, seeds: &mut Vec<Seed>) {
    let block = recording.block(9);
    let envelope = &consilium_protocol::block::envelopes(&block)[0];
    let parsed = envelope::parse_bytes(envelope).expect("an envelope");
    let creator: Bytes = parsed.signature_header.creator;
    seeds.push(seed("identity", "identity", kind(0, &creator)));
    seeds.push(seed("identity", "signature", kind(5, &parsed.signature)));
    let config = crate::world::config();
    for msp in config.msps().msps() {
        let name = msp.id();
        let definition = msp.config().encode_to_vec();
        seeds.push(seed(
            "identity",
            &format!("msp-{name}"),
            kind(3, &definition),
        ));
        let authority: Option<&std::sync::Arc<Certificate>> = msp.authorities().next();
        if let Some(authority) = authority {
            let der = kind(1, authority.der());
            seeds.push(seed("identity", &format!("authority-{name}"), der));
            let pem = kind(1, authority.pem().as_bytes());
            seeds.push(seed("identity", &format!("authority-{name}.pem"), pem));
        }
    }
}

fn snapshot(recording: &Recording, seeds: &mut Vec<Seed>) {
    let mut small = Vec::new();
    for (number, name) in FILES.iter().enumerate().take(8) {
        let path = recording.path(&format!("snapshot/66/{name}"));
        let content = std::fs::read(path).expect("a file of the snapshot");
        if content.len() < 8000 {
            small.push(number as u8);
            put_part(&mut small, &content);
        }
    }
    seeds.push(seed("snapshot", "recorded", small));
}
