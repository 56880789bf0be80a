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
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// The largest first message, and the largest message about a member that is kept.
pub const SMALL: usize = 64 * 1024;
/// The largest message that brings neither private write sets nor blocks. What is decoded takes many
/// times the room of what came: an empty message in a list takes two bytes on the wire.
pub const ORDINARY: usize = 1024 * 1024;
/// Elements, and write sets in them, of an answer with private data; blocks of an answer with such.
const PARTS: usize = 64 * 1024;
/// The longest name of a channel (fabric: common/configtx/validator.go).
pub const CHANNEL_NAME: usize = 249;

/// Why a message is not read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is not a gossip message.
    #[error("failed unmarshalling GossipMessage from envelope: {0}")]
    Malformed(String),
    /// It is for another audience than messages of its kind are.
    #[error("a message of this kind does not carry tag {0}")]
    Tag(i32),
    /// Larger than messages of its kind are.
    #[error("a message of {0} bytes is too large for its kind")]
    TooLarge(usize),
    /// A large answer that nobody waits for.
    #[error("an answer of {0} bytes that was not asked for")]
    Unasked(usize),
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

/// A message larger than [`ORDINARY`], before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Large<'a> {
    /// Private write sets or blocks that were asked for with this nonce.
    Answer {
        /// The message's.
        nonce: u64,
    },
    /// Blocks of a channel, pulled with this nonce.
    Pulled {
        /// Channel id.
        channel: &'a [u8],
        /// That of the round.
        nonce: u64,
    },
    /// A block of a channel, pushed.
    Block {
        /// Channel id.
        channel: &'a [u8],
        /// What the sender calls the block's number.
        number: u64,
    },
}

/// Reads a message of at most [`ORDINARY`] bytes, or one that pushes private data, and checks that
/// its tag is that of its kind.
///
/// # Errors
/// [`WireError`] except for the signature, which [`verify`] checks.
pub fn open(envelope: &Envelope) -> Result<GossipMessage, WireError> {
    open_awaited(envelope, |_| false)
}

/// The same for a stream: other large messages are read as well if `is_awaited` says that they are of
/// use.
///
/// # Errors
/// As [`open`].
pub fn open_awaited(
    envelope: &Envelope,
    is_awaited: impl FnOnce(Large) -> bool,
) -> Result<GossipMessage, WireError> {
    if envelope.payload.len() > ORDINARY {
        check_large(&envelope.payload, is_awaited)?;
    }
    let message = GossipMessage::decode(envelope.payload.clone())
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    if message.channel.len() > CHANNEL_NAME {
        return Err(WireError::Malformed("channel name too long".to_owned()));
    }
    let content = message.content.as_ref().ok_or(WireError::Unknown)?;
    match expected_tag(content) {
        Some(tag) if tag as i32 != message.tag => Err(WireError::Tag(message.tag)),
        _ => Ok(message),
    }
}

/// A field of a message, looked at without decoding it.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its number in the message.
    pub tag: u32,
    /// Its value if it is a varint.
    pub number: u64,
    /// Its content if it has a length.
    pub bytes: &'a [u8],
}

/// The fields of a message, in order. Takes no memory, whatever is in it.
///
/// # Errors
/// [`WireError::Malformed`], and then nothing more.
pub fn fields(mut message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, WireError>> {
    let malformed = |error: prost::DecodeError| WireError::Malformed(error.to_string());
    let mut next = move || {
        let (tag, kind) = decode_key(&mut message).map_err(malformed)?;
        let (mut number, mut bytes) = (0, &[][..]);
        match kind {
            WireType::Varint => number = decode_varint(&mut message).map_err(malformed)?,
            WireType::LengthDelimited => {
                let length = decode_varint(&mut message).map_err(malformed)?;
                (bytes, message) = usize::try_from(length)
                    .ok()
                    .and_then(|length| message.split_at_checked(length))
                    .ok_or_else(|| WireError::Malformed("a field is cut off".to_owned()))?;
            }
            _ => {
                skip_field(kind, tag, &mut message, DecodeContext::default()).map_err(malformed)?
            }
        }
        let field = Field { tag, number, bytes };
        Ok((field, message.is_empty()))
    };
    let mut is_over = message.is_empty();
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let field = next();
        is_over = !matches!(field, Ok((_, false)));
        Some(field.map(|(field, _)| field))
    })
}

