//! What a proposal is about, as far as the gateway has to know.

use bytes::Bytes;
use consilium_proto::{common, protos};
use prost::Message;

/// The addressed chaincode of a proposal that still is to be endorsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) channel: String,
    pub(crate) chaincode: String,
    /// Whether it carries transient data, which must not travel further than needed.
    pub(crate) has_transient: bool,
}

/// Reads a signed proposal (`fabric: internal/pkg/gateway` getChannelAndChaincodeFromSignedProposal).
pub(crate) fn target(signed: &protos::SignedProposal) -> Result<Target, String> {
    let proposal = decode::<protos::Proposal>("Proposal", &signed.proposal_bytes)?;
    let header = decode::<common::Header>("Header", &proposal.header)?;
    let channel =
        decode::<common::ChannelHeader>("ChannelHeader", &header.channel_header)?.channel_id;
    if channel.is_empty() {
        return Err("no channel id provided".to_owned());
    }
    let payload =
        decode::<protos::ChaincodeProposalPayload>("ChaincodeProposalPayload", &proposal.payload)?;
    let invocation =
        decode::<protos::ChaincodeInvocationSpec>("ChaincodeInvocationSpec", &payload.input)?;
    let chaincode = invocation
        .chaincode_spec
        .ok_or_else(|| format!("no chaincode spec is provided, channel id [{channel}]"))?
        .chaincode_id
        .ok_or_else(|| format!("no chaincode id is provided, channel id [{channel}]"))?
        .name;
    if chaincode.is_empty() {
        return Err(format!(
            "no chaincode name is provided, channel id [{channel}]"
        ));
    }
    Ok(Target {
        channel,
        chaincode,
        has_transient: !payload.transient_map.is_empty(),
    })
}

fn decode<M: Message + Default>(name: &str, bytes: &Bytes) -> Result<M, String> {
    M::decode(bytes.clone()).map_err(|error| format!("error unmarshalling {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(
        channel: &str,
        invocation: protos::ChaincodeInvocationSpec,
    ) -> protos::SignedProposal {
        let encode = |message: &dyn Fn() -> Vec<u8>| Bytes::from(message());
        let header = common::Header {
            channel_header: encode(&|| {
                common::ChannelHeader {
                    channel_id: channel.to_owned(),
                    ..Default::default()
                }
                .encode_to_vec()
            }),
            ..Default::default()
        };
        let payload = protos::ChaincodeProposalPayload {
            input: encode(&|| invocation.encode_to_vec()),
            ..Default::default()
        };
        let proposal = protos::Proposal {
            header: header.encode_to_vec().into(),
            payload: payload.encode_to_vec().into(),
            ..Default::default()
        };
        protos::SignedProposal {
            proposal_bytes: proposal.encode_to_vec().into(),
            signature: Bytes::new(),
        }
    }

    fn invocation(spec: Option<protos::ChaincodeSpec>) -> protos::ChaincodeInvocationSpec {
        protos::ChaincodeInvocationSpec {
            chaincode_spec: spec,
        }
    }

    fn named(name: &str) -> protos::ChaincodeInvocationSpec {
        invocation(Some(protos::ChaincodeSpec {
            chaincode_id: Some(protos::ChaincodeId {
                name: name.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }))
    }

    #[test]
    fn what_is_missing_in_a_proposal_is_named() {
        let cases = [
            (signed("", named("cc")), "no channel id provided"),
            (
                signed("c", invocation(None)),
                "no chaincode spec is provided, channel id [c]",
            ),
            (
                signed("c", invocation(Some(protos::ChaincodeSpec::default()))),
                "no chaincode id is provided, channel id [c]",
            ),
            (
                signed("c", named("")),
                "no chaincode name is provided, channel id [c]",
            ),
        ];
        for (proposal, expected) in cases {
            assert_eq!(target(&proposal).unwrap_err(), expected);
        }
        let garbage = protos::SignedProposal {
            proposal_bytes: Bytes::from_static(b"\xff\xff"),
            signature: Bytes::new(),
        };
        assert!(
            target(&garbage)
                .unwrap_err()
                .starts_with("error unmarshalling Proposal: ")
        );
        assert_eq!(
            target(&signed("c", named("cc"))).unwrap(),
            Target {
                channel: "c".to_owned(),
                chaincode: "cc".to_owned(),
                has_transient: false
            }
        );
    }
}
