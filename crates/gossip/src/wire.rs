//! Messages as they travel: a `GossipMessage` in an `Envelope`, signed or not. Pure.
//! fabric: gossip/protoext

use bytes::Bytes;
use consilium_msp::{Identity, SignError, Signer};
use consilium_proto::gossip::{
    Envelope, GossipMessage, PullMsgType, Secret, SecretEnvelope, gossip_message::Content,
    gossip_message::Tag, secret,
};
use consilium_proto::msp::SerializedIdentity;
use consilium_protocol::hash::{sha256, sha256_parts};
use prost::Message;

/// Why a message is not read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is not a gossip message.
    #[error("failed unmarshalling GossipMessage from envelope: {0}")]
    Malformed(String),
    /// It is for another audience than messages of its kind are.
    #[error("a message of this kind does not carry tag {0}")]
    Tag(i32),
    /// Nothing in it.
    #[error("unknown message type")]
    Unknown,
    /// Its signature is not the one of whom it names.
    #[error("signature: {0}")]
    Signature(String),
}

/// A message of a given tag; nonce and channel are the caller's.
pub fn message(tag: Tag, channel: &str, nonce: u64, content: Content) -> GossipMessage {
    GossipMessage {
        nonce,
        channel: Bytes::copy_from_slice(channel.as_bytes()),
        tag: tag as i32,
        content: Some(content),
    }
}

/// An envelope without signature: its connection vouches for it.
pub fn unsigned(message: &GossipMessage) -> Envelope {
    Envelope {
        payload: message.encode_to_vec().into(),
        signature: Bytes::new(),
        secret_envelope: None,
    }
}

/// A signed envelope.
///
/// # Errors
/// The signer's.
pub fn signed(message: &GossipMessage, signer: &dyn Signer) -> Result<Envelope, SignError> {
    let payload = Bytes::from(message.encode_to_vec());
    let signature = signer.sign(&payload)?;
    Ok(Envelope {
        payload,
        signature,
        secret_envelope: None,
    })
}

/// The internal endpoint, for the own organization only.
///
/// # Errors
/// The signer's.
pub fn secret_endpoint(endpoint: &str, signer: &dyn Signer) -> Result<SecretEnvelope, SignError> {
    let secret = Secret {
        content: Some(secret::Content::InternalEndpoint(endpoint.to_owned())),
    };
    let payload = Bytes::from(secret.encode_to_vec());
    let signature = signer.sign(&payload)?;
    Ok(SecretEnvelope { payload, signature })
}

/// The internal endpoint in an envelope, if the member signed it.
pub fn internal_endpoint(envelope: &Envelope, identity: &Identity) -> Option<String> {
    let secret = envelope.secret_envelope.as_ref()?;
    identity.verify(&secret.payload, &secret.signature).ok()?;
    let secret::Content::InternalEndpoint(endpoint) =
        Secret::decode(secret.payload.clone()).ok()?.content?;
    Some(endpoint)
}

/// Reads a message and checks that its tag is that of its kind.
///
/// # Errors
/// [`WireError`] except for the signature, which [`verify`] checks.
pub fn open(envelope: &Envelope) -> Result<GossipMessage, WireError> {
    let message = GossipMessage::decode(envelope.payload.clone())
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    let content = message.content.as_ref().ok_or(WireError::Unknown)?;
    match expected_tag(content) {
        Some(tag) if tag as i32 != message.tag => Err(WireError::Tag(message.tag)),
        _ => Ok(message),
    }
}

