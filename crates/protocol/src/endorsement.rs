//! Endorsements: what an endorsing peer signs and what a validator verifies
//! (hashing-and-signing, section 4).

use crate::wire::put_prefix;
use bytes::{BufMut, Bytes, BytesMut};
use consilium_msp::{SignError, SignedData, Signer};
use consilium_proto::protos;
use prost::Message;

/// `ProposalResponsePayload{proposal_hash, extension = action}`, encoded: the bytes that all
/// endorsements of one transaction cover.
pub fn response_payload(hash: &[u8; 32], action: &protos::ChaincodeAction) -> Bytes {
    let action_length = action.encoded_len();
    let mut buffer = BytesMut::with_capacity(action_length + 48);
    put_prefix(&mut buffer, 1, hash.len());
    buffer.put_slice(hash);
    if action_length > 0 {
        put_prefix(&mut buffer, 2, action_length);
        action.encode_raw(&mut buffer);
    }
    buffer.freeze()
}

/// Signs a response payload: the signature covers the payload followed by the signer's serialized
/// identity.
pub fn endorse(payload: &Bytes, signer: &dyn Signer) -> Result<protos::Endorsement, SignError> {
    let endorser = signer.serialized().clone();
    let signature = signer.sign(&signed_bytes(payload, &endorser))?;
    Ok(protos::Endorsement {
        endorser,
        signature,
    })
}

/// What an endorsement claims, for policy evaluation.
pub fn signed_data(payload: &Bytes, endorsement: &protos::Endorsement) -> SignedData {
    SignedData {
        data: signed_bytes(payload, &endorsement.endorser),
        identity: endorsement.endorser.clone(),
        signature: endorsement.signature.clone(),
    }
}

fn signed_bytes(payload: &[u8], endorser: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + endorser.len());
    bytes.put_slice(payload);
    bytes.put_slice(endorser);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_payload_is_the_plain_protobuf_encoding() {
        let action = protos::ChaincodeAction {
            results: Bytes::from_static(b"rw"),
            response: Some(protos::Response {
                status: 200,
                ..Default::default()
            }),
            ..Default::default()
        };
        for action in [action, protos::ChaincodeAction::default()] {
            let plain = protos::ProposalResponsePayload {
                proposal_hash: Bytes::from_static(&[7; 32]),
                extension: action.encode_to_vec().into(),
            };
            assert_eq!(response_payload(&[7; 32], &action), plain.encode_to_vec());
        }
    }
}
