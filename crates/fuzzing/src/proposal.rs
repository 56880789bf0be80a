//! Signed proposals, as an endorser and the gateway read them.

use bytes::Bytes;
use consilium_proto::protos::{ChaincodeProposalPayload, Proposal, SignedProposal};
use consilium_protocol::proposal::{check_headers, parse, transaction_id};

use crate::agree::decoded;

pub(crate) fn run(data: &[u8]) -> bool {
    let Some(signed) = decoded::<SignedProposal>(&Bytes::copy_from_slice(data)) else {
        return false;
    };
    let target = consilium_gateway::fuzzing::target(&signed);
    if let Some(proposal) = decoded::<Proposal>(&signed.proposal_bytes) {
        decoded::<ChaincodeProposalPayload>(&proposal.payload);
    }
    let Ok(parsed) = parse(&signed) else {
        return false;
    };
    let again = parse(&signed).map(|again| again.hash);
    assert_eq!(again, Ok(parsed.hash), "one hash");
    // The gateway looks into the invocation, an endorser at the header's extension.
    if let Ok((channel, chaincode, has_transient)) = target {
        assert_eq!(channel, parsed.channel());
        assert!(!channel.is_empty() && !chaincode.is_empty());
        assert_eq!(has_transient, !parsed.transient.is_empty());
    }
    let is_right = check_headers(&parsed).is_ok();
    if is_right {
        let header = &parsed.signature_header;
        assert_eq!(
            parsed.tx_id(),
            transaction_id(&header.nonce, &header.creator)
        );
        assert!(!parsed.chaincode_name.is_empty() && parsed.channel_header.epoch == 0);
    }
    is_right
}
