//! From a signed proposal to an endorsement.
//!
//! In order: filters on time, parsing, headers, creator and signature, duplicates, access; then the
//! chaincode runs on a snapshot of state; then the result is signed. Texts and the choice between a
//! gRPC error and a response with status 500 are Fabric's (`fabric: core/endorser/endorser.go`):
//! clients depend on both.

mod checks;
mod interest;
mod service;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use consilium_chaincode::{Execution, Host};
use consilium_ledger::{SimulationResults, Simulator};
use consilium_proto::{common, protos};
use consilium_protocol::{
    endorsement,
    proposal::{self, ParsedProposal},
};
use prost::Message;

use crate::{
    acl,
    channel::PeerChannel,
    peer::{Core, Peer},
};

pub use service::EndorserService;

/// Chaincode responses from this status on are failures.
const ERROR_THRESHOLD: i32 = 400;
/// Chaincode responses from this status on are returned with the failed simulation.
const ERROR: i32 = 500;

/// A refusal that is a gRPC error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct EndorseError {
    /// The text, as Fabric words it.
    pub message: String,
    /// What the in-process caller gets besides: a response with status 500, unless a filter
    /// refused before the endorser proper. Remote callers never see it.
    pub response: Option<Box<protos::ProposalResponse>>,
}

impl EndorseError {
    fn filtered(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            response: None,
        }
    }

    fn refused(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            response: Some(Box::new(failure(message.clone()))),
            message,
        }
    }
}

impl Peer {
    /// Endorses a proposal: what `protos.Endorser/ProcessProposal` does.
    ///
    /// # Errors
    /// Refusals that are gRPC errors; other failures are responses with status 500.
    pub async fn process_proposal(
        &self,
        signed: protos::SignedProposal,
    ) -> Result<protos::ProposalResponse, EndorseError> {
        self.endorser().process(signed).await
    }
}

/// The endorser proper.
pub(crate) struct Endorser {
    core: Arc<Core>,
    host: Arc<Host>,
}

impl Endorser {
    pub(crate) fn new(core: Arc<Core>, host: Arc<Host>) -> Self {
        Self { core, host }
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.core.options().endorser_concurrency
    }

    pub(crate) async fn process(
        &self,
        signed: protos::SignedProposal,
    ) -> Result<protos::ProposalResponse, EndorseError> {
        let started = Instant::now();
        metrics::counter!("endorser_proposals_received").increment(1);
        let now = SystemTime::now();
        let proposal = match proposal::parse(&signed) {
            Ok(proposal) => Arc::new(proposal),
            Err(error) => return Err(checks::malformed(&signed, &error)),
        };
        checks::time_window(&proposal, now, self.core.options().time_window)?;
        let outcome = self.process_parsed(&proposal, Arc::new(signed), now).await;
        let (chaincode, channel) = (&proposal.chaincode_name, proposal.channel());
        let success = matches!(&outcome, Ok(response) if is_success(response));
        metrics::histogram!(
            "endorser_proposal_duration",
            "channel" => channel.to_owned(),
            "chaincode" => chaincode.clone(),
            "success" => if success { "true" } else { "false" },
        )
        .record(started.elapsed().as_secs_f64());
        match &outcome {
            Ok(response) if success => {
                metrics::counter!("endorser_successful_proposals").increment(1);
                tracing::debug!(
                    channel,
                    chaincode,
                    tx = proposal.tx_id(),
                    endorsed = response.endorsement.is_some(),
                    "proposal answered"
                );
            }
            Ok(response) => {
                let answer = response.response.as_ref();
                tracing::info!(
                    channel,
                    chaincode,
                    tx = proposal.tx_id(),
                    status = answer.map_or(0, |answer| answer.status),
                    message = answer.map_or("", |answer| answer.message.as_str()),
                    "proposal failed"
                );
            }
            Err(error) => {
                metrics::counter!("endorser_proposal_validation_failures").increment(1);
                tracing::warn!(channel, chaincode, tx = proposal.tx_id(), %error, "proposal refused");
            }
        }
        outcome
    }

