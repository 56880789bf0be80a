//! What an endorser's answer means: usable, or which error and whether another peer may do better.

use consilium_peer::EndorseError;
use consilium_proto::{gateway::ErrorDetail, protos};
use tonic::{Code, Status};

use crate::{failure::go_text, members::Member};

/// An answer that is not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Whether another peer may answer differently.
    pub(crate) retry: bool,
}

impl Refusal {
    pub(crate) fn detail(&self, member: &Member) -> ErrorDetail {
        ErrorDetail {
            address: member.address.clone(),
            msp_id: member.msp_id.clone(),
            message: self.message.clone(),
        }
    }

    /// Nothing came back.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self {
            code: Code::Unavailable,
            message: message.into(),
            retry: true,
        }
    }
}

/// Judges a response (`fabric: internal/pkg/gateway` responseStatus).
pub(crate) fn judge(
    response: protos::ProposalResponse,
) -> Result<protos::ProposalResponse, Refusal> {
    let (status, message) = response
        .response
        .as_ref()
        .map_or((0, ""), |inner| (inner.status, inner.message.as_str()));
    if (200..400).contains(&status) {
        return Ok(response);
    }
    if response.payload.is_empty() && status == 500 {
        // Raised by the peer: the chaincode's own failures come with a payload.
        return Err(Refusal {
            code: Code::Aborted,
            message: message.to_owned(),
            retry: true,
        });
    }
    Err(Refusal {
        code: Code::Unknown,
        message: format!("chaincode response {status}, {message}"),
        retry: false,
    })
}

/// A refusal by the own peer, in process.
pub(crate) fn local_refusal(error: EndorseError) -> Refusal {
    if error.response.is_some() {
        Refusal {
            code: Code::FailedPrecondition,
            message: error.message,
            retry: false,
        }
    } else {
        Refusal::unavailable(error.message)
    }
}

/// A gRPC error of another peer.
pub(crate) fn remote_refusal(status: &Status) -> Refusal {
    Refusal::unavailable(go_text(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: i32, message: &str, payload: &'static [u8]) -> protos::ProposalResponse {
        protos::ProposalResponse {
            response: Some(protos::Response {
                status,
                message: message.to_owned(),
                ..Default::default()
            }),
            payload: payload.into(),
            ..Default::default()
        }
    }

    #[test]
    fn answers_are_classified_by_status_and_payload() {
        type Expected = Option<(Code, &'static str, bool)>;
        let cases: [(protos::ProposalResponse, Expected); 8] = [
            (response(200, "", b"p"), None),
            (response(399, "", b"p"), None),
            (
                response(500, "down", b""),
                Some((Code::Aborted, "down", true)),
            ),
            (
                response(500, "x: chaincode stream terminated", b""),
                Some((Code::Aborted, "x: chaincode stream terminated", true)),
            ),
            (
                response(500, "no", b"p"),
                Some((Code::Unknown, "chaincode response 500, no", false)),
            ),
            (
                response(400, "no", b""),
                Some((Code::Unknown, "chaincode response 400, no", false)),
            ),
            (
                response(199, "no", b"p"),
                Some((Code::Unknown, "chaincode response 199, no", false)),
            ),
            (
                protos::ProposalResponse::default(),
                Some((Code::Unknown, "chaincode response 0, ", false)),
            ),
        ];
        for (response, expected) in cases {
            let got = judge(response.clone()).err();
            let got = got.as_ref().map(|r| (r.code, r.message.as_str(), r.retry));
            assert_eq!(got, expected, "{response:?}");
        }
    }

    #[test]
    fn a_refusal_looks_different_from_the_own_peer_and_from_another() {
        let refused = EndorseError {
            message: "no".to_owned(),
            response: Some(Box::default()),
        };
        assert_eq!(local_refusal(refused).code, Code::FailedPrecondition);
        let filtered = EndorseError {
            message: "no".to_owned(),
            response: None,
        };
        assert_eq!(local_refusal(filtered).code, Code::Unavailable);
        let remote = remote_refusal(&Status::unknown("no"));
        assert_eq!(remote.code, Code::Unavailable);
        assert_eq!(remote.message, "rpc error: code = Unknown desc = no");
    }
}
