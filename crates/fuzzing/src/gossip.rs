//! Gossip between peers: messages, the handshake and the table of members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_gossip::membership::{Heard, Membership};
use consilium_gossip::{handshake, wire};
use consilium_proto::gossip::gossip_message::Content;
use consilium_proto::gossip::{Envelope, GossipMessage};

use crate::agree::decoded;
use crate::world;

pub(crate) fn run(data: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(data);
    if let Some(id) = wire::pki_id(&bytes) {
        assert_eq!(id.len(), 32, "a PKI-ID is a hash");
    }
    let Some(envelope) = decoded::<Envelope>(&bytes) else {
        return false;
    };
    let message = decoded::<GossipMessage>(&envelope.payload);
    let opened = wire::open(&envelope);
    if let Ok(opened) = &opened {
        assert_eq!(message.as_ref(), Some(opened), "it is read as it was sent");
        assert!(wire::open(&wire::unsigned(opened)).is_ok(), "it is sent on");
    }
    stranger(&envelope);
    let content = opened.ok().and_then(|message| message.content);
    if let Some(content) = &content {
        members(&envelope, content);
    }
    content.is_some()
}

/// Nobody is let in who does not hold the key of a certificate that the channel knows; the keys of
/// the recorded ones are in no input.
fn stranger(envelope: &Envelope) {
    let msps = world::config().msps();
    let judge = |serialized: &Bytes| {
        let identity = msps.deserialize(serialized).map_err(|e| e.to_string())?;
        msps.validate(&identity).map_err(|e| e.to_string())?;
        Ok(identity)
    };
    let met = handshake::check(envelope, Some([7; 32]), b"own", judge);
    assert!(met.is_err(), "a stranger is let in");
}

/// As for a peer whose messages are verified.
fn members(envelope: &Envelope, content: &Content) {
    let msp = world::config().msps().msps().next();
    let Some(msp) = msp else {
        return;
    };
    let Some(authority) = msp.authorities().next() else {
        return;
    };
    let Ok(identity) = msp.identity_of(authority.pem().as_bytes()) else {
        return;
    };
    let now = Instant::now();
    let mut members = Membership::new(msp.id(), Duration::from_secs(25));
    match content {
        Content::AliveMsg(alive) => {
            let heard = members.alive(envelope, alive, Arc::new(identity), now);
            let count = members.living(now).len();
            assert_eq!(
                count,
                usize::from(heard == Heard::News),
                "who is news is there"
            );
            let shown = members.disclosed_to("a stranger's", "", now);
            assert!(
                shown.is_empty(),
                "strangers without an endpoint hear nothing"
            );
            members.forget(now);
        }
        Content::StateInfo(info) => {
            let told = members.told(world::CHANNEL, envelope, info);
            assert_ne!(told, Heard::News, "of someone who was never heard of");
        }
        _ => {}
    }
}