/// Tags of `GossipMessage`, and of what is in its large kinds.
mod tags {
    pub(super) const NONCE: u32 = 1;
    pub(super) const CHANNEL: u32 = 2;
    pub(super) const FIRST_CONTENT: u32 = 5;
    pub(super) const DATA_MSG: u32 = 8;
    pub(super) const DATA_UPDATE: u32 = 12;
    pub(super) const STATE_RESPONSE: u32 = 19;
    pub(super) const PRIVATE_RES: u32 = 24;
    pub(super) const PRIVATE_DATA: u32 = 25;
    /// `PrivateDataMessage.payload`, `RemotePvtDataResponse.elements`, `RemoteStateResponse.payloads`,
    /// `DataMessage.payload`.
    pub(super) const INNER: u32 = 1;
    /// `PrivatePayload.private_rwset`.
    pub(super) const WRITE_SET: u32 = 4;
    /// `PvtDataElement.payload`, `DataUpdate.data`.
    pub(super) const PAYLOAD: u32 = 2;
    /// `Payload.seq_num`, `DataUpdate.nonce`.
    pub(super) const NUMBER: u32 = 1;
    /// `Payload.data`.
    pub(super) const DATA: u32 = 2;
}

/// Whether a large message is one whose size lies in private write sets or blocks, which stay as they
/// came.
fn check_large(payload: &[u8], is_awaited: impl FnOnce(Large) -> bool) -> Result<(), WireError> {
    let size = payload.len();
    let too_large = WireError::TooLarge(size);
    let (mut nonce, mut channel, mut content) = (0, &[][..], None);
    for field in fields(payload) {
        let field = field?;
        match field.tag {
            tags::NONCE => nonce = field.number,
            tags::CHANNEL => channel = field.bytes,
            tags::DATA_MSG
            | tags::DATA_UPDATE
            | tags::STATE_RESPONSE
            | tags::PRIVATE_RES
            | tags::PRIVATE_DATA
                if content.is_none() =>
            {
                content = Some(field);
            }
            tags::FIRST_CONTENT..=tags::PRIVATE_DATA => return Err(too_large),
            _ => {}
        }
    }
    let content = content.ok_or(too_large.clone())?;
    let large = match content.tag {
        tags::PRIVATE_DATA => {
            let sets = size_of_parts(content.bytes, tags::WRITE_SET)?;
            return (size - sets <= ORDINARY).then_some(()).ok_or(too_large);
        }
        tags::DATA_MSG => {
            let (number, block) = last_block(content.bytes)?;
            if size - block.len() > ORDINARY {
                return Err(too_large);
            }
            Large::Block { channel, number }
        }
        tags::DATA_UPDATE => {
            let (mut nonce, mut parts) = (0, 0);
            for field in fields(content.bytes) {
                let field = field?;
                match field.tag {
                    tags::NUMBER => nonce = field.number,
                    _ => parts += 1,
                }
            }
            if parts > PARTS {
                return Err(too_large);
            }
            Large::Pulled { channel, nonce }
        }
        _ => {
            let mut parts = 0;
            for element in fields(content.bytes) {
                let element = element?;
                parts += 1;
                if element.tag == tags::INNER {
                    for field in fields(element.bytes) {
                        parts += usize::from(field?.tag >= tags::PAYLOAD);
                        if parts > PARTS {
                            return Err(too_large);
                        }
                    }
                }
                if parts > PARTS {
                    return Err(too_large);
                }
            }
            Large::Answer { nonce }
        }
    };
    if is_awaited(large) {
        Ok(())
    } else {
        Err(WireError::Unasked(size))
    }
}

/// Bytes in the fields `tag` of the inner messages of a message.
fn size_of_parts(message: &[u8], tag: u32) -> Result<usize, WireError> {
    let mut size = 0;
    for inner in fields(message) {
        let inner = inner?;
        if inner.tag == tags::INNER {
            for field in fields(inner.bytes) {
                let field = field?;
                if field.tag == tag {
                    size += field.bytes.len();
                }
            }
        }
    }
    Ok(size)
}