    async fn process_parsed(
        &self,
        proposal: &Arc<ParsedProposal>,
        signed: Arc<protos::SignedProposal>,
        now: SystemTime,
    ) -> Result<protos::ProposalResponse, EndorseError> {
        let name = proposal.channel();
        let channel = if name.is_empty() {
            None
        } else {
            match self.core.channel(name) {
                Some(channel) => Some(channel),
                None => {
                    // The expiry filter comes before the endorser proper.
                    checks::expiry(&proposal.signature_header.creator, now)?;
                    return Ok(failure(format!("channel '{name}' not found")));
                }
            }
        };
        // fabric: internal/peer/node/start.go reset.ProcessProposal
        if channel
            .as_ref()
            .is_some_and(|channel| channel.ledger().height_before_reset().is_some())
        {
            return Err(EndorseError::filtered(
                "endorse requests are blocked while ledgers are being rebuilt",
            ));
        }
        let is_system = self.host.is_system(&proposal.chaincode_name);
        let checked = {
            let (core, channel, proposal) = (self.core.clone(), channel.clone(), proposal.clone());
            self.core
                .pool()
                .run(move || {
                    check(&core, channel.as_deref(), &proposal, is_system, now)?;
                    Ok(simulator(channel.as_deref(), &proposal))
                })
                .await
        };
        let simulator = checked.unwrap_or_else(|| {
            Err(EndorseError::refused(
                "the peer failed to check the proposal",
            ))
        })?;
        let simulated = match simulator {
            Ok(simulator) => {
                self.simulate(channel.as_ref(), simulator, proposal, signed)
                    .await
            }
            Err(reason) => Err(reason),
        };
        Ok(simulated.unwrap_or_else(failure))
    }

    /// Runs the chaincode and signs what comes out; an error is the text of a response 500.
    async fn simulate(
        &self,
        channel: Option<&Arc<PeerChannel>>,
        simulator: Option<Simulator>,
        proposal: &Arc<ParsedProposal>,
        signed: Arc<protos::SignedProposal>,
    ) -> Result<protos::ProposalResponse, String> {
        let execution = self
            .host
            .execute(simulator, proposal.clone(), signed)
            .await
            .map_err(|error| error.to_string())?;
        let Execution {
            response,
            event,
            chaincode_id,
            simulator,
        } = execution;
        let results = simulator
            .map(Simulator::finish)
            .transpose()
            .map_err(|error| format!("error in simulation: {error}"))?;
        let failed = response.status >= ERROR_THRESHOLD;
        let interest = match (&results, channel) {
            (Some(results), Some(_)) => {
                Some(interest::of(results, |name| {
                    // Nobody can call `lscc` here, but definitions are looked up in its namespace.
                    name == "lscc" || self.host.is_system(name)
                }))
            }
            _ => None,
        };
        if let (Some(results), Some(channel)) = (&results, channel)
            && !failed
        {
            self.distribute(channel, proposal, results).await?;
        }
        let answer = match disposition(response.status, channel.is_some()) {
            Disposition::ResponseOnly => protos::ProposalResponse {
                response: Some(response),
                ..Default::default()
            },
            Disposition::Unsigned => {
                let payload = payload(proposal, &results, None, &response, chaincode_id);
                protos::ProposalResponse {
                    response: Some(response),
                    payload,
                    interest,
                    ..Default::default()
                }
            }
            Disposition::Endorsed => {
                let payload = payload(proposal, &results, event, &response, chaincode_id);
                let endorsement =
                    endorsement::endorse(&payload, self.core.options().signer.current().as_ref())
                        .map_err(|error| format!("endorsing with plugin failed: {error}"))?;
                self.core.memory().remember(
                    &payload,
                    &endorsement.endorser,
                    &endorsement.signature,
                );
                protos::ProposalResponse {
                    version: 1,
                    response: Some(response),
                    payload,
                    endorsement: Some(endorsement),
                    interest,
                    ..Default::default()
                }
            }
        };
        Ok(answer)
    }

    /// Sends clear private data to other members before anything is signed.
    async fn distribute(
        &self,
        channel: &Arc<PeerChannel>,
        proposal: &ParsedProposal,
        results: &SimulationResults,
    ) -> Result<(), String> {
        let Some(set) = &results.private else {
            return Ok(());
        };
        self.core
            .private()
            .distribute(channel, proposal.tx_id(), set, results.height)
            .await
            .map_err(|reason| format!("error in simulation: {reason}"))
    }
}

