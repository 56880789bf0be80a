//! Envelopes: a peer's syntax checks, an orderer's filters, and a deliver service's seek requests.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use consilium_deliver::TlsBinding;
use consilium_deliver::positions::{Extent, resolve};
use consilium_ledger::PreparedTransaction;
use consilium_orderer::filters::{self, Rules};
use consilium_proto::common::Envelope;
use consilium_proto::protos;
use consilium_protocol::envelope;
use consilium_protocol::transaction::{self, Kind, ParsedTransaction};

use crate::agree::decoded;
use crate::input::{number, with_other_bit};
use crate::world;

pub(crate) fn run(data: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(data);
    let _ = PreparedTransaction::parse(&bytes);
    let Some(envelope) = decoded::<Envelope>(&bytes) else {
        assert!(
            transaction::check_syntax(&bytes).is_err(),
            "what is no envelope is no transaction"
        );
        return false;
    };
    let is_transaction = peer(&bytes);
    let is_seek = deliver(&envelope);
    orderer(&envelope);
    let is_signed = forged(&envelope, number(data));
    is_signed && (is_transaction || is_seek)
}

/// As a peer that validates a block.
fn peer(bytes: &Bytes) -> bool {
    let id = transaction::index_id(bytes);
    let Ok(checked) = transaction::check_syntax(bytes) else {
        return false;
    };
    assert_eq!(checked.parsed.tx_id_or_computed(), id, "one id");
    assert_eq!(checked.parsed.channel_header.epoch, 0);
    decoded::<protos::Transaction>(&checked.parsed.data);
    if checked.kind != Kind::Endorser {
        return true;
    }
    let Ok(endorsed) = transaction::check_endorser_transaction(&checked) else {
        return false;
    };
    assert_eq!(checked.parsed.channel_header.tx_id, id, "its own id");
    let Ok(parsed) = endorsed.dispatch() else {
        return false;
    };
    namespaces(&parsed);
    assert_eq!(parsed.tx_id(), id);
    assert_eq!(parsed.endorsement_set().len(), parsed.endorsements.len());
    true
}

fn namespaces(parsed: &ParsedTransaction) {
    let mut names = parsed.namespaces_to_validate();
    assert_eq!(names[0], parsed.chaincode_name, "its own comes first");
    names.sort_unstable();
    assert!(
        names.windows(2).all(|pair| pair[0] != pair[1]),
        "no namespace is validated twice"
    );
}

/// As an orderer that was sent it.
fn orderer(envelope: &Envelope) {
    let Ok(parsed) = filters::read(envelope) else {
        return;
    };
    let rules = Rules {
        check_expiration: true,
        now: world::NOW,
    };
    let config = world::config();
    if filters::route(&parsed).is_ok() && filters::check_normal(config, &parsed, &rules).is_ok() {
        let limit = config.batch_size().absolute_max_bytes as usize;
        assert!(filters::size(&parsed) <= limit, "it fits into a block");
    }
}

/// As a node that is asked for blocks.
fn deliver(envelope: &Envelope) -> bool {
    let Ok(parsed) = envelope::parse(envelope) else {
        return false;
    };
    let now = parsed.channel_header.timestamp.unwrap_or_default();
    let now =
        UNIX_EPOCH + Duration::from_secs(u64::try_from(now.seconds).unwrap_or(0).min(1 << 40));
    let window = Duration::from_secs(900);
    let request = consilium_deliver::open(envelope, &TlsBinding::default(), window, now);
    let Ok(mut request) = request else {
        return false;
    };
    if request.parse_seek().is_err() {
        return false;
    }
    let extent = Extent {
        first: 3,
        height: 9,
    };
    let span = resolve(&request.seek, extent);
    if let Ok(span) = span {
        assert!(span.start >= extent.first, "nothing before the first block");
    }
    span.is_ok()
}

/// A signature holds for what was signed, and for nothing else. Whether it does.
fn forged(envelope: &Envelope, bit: usize) -> bool {
    let Ok(parsed) = envelope::parse(envelope) else {
        return false;
    };
    let signed = parsed.signed_data();
    let Ok(identity) = world::config().msps().deserialize(&signed.identity) else {
        return false;
    };
    let holds = identity.verify(&signed.data, &signed.signature).is_ok();
    if holds {
        let other = with_other_bit(&signed.data, bit);
        assert!(
            identity.verify(&other, &signed.signature).is_err(),
            "a signature holds for other bytes"
        );
    }
    holds
}