/// A pushed block and its number. The last ones count, as in decoding; others before them would stay in
/// memory as long as the block.
fn last_block(message: &[u8]) -> Result<(u64, &[u8]), WireError> {
    let (mut number, mut block) = (0, &[][..]);
    for inner in fields(message) {
        let inner = inner?;
        if inner.tag == tags::INNER {
            for field in fields(inner.bytes) {
                let field = field?;
                match field.tag {
                    tags::NUMBER => number = field.number,
                    tags::DATA => block = field.bytes,
                    _ => {}
                }
            }
        }
    }
    Ok((number, block))
}

/// The envelopes of an answer in several parts, none larger than others may be expected to read.
pub(crate) fn in_parts(envelopes: Vec<Envelope>) -> Vec<Vec<Envelope>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for envelope in envelopes {
        let size = envelope.encoded_len();
        if bytes + size > ORDINARY / 2 && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(envelope);
        }
    }
    parts
}

/// The same envelope in memory of its own: what stays must not hold the message that it came in.
pub(crate) fn copied(envelope: &Envelope) -> Envelope {
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    Envelope {
        payload: copy(&envelope.payload),
        signature: copy(&envelope.signature),
        secret_envelope: envelope
            .secret_envelope
            .as_ref()
            .map(|secret| SecretEnvelope {
                payload: copy(&secret.payload),
                signature: copy(&secret.signature),
            }),
    }
}