/// The tag of messages of a kind; `None` where Fabric does not look at it.
fn expected_tag(content: &Content) -> Option<Tag> {
    let pull = |kind: i32| match PullMsgType::try_from(kind) {
        Ok(PullMsgType::BlockMsg) => Tag::ChanAndOrg,
        _ => Tag::Empty,
    };
    Some(match content {
        Content::AliveMsg(_) | Content::MemReq(_) | Content::MemRes(_) => Tag::Empty,
        Content::DataMsg(_) | Content::LeadershipMsg(_) => Tag::ChanAndOrg,
        Content::PeerIdentity(_) => Tag::OrgOnly,
        Content::Hello(hello) => pull(hello.msg_type),
        Content::DataDig(digest) => pull(digest.msg_type),
        Content::DataReq(request) => pull(request.msg_type),
        Content::DataUpdate(update) => pull(update.msg_type),
        Content::StateInfo(_)
        | Content::StateSnapshot(_)
        | Content::StateInfoPullReq(_)
        | Content::StateRequest(_)
        | Content::StateResponse(_) => Tag::ChanOrOrg,
        Content::PrivateReq(_) | Content::PrivateRes(_) | Content::PrivateData(_) => Tag::ChanOnly,
        Content::Empty(_) | Content::Conn(_) | Content::Ack(_) => return None,
    })
}

/// Checks the signature of an envelope.
///
/// # Errors
/// [`WireError::Signature`].
pub fn verify(envelope: &Envelope, identity: &Identity) -> Result<(), WireError> {
    identity
        .verify(&envelope.payload, &envelope.signature)
        .map_err(|error| WireError::Signature(error.to_string()))
}

/// The short name of an identity: SHA-256 over MSP id and certificate as they stand in it. `None`
/// when the bytes are no identity.
pub fn pki_id(identity: &Bytes) -> Option<Bytes> {
    let identity = SerializedIdentity::decode(identity.clone()).ok()?;
    let hash = sha256_parts(&[identity.mspid.as_bytes(), &identity.id_bytes]);
    Some(Bytes::copy_from_slice(&hash))
}

/// What stands for a channel in messages that others than its members may see.
pub fn channel_mac(pki_id: &[u8], channel: &str) -> Bytes {
    Bytes::copy_from_slice(&sha256(&[pki_id, channel.as_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::gossip::{Acknowledgement, GossipHello, MembershipRequest};
    use proptest::prelude::*;

    #[test]
    fn messages_with_the_wrong_tag_are_refused() {
        let request = || Content::MemReq(MembershipRequest::default());
        let hello = |kind: PullMsgType| {
            Content::Hello(GossipHello {
                msg_type: kind as i32,
                ..Default::default()
            })
        };
        for (tag, content, good) in [
            (Tag::Empty, request(), true),
            (Tag::ChanOnly, request(), false),
            (Tag::ChanOnly, Content::PrivateReq(Default::default()), true),
            (Tag::Empty, Content::PrivateReq(Default::default()), false),
            (Tag::ChanOrOrg, Content::StateInfo(Default::default()), true),
            (Tag::ChanOnly, Content::StateInfo(Default::default()), false),
            (Tag::Empty, hello(PullMsgType::IdentityMsg), true),
            (Tag::ChanAndOrg, hello(PullMsgType::BlockMsg), true),
            (Tag::Empty, hello(PullMsgType::BlockMsg), false),
            (
                Tag::Undefined,
                Content::Ack(Acknowledgement::default()),
                true,
            ),
        ] {
            let message = message(tag, "c", 1, content);
            assert_eq!(open(&unsigned(&message)).is_ok(), good, "{message:?}");
        }
        assert_eq!(open(&Envelope::default()), Err(WireError::Unknown));
    }

    #[test]
    fn a_pki_id_hashes_msp_id_and_certificate() {
        let identity = SerializedIdentity {
            mspid: "Org1MSP".into(),
            id_bytes: Bytes::from_static(b"certificate"),
        };
        let expected = sha256(b"Org1MSPcertificate");
        assert_eq!(
            pki_id(&identity.encode_to_vec().into()).unwrap(),
            expected[..]
        );
        assert_eq!(pki_id(&Bytes::from_static(b"\xff")), None);
        assert_eq!(channel_mac(b"id", "channel"), sha256(b"idchannel")[..]);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(&Envelope { payload: payload.into(), ..Default::default() });
        }
    }
}
