//! What a proposal must be before a chaincode sees it, as functions of the proposal, the
//! configuration and the time.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use consilium_msp::{Identity, Msp};
use consilium_proto::{common, decode, protos};
use consilium_protocol::{
    ParseError,
    config::ChannelConfig,
    proposal::{self, ParsedProposal},
};

use super::EndorseError;
use crate::acl;

/// The error for a proposal that does not parse. Which text it gets depends on how far the filters
/// in front of the endorser come.
pub(super) fn malformed(signed: &protos::SignedProposal, error: &ParseError) -> EndorseError {
    let prefix = match error {
        ParseError::Unmarshal { message, .. } => match *message {
            "Proposal" => "failed parsing proposal",
            "Header" => "failed parsing header",
            "ChannelHeader" => "failed parsing channel header",
            "SignatureHeader" => "failed parsing signature header",
            _ => return EndorseError::refused(error.to_string()),
        },
        _ => return EndorseError::refused(error.to_string()),
    };
    // The expiry filter reads the signature header before anything reads the channel header.
    let signature_header = decode::<protos::Proposal>(&signed.proposal_bytes)
        .and_then(|proposal| decode::<common::Header>(&proposal.header))
        .map(|header| decode::<common::SignatureHeader>(&header.signature_header));
    match signature_header {
        Ok(Err(unreadable)) => EndorseError::filtered(format!(
            "failed parsing signature header: error unmarshalling SignatureHeader: {unreadable}"
        )),
        _ => EndorseError::filtered(format!("{prefix}: {error}")),
    }
}

/// The timestamp must be near our time, either way.
pub(super) fn time_window(
    proposal: &ParsedProposal,
    now: SystemTime,
    window: Duration,
) -> Result<(), EndorseError> {
    let timestamp = proposal.channel_header.timestamp.unwrap_or_default();
    let now = i128::try_from(
        now.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos(),
    )
    .unwrap_or(i128::MAX);
    let then = i128::from(timestamp.seconds) * 1_000_000_000 + i128::from(timestamp.nanos);
    if (now - then).unsigned_abs() <= window.as_nanos() {
        return Ok(());
    }
    let peer_time = prost_types::Timestamp {
        seconds: i64::try_from(now / 1_000_000_000).unwrap_or(i64::MAX),
        nanos: 0,
    };
    Err(EndorseError::filtered(format!(
        "request unauthorized due to incorrect timestamp {}, peer time {}, peer.authentication.timewindow {}",
        rfc3339(&timestamp),
        rfc3339(&peer_time),
        go_duration(window)
    )))
}

/// The creator's certificate must not have expired. One that cannot be read does not count as
/// expired here; it is refused later.
pub(super) fn expiry(creator: &Bytes, now: SystemTime) -> Result<(), EndorseError> {
    refuse_expired(acl::not_after(creator), now)
}

fn refuse_expired(not_after: Option<i64>, now: SystemTime) -> Result<(), EndorseError> {
    if acl::is_expired(not_after, now) {
        return Err(EndorseError::filtered("proposal client identity expired"));
    }
    Ok(())
}

/// Expiry, headers, then creator and signature: against the channel's MSPs, or without a channel
/// against the peer's own.
pub(super) fn creator_and_signature(
    proposal: &ParsedProposal,
    config: Option<&ChannelConfig>,
    local_msp: &Msp,
    now: SystemTime,
) -> Result<(), EndorseError> {
    let creator = &proposal.signature_header.creator;
    let identity: Option<Arc<Identity>> = match config {
        Some(config) => config.msps().deserialize(creator).ok(),
        None => local_msp.deserialize(creator).ok().map(Arc::new),
    };
    match &identity {
        Some(identity) => refuse_expired(Some(identity.certificate().not_after()), now)?,
        None => expiry(creator, now)?,
    }
    let invalid = |reason: &dyn std::fmt::Display| {
        EndorseError::refused(format!("error validating proposal: {reason}"))
    };
    proposal::check_headers(proposal).map_err(|error| invalid(&error))?;
    let channel = proposal.channel();
    let Some(identity) = identity else {
        return Err(invalid(&format!(
            "access denied: channel [{channel}] creator org unknown, creator is malformed"
        )));
    };
    let is_valid = match config {
        Some(config) => config.msps().validate(&identity).is_ok(),
        None => local_msp.validate(&identity).is_ok(),
    };
    // Nothing more is revealed to a stranger.
    if !is_valid
        || identity
            .verify(&proposal.proposal_bytes, &proposal.signature)
            .is_err()
    {
        return Err(invalid(&format!(
            "access denied: channel [{channel}] creator org [{}]",
            identity.msp_id()
        )));
    }
    Ok(())
}

/// `2006-01-02T15:04:05Z` of a protobuf timestamp.
fn rfc3339(timestamp: &prost_types::Timestamp) -> String {
    let mut seconds_only = *timestamp;
    seconds_only.nanos = 0;
    seconds_only.to_string()
}

/// A duration as Go prints it: `15m0s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_prints_them() {
        for (seconds, expected) in [(900, "15m0s"), (5, "5s"), (3661, "1h1m1s"), (0, "0s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_certificate_is_expired_from_the_second_after_its_last() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        for (not_after, expired) in [
            (None, false),
            (Some(1001), false),
            (Some(1000), false),
            (Some(999), true),
        ] {
            assert_eq!(
                refuse_expired(not_after, now).is_err(),
                expired,
                "{not_after:?}"
            );
        }
    }
}