/// The beginning of a text that another peer may have made long.
pub(crate) fn brief(text: &str) -> &str {
    const LONGEST: usize = 512;
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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
    use consilium_proto::gossip::{
        Acknowledgement, DataMessage, DataUpdate, GossipHello, MembershipRequest,
        MembershipResponse, Payload, PrivateDataMessage, PrivatePayload, PvtDataElement,
        RemotePvtDataResponse, RemoteStateResponse,
    };
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

    /// What `content` is opened as, if the answer with nonce 7 is awaited.
    fn opened(nonce: u64, content: Content) -> Result<(), WireError> {
        let tag = expected_tag(&content).unwrap();
        let envelope = unsigned(&message(tag, "c", nonce, content));
        open_awaited(&envelope, |large| large == Large::Answer { nonce: 7 }).map(|_| ())
    }

    #[test]
    fn only_private_write_sets_make_a_message_large() {
        let large = Bytes::from(vec![7; ORDINARY + 1]);
        // Each takes two bytes.
        const MANY: usize = ORDINARY / 2 + 8;
        let many = || vec![Default::default(); MANY];
        let set = |private_rwset, configs| {
            Content::PrivateData(PrivateDataMessage {
                payload: Some(PrivatePayload {
                    private_rwset,
                    collection_configs: Some(consilium_proto::protos::CollectionConfigPackage {
                        config: configs,
                    }),
                    ..Default::default()
                }),
            })
        };
        let elements = |elements| Content::PrivateRes(RemotePvtDataResponse { elements });
        let element = |payload| PvtDataElement {
            digest: None,
            payload,
        };
        assert_eq!(opened(1, set(large.clone(), Vec::new())), Ok(()));
        let answer = || elements(vec![element(vec![large.clone()])]);
        assert_eq!(opened(7, answer()), Ok(()));
        assert!(matches!(opened(8, answer()), Err(WireError::Unasked(_))));
        // Lists of empty messages, which would take many times as much memory as they have bytes.
        for content in [
            Content::MemRes(MembershipResponse {
                alive: many(),
                dead: Vec::new(),
            }),
            set(Bytes::new(), vec![Default::default(); MANY]),
            set(large.clone(), vec![Default::default(); MANY]),
            elements(vec![element(Vec::new()); MANY]),
            elements(vec![element(vec![Bytes::new(); MANY])]),
        ] {
            assert!(matches!(opened(7, content), Err(WireError::TooLarge(_))));
        }
        // Hidden behind a good one: all of them would be decoded, the last one counts.
        let list = Content::MemRes(MembershipResponse {
            alive: many(),
            dead: Vec::new(),
        });
        let mut payload = message(Tag::ChanOnly, "c", 7, answer()).encode_to_vec();
        message(Tag::ChanOnly, "c", 7, list)
            .encode(&mut payload)
            .unwrap();
        let hidden = Envelope {
            payload: payload.into(),
            ..Default::default()
        };
        assert!(matches!(
            open_awaited(&hidden, |_| true),
            Err(WireError::TooLarge(_))
        ));
    }

    #[test]
    fn large_blocks_are_read_if_they_are_of_use() {
        let block = |seq_num, size, private| Payload {
            seq_num,
            data: vec![7; size].into(),
            private_data: vec![Bytes::new(); private],
        };
        let pushed = |payload| {
            Content::DataMsg(DataMessage {
                payload: Some(payload),
            })
        };
        let answer = |payloads| Content::StateResponse(RemoteStateResponse { payloads });
        let pulled = |count, size| {
            Content::DataUpdate(DataUpdate {
                nonce: 9,
                data: vec![
                    Envelope {
                        payload: vec![7; size].into(),
                        ..Default::default()
                    };
                    count
                ],
                msg_type: PullMsgType::BlockMsg as i32,
            })
        };
        const LARGE: usize = ORDINARY + 1;
        let channel = b"c";
        for (content, large) in [
            (
                pushed(block(5, LARGE, 0)),
                Some(Large::Block { channel, number: 5 }),
            ),
            (pushed(block(5, LARGE, LARGE)), None),
            (
                answer(vec![block(5, LARGE, 0); 2]),
                Some(Large::Answer { nonce: 7 }),
            ),
            (answer(vec![block(5, 0, LARGE)]), None),
            (answer(vec![block(5, 20, 0); PARTS]), None),
            (pulled(2, LARGE), Some(Large::Pulled { channel, nonce: 9 })),
            (pulled(LARGE / 2, 0), None),
        ] {
            let tag = expected_tag(&content).unwrap();
            let envelope = unsigned(&message(tag, "c", 7, content));
            let mut seen = None;
            let opened = open_awaited(&envelope, |asked| {
                seen = Some(asked == large.unwrap());
                true
            });
            assert_eq!(opened.is_ok(), large.is_some());
            assert_eq!(seen, large.map(|_| true), "{large:?}");
            assert!(open(&envelope).is_err(), "nobody asked for it");
        }
    }

    #[test]
    fn a_large_message_does_not_stay_for_a_small_block_in_it() {
        let pushed = |data: Vec<usize>| {
            let mut payload = Vec::new();
            for size in data {
                let data = vec![7; size].into();
                let block = Payload {
                    seq_num: 5,
                    data,
                    ..Default::default()
                };
                let content = DataMessage {
                    payload: Some(block),
                };
                content.encode(&mut payload).unwrap();
            }
            let mut message = message(Tag::ChanAndOrg, "c", 7, Content::Empty(Default::default()));
            message.content = None;
            let mut whole = message.encode_to_vec();
            prost::encoding::bytes::encode(tags::DATA_MSG, &payload, &mut whole);
            let envelope = Envelope {
                payload: whole.into(),
                ..Default::default()
            };
            open_awaited(&envelope, |_| true).map(|_| ())
        };
        const LARGE: usize = ORDINARY + 1;
        assert_eq!(pushed(vec![LARGE]), Ok(()));
        assert_eq!(pushed(vec![10, LARGE]), Ok(()));
        assert!(matches!(
            pushed(vec![LARGE, 10]),
            Err(WireError::TooLarge(_))
        ));
    }

    #[test]
    fn long_answers_come_in_parts_and_long_texts_are_cut() {
        let envelope = Envelope {
            payload: vec![0; ORDINARY / 5].into(),
            ..Default::default()
        };
        let sizes = |count| {
            let parts = in_parts(vec![envelope.clone(); count]);
            parts.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(0), [0]);
        assert_eq!(sizes(2), [2]);
        assert_eq!(sizes(5), [2, 2, 1]);
        assert_eq!(brief("short"), "short");
        let long = format!("x{}", "\u{e9}".repeat(1000));
        assert!(long.starts_with(brief(&long)) && brief(&long).len() == 511);
    }

    proptest! {
        #[test]
        fn large_garbage_is_refused_without_a_panic(start in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut payload = start;
            payload.resize(ORDINARY + 1, 0);
            let opened = open(&Envelope { payload: payload.into(), ..Default::default() });
            prop_assert!(opened.is_err());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(&Envelope { payload: payload.into(), ..Default::default() });
        }
    }
}