/// A snapshot to simulate on; none for what concerns the peer itself or only reads blocks. Reads the
/// disk.
fn simulator(
    channel: Option<&PeerChannel>,
    proposal: &ParsedProposal,
) -> Result<Option<Simulator>, String> {
    match channel {
        Some(channel) if !matches!(proposal.chaincode_name.as_str(), "qscc" | "cscc") => channel
            .ledger()
            .simulator(proposal.tx_id())
            .map(Some)
            .map_err(|error| error.to_string()),
        _ => Ok(None),
    }
}

/// The checks that cost something: identity and signature, the ledger, access. Runs on the pool.
fn check(
    core: &Core,
    channel: Option<&PeerChannel>,
    proposal: &ParsedProposal,
    is_system: bool,
    now: SystemTime,
) -> Result<(), EndorseError> {
    checks::creator_and_signature(
        proposal,
        channel.map(PeerChannel::config).as_deref(),
        &core.options().local_msp.current(),
        now,
    )?;
    let Some(channel) = channel else {
        return Ok(());
    };
    let known = channel
        .ledger()
        .has_transaction(proposal.tx_id())
        .map_err(|error| EndorseError::refused(error.to_string()))?;
    if known {
        metrics::counter!("endorser_duplicate_transaction_failures").increment(1);
        return Err(EndorseError::refused(format!(
            "duplicate transaction found [{}]. Creator [{}]",
            proposal.tx_id(),
            hex::encode(&proposal.signature_header.creator)
        )));
    }
    // System chaincodes check access themselves.
    if !is_system
        && let Err(refusal) =
            channel.check_verified(acl::PROPOSE, &proposal.signature_header.creator)
    {
        metrics::counter!("endorser_proposal_acl_failures").increment(1);
        return Err(EndorseError::refused(refusal));
    }
    Ok(())
}

/// What becomes of a chaincode's answer.
#[derive(Debug, PartialEq, Eq)]
enum Disposition {
    ResponseOnly,
    /// The failed simulation is shown, but nothing is signed.
    Unsigned,
    Endorsed,
}

fn disposition(status: i32, has_channel: bool) -> Disposition {
    if status >= ERROR {
        Disposition::Unsigned
    } else if has_channel && status < ERROR_THRESHOLD {
        Disposition::Endorsed
    } else {
        Disposition::ResponseOnly
    }
}

/// `ProposalResponsePayload` of a simulation.
fn payload(
    proposal: &ParsedProposal,
    results: &Option<SimulationResults>,
    event: Option<protos::ChaincodeEvent>,
    response: &protos::Response,
    chaincode_id: protos::ChaincodeId,
) -> Bytes {
    let action = protos::ChaincodeAction {
        results: results
            .as_ref()
            .map_or_else(Bytes::new, |results| results.public.clone()),
        events: event.map_or_else(Bytes::new, |event| event.encode_to_vec().into()),
        response: Some(response.clone()),
        chaincode_id: Some(chaincode_id),
    };
    endorsement::response_payload(&proposal.hash, &action)
}

fn is_success(response: &protos::ProposalResponse) -> bool {
    response
        .response
        .as_ref()
        .is_some_and(|response| response.status < ERROR_THRESHOLD)
}

/// A response with status 500.
fn failure(message: String) -> protos::ProposalResponse {
    protos::ProposalResponse {
        response: Some(protos::Response {
            status: common::Status::InternalServerError as i32,
            message,
            payload: Bytes::new(),
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_returned_depends_on_status_and_channel() {
        use Disposition::{Endorsed, ResponseOnly, Unsigned};
        let cases = [
            (500, true, Unsigned),
            (500, false, Unsigned),
            (700, true, Unsigned),
            (499, true, ResponseOnly),
            (400, true, ResponseOnly),
            (400, false, ResponseOnly),
            (399, true, Endorsed),
            (200, true, Endorsed),
            (200, false, ResponseOnly),
            (0, true, Endorsed),
            (-1, true, Endorsed),
        ];
        for (status, has_channel, expected) in cases {
            assert_eq!(
                disposition(status, has_channel),
                expected,
                "{status} {has_channel}"
            );
        }
    }
}
