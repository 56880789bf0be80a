//! Evaluate: one peer runs the proposal, nothing is signed for a transaction.

use consilium_proto::{
    gateway::{EvaluateRequest, EvaluateResponse},
    protos::{ChaincodeAction, ProposalResponse, ProposalResponsePayload, Response},
};
use prost::Message;
use tonic::{Code, Status};

use crate::{failure, members::Member, request, service::Gateway};

impl Gateway {
    /// Evaluates without a deadline of its own.
    pub(crate) async fn evaluate(
        &self,
        request: EvaluateRequest,
    ) -> Result<EvaluateResponse, Status> {
        let unpack = |reason: String| {
            Status::invalid_argument(format!("failed to unpack transaction proposal: {reason}"))
        };
        let proposal = request
            .proposed_transaction
            .ok_or_else(|| unpack("a signed proposal is required".to_owned()))?;
        let target = request::target(&proposal).map_err(unpack)?;
        let channel = self.channel(&target.channel)?;
        let mut targets = request.target_organizations;
        let protected = target.has_transient && targets.is_empty();
        if protected {
            targets.push(self.own_msp().to_owned());
        }
        let members: Vec<Member> = if self.is_runnable(&channel, &target.chaincode)? {
            self.members(&channel, &target.chaincode)
                .await
                .into_iter()
                .filter(|member| targets.is_empty() || targets.contains(&member.msp_id))
                .collect()
        } else {
            Vec::new()
        };
        if members.is_empty() {
            let nobody = format!(
                "no peers available to evaluate chaincode {} in channel {}",
                target.chaincode, target.channel
            );
            return Err(Status::failed_precondition(if protected {
                format!(
                    "no endorsers found in the gateway's organization; retry specifying target organization(s) to protect transient data: {nobody}"
                )
            } else {
                nobody
            }));
        }
        let mut details = Vec::new();
        let mut last = Code::Unavailable;
        for member in &members {
            match self.endorsers().ask(member, &proposal).await {
                Ok(response) => {
                    return Ok(EvaluateResponse {
                        result: Some(result(response)),
                    });
                }
                Err(refusal) => {
                    tracing::warn!(
                        peer = member.address,
                        code = ?refusal.code,
                        message = refusal.message,
                        "evaluate failed"
                    );
                    details.push(refusal.detail(member));
                    if !refusal.retry {
                        return Err(failure::status(
                            refusal.code,
                            format!(
                                "evaluate call to endorser returned error: {}",
                                refusal.message
                            ),
                            &details,
                        ));
                    }
                    last = refusal.code;
                }
            }
        }
        Err(failure::status(
            last,
            "failed to evaluate transaction, see attached details for more info",
            &details,
        ))
    }
}

/// Status and message of the response; the payload is the one that the endorser signed.
fn result(response: ProposalResponse) -> Response {
    let mut result = response.response.unwrap_or_default();
    let signed = ProposalResponsePayload::decode(response.payload)
        .and_then(|payload| ChaincodeAction::decode(payload.extension))
        .ok()
        .and_then(|action| action.response);
    if let Some(signed) = signed {
        result.payload = signed.payload;
    }
    result
}
