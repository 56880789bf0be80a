//! Submit: hand a signed transaction to the ordering service.

use consilium_proto::{
    common::Status as BroadcastStatus,
    gateway::{ErrorDetail, SubmitRequest, SubmitResponse},
};
use consilium_protocol::config::ChannelConfig;
use rand::seq::SliceRandom;
use tonic::{Code, Status};

use crate::{failure, service::Gateway};

impl Gateway {
    /// Submits without a deadline of its own.
    pub(crate) async fn submit(&self, request: SubmitRequest) -> Result<SubmitResponse, Status> {
        let envelope = request
            .prepared_transaction
            .ok_or_else(|| Status::invalid_argument("a prepared transaction is required"))?;
        if envelope.signature.is_empty() {
            return Err(Status::invalid_argument(
                "prepared transaction must be signed",
            ));
        }
        let config = self
            .find_channel(&request.channel_id)
            .map_err(Status::failed_precondition)?
            .config();
        let mut orderers = orderers(&config);
        if orderers.is_empty() {
            return Err(Status::unavailable("no orderer nodes available"));
        }
        orderers.shuffle(&mut rand::rng());
        let mut details = Vec::new();
        for (endpoint, msp_id) in orderers {
            let attempt = tokio::time::timeout(
                self.options().broadcast_timeout,
                self.orderers().broadcast(&endpoint, envelope.clone()),
            );
            let failed = match attempt.await {
                Ok(Ok(answer)) if answer.status == BroadcastStatus::Success as i32 => {
                    return Ok(SubmitResponse {});
                }
                Ok(Ok(answer)) if (400..500).contains(&answer.status) => {
                    return Err(Status::aborted(format!(
                        "received unsuccessful response from orderer: status={}, info={}",
                        status_name(answer.status),
                        answer.info
                    )));
                }
                Ok(Ok(answer)) => {
                    // Another orderer may be better off; Fabric leaves no detail about this one.
                    tracing::warn!(
                        orderer = endpoint,
                        status = status_name(answer.status),
                        info = answer.info,
                        "orderer could not take a transaction"
                    );
                    continue;
                }
                Ok(Err(reason)) => reason,
                Err(_) => {
                    "rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned()
                }
            };
            tracing::warn!(orderer = endpoint, reason = failed, "orderer failed");
            details.push(ErrorDetail {
                address: endpoint,
                msp_id,
                message: failed,
            });
        }
        Err(failure::status(
            Code::Unavailable,
            "no orderers could successfully process transaction",
            &details,
        ))
    }
}

/// Endpoints with the organization that runs them; the configuration's global addresses belong to
/// none.
fn orderers(config: &ChannelConfig) -> Vec<(String, String)> {
    let by_organization: Vec<(String, String)> = config
        .orderer_orgs()
        .iter()
        .flat_map(|organization| {
            organization
                .endpoints
                .iter()
                .map(|endpoint| (endpoint.clone(), organization.msp_id.clone()))
        })
        .collect();
    if by_organization.is_empty() {
        config
            .orderer_endpoints()
            .into_iter()
            .map(|endpoint| (endpoint, String::new()))
            .collect()
    } else {
        by_organization
    }
}

fn status_name(status: i32) -> String {
    BroadcastStatus::try_from(status).map_or_else(
        |_| status.to_string(),
        |status| status.as_str_name().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_orderers_are_named() {
        assert_eq!(status_name(403), "FORBIDDEN");
        assert_eq!(status_name(599), "599");
    }
}
