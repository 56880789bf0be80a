//! Reading a seek envelope: everything that can be refused before a channel is looked up.
//!
//! fabric: common/deliver/deliver.go parseEnvelope, validateChannelHeader, common/deliver/binding.go

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consilium_msp::SignedData;
use consilium_proto::orderer::seek_info::{SeekBehavior, SeekContentType, SeekErrorResponse};
use consilium_proto::{common, orderer};
use consilium_protocol::envelope;
use prost::Message;

/// Whether requests must name the TLS certificate that their connection was made with.
#[derive(Clone, Debug, Default)]
pub struct TlsBinding {
    /// The server requires client certificates, so the binding is checked.
    pub required: bool,
    /// SHA-256 of the DER of the client's certificate, when it sent one.
    pub client_certificate_hash: Option<[u8; 32]>,
}

/// A seek request whose headers are in order; its signature is not checked yet.
#[derive(Clone, Debug)]
pub struct SeekRequest {
    /// The channel asked for.
    pub channel: String,
    /// Payload, creator and signature.
    pub signed: SignedData,
    /// Payload data, not parsed yet: Fabric looks for the channel first.
    pub(crate) data: bytes::Bytes,
    /// What to send.
    pub seek: orderer::SeekInfo,
}

/// Why a seek envelope is refused with BAD_REQUEST.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Payload or a header cannot be read.
    #[error("{0}")]
    Envelope(String),
    /// No timestamp in the channel header.
    #[error("channel header in envelope must contain timestamp")]
    NoTimestamp,
    /// The timestamp is too far from this node's clock.
    #[error("envelope timestamp is more than {window:?} apart from current server time")]
    Timestamp {
        /// The accepted distance.
        window: Duration,
    },
    /// Mutual TLS is required and the header names no certificate.
    #[error("client didn't include its TLS cert hash")]
    NoTlsHash,
    /// Mutual TLS is required and the connection has no client certificate.
    #[error("client didn't send a TLS certificate")]
    NoTlsCertificate,
    /// The header names another certificate than the connection's.
    #[error("claimed TLS cert hash does not match the TLS certificate of the connection")]
    TlsHash,
    /// The seek itself cannot be read.
    #[error("received a signed deliver request with malformed seekInfo payload: {0}")]
    SeekInfo(String),
}

/// Reads the headers of a seek envelope; [`SeekRequest::seek`] stays empty until
/// [`SeekRequest::parse_seek`].
pub fn open(
    envelope: &common::Envelope,
    tls: &TlsBinding,
    window: Duration,
    now: SystemTime,
) -> Result<SeekRequest, RequestError> {
    let parsed =
        envelope::parse(envelope).map_err(|error| RequestError::Envelope(error.to_string()))?;
    let header = &parsed.channel_header;
    let timestamp = header.timestamp.as_ref().ok_or(RequestError::NoTimestamp)?;
    if !within(timestamp.seconds, timestamp.nanos, window, now) {
        return Err(RequestError::Timestamp { window });
    }
    if tls.required {
        if header.tls_cert_hash.is_empty() {
            return Err(RequestError::NoTlsHash);
        }
        let actual = tls
            .client_certificate_hash
            .ok_or(RequestError::NoTlsCertificate)?;
        if header.tls_cert_hash != actual[..] {
            return Err(RequestError::TlsHash);
        }
    }
    Ok(SeekRequest {
        channel: header.channel_id.clone(),
        signed: parsed.signed_data(),
        data: parsed.data.clone(),
        seek: orderer::SeekInfo::default(),
    })
}

impl SeekRequest {
    /// Parses the seek out of the payload; no data at all is an empty seek.
    pub fn parse_seek(&mut self) -> Result<(), RequestError> {
        self.seek = orderer::SeekInfo::decode(self.data.clone())
            .map_err(|error| RequestError::SeekInfo(error.to_string()))?;
        Ok(())
    }

    /// Whether headers with signatures are asked for instead of whole blocks.
    pub fn wants_headers(&self) -> bool {
        self.seek.content_type == SeekContentType::HeaderWithSig as i32
    }

    /// Whether the stream goes on when consensus does not work.
    pub(crate) fn wants_best_effort(&self) -> bool {
        self.seek.error_response == SeekErrorResponse::BestEffort as i32
    }

    /// Whether the stream ends where a block is not there yet.
    pub(crate) fn fails_if_not_ready(&self) -> bool {
        self.seek.behavior == SeekBehavior::FailIfNotReady as i32
    }
}

/// Whether a timestamp lies within `window` of `now`, either way.
fn within(seconds: i64, nanos: i32, window: Duration, now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = now.as_nanos() as i128;
    let then = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    (now - then).unsigned_abs() <= window.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_counts_within_the_window_either_way() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let window = Duration::from_secs(900);
        for (seconds, nanos, expected) in [
            (1_000_000, 0, true),
            (999_100, 0, true),
            (1_000_900, 0, true),
            (1_000_900, 1, false),
            (999_099, 999_999_999, false),
            (0, 0, false),
            (i64::MIN, i32::MIN, false),
            (i64::MAX, i32::MAX, false),
        ] {
            assert_eq!(
                within(seconds, nanos, window, now),
                expected,
                "{seconds}.{nanos}"
            );
        }
    }
}
