//! Submit: hand a signed transaction to the ordering service.

use consilium_proto::{
    common::Status as BroadcastStatus,
    gateway::{ErrorDetail, SubmitRequest, SubmitResponse},
    orderer::BroadcastResponse,
};
use consilium_protocol::config::ChannelConfig;
use rand::seq::SliceRandom;
use tonic::{Code, Status};

use crate::{failure, service::Gateway};

/// The answer of an orderer that does not serve the channel. Fabric's also say so while they follow it.
/// `fabric: orderer/common/types ErrChannelNotExist`
const NOT_SERVED: &str = "channel does not exist";

/// What an orderer's answer means for the transaction.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Taken,
    /// Every orderer would refuse it.
    Refused,
    /// The orderer is not yet, or no longer, one of the channel's: another may take it.
    NotServed,
    /// Another orderer may be better off.
    Unable,
}

fn judge(answer: &BroadcastResponse) -> Verdict {
    match answer.status {
        status if status == BroadcastStatus::Success as i32 => Verdict::Taken,
        status
            if answer.info == NOT_SERVED
                && (status == BroadcastStatus::BadRequest as i32
                    || status == BroadcastStatus::NotFound as i32) =>
        {
            Verdict::NotServed
        }
        400..500 => Verdict::Refused,
        _ => Verdict::Unable,
    }
}

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
        let mut not_served = None;
        let mut all_not_served = true;
        for (endpoint, msp_id) in orderers {
            let attempt = tokio::time::timeout(
                self.options().broadcast_timeout,
                self.orderers().broadcast(&endpoint, envelope.clone()),
            );
            let failed = match attempt.await {
                Ok(Ok(answer)) => {
                    match judge(&answer) {
                        Verdict::Taken => return Ok(SubmitResponse {}),
                        Verdict::Refused => return Err(refused(&answer)),
                        Verdict::NotServed => not_served = Some(refused(&answer)),
                        Verdict::Unable => all_not_served = false,
                    }
                    // Fabric leaves no detail about this one.
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
            all_not_served = false;
            tracing::warn!(orderer = endpoint, reason = failed, "orderer failed");
            details.push(ErrorDetail {
                address: endpoint,
                msp_id,
                message: failed,
            });
        }
        // No orderer has such a channel: waiting does not help.
        if let (Some(refusal), true) = (not_served, all_not_served) {
            return Err(refusal);
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

fn refused(answer: &BroadcastResponse) -> Status {
    Status::aborted(format!(
        "received unsuccessful response from orderer: status={}, info={}",
        status_name(answer.status),
        answer.info
    ))
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
    fn only_what_every_orderer_would_refuse_is_refused() {
        use BroadcastStatus as S;
        for (status, info, verdict) in [
            (S::Success, "", Verdict::Taken),
            (S::BadRequest, "bad payload", Verdict::Refused),
            (S::Forbidden, "no policy satisfied", Verdict::Refused),
            (S::RequestEntityTooLarge, "too large", Verdict::Refused),
            // An orderer that comes to the channel or has left it.
            (S::BadRequest, NOT_SERVED, Verdict::NotServed),
            (S::NotFound, NOT_SERVED, Verdict::NotServed),
            (S::Forbidden, NOT_SERVED, Verdict::Refused),
            (S::ServiceUnavailable, "no Raft leader", Verdict::Unable),
            (S::InternalServerError, "", Verdict::Unable),
        ] {
            let answer = BroadcastResponse {
                status: status as i32,
                info: info.to_owned(),
            };
            assert_eq!(judge(&answer), verdict, "{status:?} {info}");
        }
    }

    #[test]
    fn statuses_of_orderers_are_named() {
        assert_eq!(status_name(403), "FORBIDDEN");
        assert_eq!(status_name(599), "599");
    }
}
