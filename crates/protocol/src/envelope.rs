//! Signed envelopes: the outermost form of transactions, configuration updates and seek requests.
//!
//! `Envelope{payload, signature}`; the signature covers `payload`, which holds the two headers and
//! the data (hashing-and-signing, section 5).

use bytes::Bytes;
use consilium_msp::{SignError, SignedData, Signer};
use consilium_proto::{common, orderer};
use prost::Message;
use prost_types::Timestamp;
use rand::RngCore;
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Why bytes are not the message they should be. Texts are those of Fabric's nodes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Not protobuf, or not this message.
    #[error("error unmarshalling {message}: {source}")]
    Unmarshal {
        /// Name of the expected message.
        message: &'static str,
        /// What the decoder met.
        source: prost::DecodeError,
    },
    /// A payload without header.
    #[error("header not set")]
    NoHeader,
    /// A header without channel header.
    #[error("channel header not set")]
    NoChannelHeader,
    /// The header extension of a proposal names no chaincode.
    #[error("ChaincodeHeaderExtension.ChaincodeId is nil")]
    NoChaincodeId,
    /// The header extension of a proposal has an empty chaincode name.
    #[error("ChaincodeHeaderExtension.ChaincodeId.Name is empty")]
    EmptyChaincodeName,
    /// An invocation without chaincode spec.
    #[error("chaincode invocation spec did not contain chaincode spec")]
    NoChaincodeSpec,
    /// An invocation without input.
    #[error("chaincode input did not contain any input")]
    NoChaincodeInput,
    /// A header of another type than the place asks for.
    #[error("invalid header type {0}")]
    HeaderType(String),
    /// An envelope of another type than the place asks for.
    #[error("invalid type {found}, expected {expected}")]
    EnvelopeType {
        /// Name (or number) of the type found.
        found: String,
        /// Name of the type expected.
        expected: &'static str,
    },
    /// The epoch, which is always 0, is not.
    #[error("epoch is non-zero")]
    Epoch,
    /// A signature header without nonce.
    #[error("nonce is empty")]
    EmptyNonce,
    /// A signature header without creator.
    #[error("creator is empty")]
    EmptyCreator,
    /// A transaction id that does not belong to nonce and creator.
    #[error("incorrectly computed txid '{got}' -- expected '{want}'")]
    TransactionId {
        /// The id in the channel header.
        got: String,
        /// The id computed from nonce and creator.
        want: String,
    },
    /// A signed proposal without proposal.
    #[error("empty proposal bytes")]
    EmptyProposal,
    /// A signed proposal without signature.
    #[error("empty signature bytes")]
    EmptySignature,
}

/// Decodes `bytes` as `M`, naming the message in the error. Byte fields of the result are slices of
/// `bytes`. As Go does, a field of an unexpected wire type is passed over ([`consilium_proto::decode`]).
pub fn decode<M: Message + Default>(message: &'static str, bytes: &Bytes) -> Result<M, ParseError> {
    consilium_proto::decode(bytes).map_err(|source| ParseError::Unmarshal { message, source })
}

/// What the headers of a new envelope say. Epoch is always 0.
#[derive(Debug, Clone)]
pub struct HeaderSpec<'a> {
    /// Kind of the data.
    pub kind: common::HeaderType,
    /// Channel name, possibly empty.
    pub channel: &'a str,
    /// Transaction id; empty except for endorser transactions.
    pub tx_id: String,
    /// Header extension, by kind.
    pub extension: Bytes,
    /// Time of creation.
    pub timestamp: Timestamp,
    /// SHA-256 of the client's leaf TLS certificate (DER), or empty.
    pub tls_cert_hash: Bytes,
    /// Version of the message, 0 nearly everywhere.
    pub version: i32,
}

impl<'a> HeaderSpec<'a> {
    /// The plain form: no transaction id, extension or TLS binding, version 0.
    pub fn new(kind: common::HeaderType, channel: &'a str, timestamp: Timestamp) -> Self {
        Self {
            kind,
            channel,
            tx_id: String::new(),
            extension: Bytes::new(),
            timestamp,
            tls_cert_hash: Bytes::new(),
            version: 0,
        }
    }

    pub(crate) fn channel_header(self) -> common::ChannelHeader {
        common::ChannelHeader {
            r#type: self.kind as i32,
            version: self.version,
            timestamp: Some(self.timestamp),
            channel_id: self.channel.to_owned(),
            tx_id: self.tx_id,
            epoch: 0,
            extension: self.extension,
            tls_cert_hash: self.tls_cert_hash,
        }
    }
}

