//! What a message must satisfy before it is ordered. Pure: functions of the message, the channel
//! configuration and the time.
//!
//! There is no check of transaction ids, endorsements, timestamps or duplicates: garbage ends up
//! in blocks and is flagged by peers, as with Fabric.
//!
//! fabric: orderer/common/broadcast/broadcast.go, orderer/common/multichannel/registrar.go,
//! orderer/common/msgprocessor

use consilium_msp::Certificate;
use consilium_proto::common::{self, HeaderType};
use consilium_proto::msp::SerializedIdentity;
use consilium_proto::orderer::consensus_type;
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::envelope::{self, ParseError, ParsedEnvelope};

use crate::refusal::Refusal;

/// The header type by which channels were once made; named only to be refused.
const ORDERER_TRANSACTION: i32 = 4;

/// How a message is to be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Ordered with others, as it is.
    Normal,
    /// Turned into a config message that stands alone.
    ConfigUpdate,
}

/// Reads a message's headers: which channel it is for.
pub fn read(message: &common::Envelope) -> Result<ParsedEnvelope, Refusal> {
    envelope::parse(message).map_err(|error| {
        let reason = match &error {
            ParseError::Unmarshal {
                message: "ChannelHeader",
                ..
            } => format!("error unmarshalling channel header: {error}"),
            _ => error.to_string(),
        };
        Refusal::bad_request(reason).within("could not determine channel ID")
    })
}

/// How a message of a channel that is there is processed.
pub fn route(message: &ParsedEnvelope) -> Result<Route, Refusal> {
    let kind = message.channel_header.r#type;
    if kind == HeaderType::Config as i32 {
        Err(Refusal::bad_request(
            "message is of type that cannot be processed directly",
        ))
    } else if kind == ORDERER_TRANSACTION {
        Err(Refusal::bad_request(
            "message is of type that is no longer supported",
        ))
    } else if kind == HeaderType::ConfigUpdate as i32 {
        Ok(Route::ConfigUpdate)
    } else {
        Ok(Route::Normal)
    }
}

/// The policy for reading the channel from an orderer.
pub fn readers_policy(config: &ChannelConfig) -> String {
    if config.in_maintenance() {
        "/Channel/Orderer/Readers".into()
    } else {
        "/Channel/Readers".into()
    }
}

/// Everything that a normal message must pass.
pub fn check_normal(
    config: &ChannelConfig,
    message: &ParsedEnvelope,
    rules: &Rules,
) -> Result<(), Refusal> {
    let normal = consensus_type::State::Normal as i32;
    if config.orderer_at_least("V1_4_2") && config.consensus().state != normal {
        return Err(Refusal::unavailable(
            "normal transactions are rejected: maintenance mode",
        ));
    }
    check(config, message, rules)
}

/// The parts of the rules that are not in the channel configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether messages of expired identities are refused.
    pub check_expiration: bool,
    /// The time, in seconds since 1970.
    pub now: i64,
}

/// The filters that normal messages and config updates share, in Fabric's order.
pub fn check(
    config: &ChannelConfig,
    message: &ParsedEnvelope,
    rules: &Rules,
) -> Result<(), Refusal> {
    if message.payload.is_empty() {
        return Err(Refusal::bad_request("Message was empty"));
    }
    let size = size(message);
    let limit = config.batch_size().absolute_max_bytes;
    if size > limit as usize {
        return Err(Refusal::bad_request(format!(
            "message payload is {size} bytes and exceeds maximum allowed {limit} bytes"
        )));
    }
    if rules.check_expiration && config.orderer_at_least("V1_1") {
        check_expiration(message, rules.now)?;
    }
    let writers = if config.in_maintenance() {
        "/Channel/Orderer/Writers"
    } else {
        "/Channel/Writers"
    };
    config
        .policies()
        .policy(writers)
        .evaluate(&[message.signed_data()])
        .map_err(|error| Refusal::forbidden(format!("{error}: permission denied")))
}

/// The size that limits are about: payload plus signature, in bytes.
pub fn size(message: &ParsedEnvelope) -> usize {
    message.payload.len() + message.signature.len()
}

/// An identity that cannot be read does not count as expired here; it fails the policy.
fn check_expiration(message: &ParsedEnvelope, now: i64) -> Result<(), Refusal> {
    let creator = &message.signature_header.creator;
    let Ok(identity) = consilium_proto::decode::<SerializedIdentity>(creator) else {
        return Ok(());
    };
    match Certificate::from_pem(&identity.id_bytes) {
        Ok(certificate) if certificate.not_after() < now => {
            Err(Refusal::bad_request("broadcast client identity expired"))
        }
        _ => Ok(()),
    }
}