/// 24 random bytes, the usual nonce.
pub fn nonce() -> Bytes {
    let mut nonce = [0; 24];
    rand::rng().fill_bytes(&mut nonce);
    Bytes::copy_from_slice(&nonce)
}

/// A signature header by `signer` with a fresh nonce.
pub fn signature_header(signer: &dyn Signer) -> common::SignatureHeader {
    common::SignatureHeader {
        creator: signer.serialized().clone(),
        nonce: nonce(),
    }
}

/// Builds an envelope around `data` and signs its payload, with a fresh 24-byte nonce.
pub fn create_signed(
    spec: HeaderSpec<'_>,
    data: Bytes,
    signer: &dyn Signer,
) -> Result<common::Envelope, SignError> {
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: spec.channel_header().encode_to_vec().into(),
            signature_header: signature_header(signer).encode_to_vec().into(),
        }),
        data,
    };
    let payload = Bytes::from(payload.encode_to_vec());
    let signature = signer.sign(&payload)?;
    Ok(common::Envelope { payload, signature })
}

/// A signed seek request for a deliver service.
pub fn seek(
    channel: &str,
    seek: orderer::SeekInfo,
    signer: &dyn Signer,
    timestamp: Timestamp,
    tls_cert_hash: Bytes,
) -> Result<common::Envelope, SignError> {
    let mut spec = HeaderSpec::new(common::HeaderType::DeliverSeekInfo, channel, timestamp);
    spec.tls_cert_hash = tls_cert_hash;
    create_signed(spec, seek.encode_to_vec().into(), signer)
}

/// The protobuf form of a point in time (times before 1970 become 1970).
pub fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos() as i32, // below 10^9
    }
}

/// An envelope taken apart once. All byte fields are slices of the received buffer.
#[derive(Debug, Clone)]
pub struct ParsedEnvelope {
    /// What is signed.
    pub payload: Bytes,
    /// The creator's signature over `payload`.
    pub signature: Bytes,
    /// Channel header as received (hashes cover it).
    pub channel_header_bytes: Bytes,
    /// Signature header as received (hashes cover it).
    pub signature_header_bytes: Bytes,
    /// Channel header.
    pub channel_header: common::ChannelHeader,
    /// Creator and nonce.
    pub signature_header: common::SignatureHeader,
    /// The content, by header type.
    pub data: Bytes,
}

impl ParsedEnvelope {
    /// Payload, creator and signature, for policy evaluation.
    pub fn signed_data(&self) -> SignedData {
        SignedData {
            data: self.payload.clone(),
            identity: self.signature_header.creator.clone(),
            signature: self.signature.clone(),
        }
    }

    /// Channel name of the header.
    pub fn channel(&self) -> &str {
        &self.channel_header.channel_id
    }

    /// Header type, if it is a known one.
    pub fn kind(&self) -> Option<common::HeaderType> {
        common::HeaderType::try_from(self.channel_header.r#type).ok()
    }

    /// The id that ledgers index this transaction by: the header's, or if that is empty the one
    /// computed from nonce and creator (fabric: protoutil GetOrComputeTxIDFromEnvelope).
    pub fn tx_id_or_computed(&self) -> String {
        if self.channel_header.tx_id.is_empty() {
            crate::proposal::transaction_id(
                &self.signature_header.nonce,
                &self.signature_header.creator,
            )
        } else {
            self.channel_header.tx_id.clone()
        }
    }
}

/// Takes an envelope apart: payload, header, both headers. Whether a signature is there or good is
/// not looked at.
pub fn parse(envelope: &common::Envelope) -> Result<ParsedEnvelope, ParseError> {
    let payload: common::Payload = decode("Payload", &envelope.payload)?;
    let header = payload.header.ok_or(ParseError::NoHeader)?;
    if header.channel_header.is_empty() {
        return Err(ParseError::NoChannelHeader);
    }
    Ok(ParsedEnvelope {
        payload: envelope.payload.clone(),
        signature: envelope.signature.clone(),
        channel_header: decode("ChannelHeader", &header.channel_header)?,
        signature_header: decode("SignatureHeader", &header.signature_header)?,
        channel_header_bytes: header.channel_header,
        signature_header_bytes: header.signature_header,
        data: payload.data,
    })
}

/// [`parse`] from encoded bytes.
pub fn parse_bytes(envelope: &Bytes) -> Result<ParsedEnvelope, ParseError> {
    parse(&decode("Envelope", envelope)?)
}

/// Name of a header type as Fabric prints it; unknown ones as numbers.
pub fn header_type_name(kind: i32) -> String {
    common::HeaderType::try_from(kind)
        .map_or_else(|_| kind.to_string(), |kind| kind.as_str_name().to_owned())
}
