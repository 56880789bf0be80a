//! Endorse: collect matching endorsements that satisfy the policies, assemble the transaction.

use std::collections::{BTreeMap, BTreeSet};

use consilium_discovery::{Held, Requirements};
use consilium_peer::PeerChannel;
use consilium_proto::{
    gateway::{EndorseRequest, EndorseResponse, ErrorDetail},
    protos::{ChaincodeCall, ChaincodeInterest, ProposalResponse, SignedProposal},
};
use consilium_protocol::transaction;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tonic::{Code, Status};

use crate::{
    answer::Refusal,
    failure,
    members::{self, Member},
    plan::Plan,
    request::{self, Target},
    service::Gateway,
};

const NOT_COLLECTED: &str =
    "failed to collect enough transaction endorsements, see attached details for more info";
const MISMATCH: &str = "ProposalResponsePayloads do not match";

impl Gateway {
    /// Endorses without a deadline of its own.
    pub(crate) async fn endorse(&self, request: EndorseRequest) -> Result<EndorseResponse, Status> {
        let proposal = request.proposed_transaction.ok_or_else(|| {
            Status::invalid_argument("the proposed transaction must contain a signed proposal")
        })?;
        let target = request::target(&proposal).map_err(Status::invalid_argument)?;
        let channel = self.channel(&target.channel)?;
        let members = self.members(&channel, &target.chaincode).await;
        let mut session = Session::new(self, &members, &proposal);
        let plan = if request.endorsing_organizations.is_empty() {
            self.plan_after_first(&channel, &target, &mut session)
                .await?
        } else {
            plan_for_organizations(&members, &request.endorsing_organizations)?
        };
        let responses = session.collect(&plan).await?;
        let envelope = transaction::assemble(&proposal, &responses)
            .map_err(|error| Status::aborted(format!("failed to assemble transaction: {error}")))?;
        Ok(EndorseResponse {
            prepared_transaction: Some(envelope),
        })
    }

    /// Asks the own organization first; what the simulation touched decides who else must endorse.
    async fn plan_after_first(
        &self,
        channel: &PeerChannel,
        target: &Target,
        session: &mut Session<'_>,
    ) -> Result<Plan, Status> {
        let first = session.ask_first(self.own_msp()).await?;
        let touched = match first {
            None if target.has_transient => {
                return Err(Status::failed_precondition(
                    "no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect transient data",
                ));
            }
            None => None,
            Some(index) => session
                .answered
                .get(&index)
                .and_then(|answer| answer.interest.clone()),
        };
        let interest = touched
            .filter(|interest| !interest.chaincodes.is_empty())
            .unwrap_or_else(|| ChaincodeInterest {
                chaincodes: vec![ChaincodeCall {
                    name: target.chaincode.clone(),
                    ..Default::default()
                }],
            });
        let mut plan = self.plan(channel, session.members, interest, target.has_transient)?;
        plan.shuffle(&mut rand::rng());
        if let Some(first) = first {
            plan.prefer(first);
        }
        Ok(plan)
    }

    fn plan(
        &self,
        channel: &PeerChannel,
        members: &[Member],
        interest: ChaincodeInterest,
        protect: bool,
    ) -> Result<Plan, Status> {
        if !protect {
            return self.plan_for(channel, members, &interest);
        }
        // With transient data only members of the collections may be asked, also if the simulation
        // read none of their values.
        let mut protected = interest.clone();
        let mut collections = Vec::new();
        for call in &mut protected.chaincodes {
            if !call.collection_names.is_empty() {
                call.no_private_reads = false;
                collections.extend(call.collection_names.iter().cloned());
            }
        }
        self.plan_for(channel, members, &protected).map_err(|error| {
            if self.plan_for(channel, members, &interest).is_ok() {
                Status::failed_precondition(format!(
                    "requires endorsement from organisation(s) that are not in the distribution policy of the private data collection(s): [{}]; retry specifying trusted endorsing organizations to protect transient data",
                    collections.join(" ")
                ))
            } else {
                error
            }
        })
    }

    fn plan_for(
        &self,
        channel: &PeerChannel,
        members: &[Member],
        interest: &ChaincodeInterest,
    ) -> Result<Plan, Status> {
        let underivable = |reason: &str| {
            Status::failed_precondition(format!(
                "no combination of peers can be derived which satisfy the endorsement policy: {reason}"
            ))
        };
        let requirements = self.requirements(channel, interest);
        let requirements = match requirements.as_ref() {
            Ok(requirements) => requirements,
            Err(reason) => return Err(underivable(reason)),
        };
        let called = interest.chaincodes.iter();
        let order = self.order(channel, members, called.map(|call| call.name.as_str()));
        let plan = self.fill(channel, members, &order, requirements);
        if plan.is_empty() {
            return Err(underivable(
                "no peer combination can satisfy the endorsement policy",
            ));
        }
        Ok(plan)
    }

    fn fill(
        &self,
        channel: &PeerChannel,
        members: &[Member],
        order: &[usize],
        requirements: &Requirements,
    ) -> Plan {
        let config = channel.config();
        Plan::new(&requirements.layouts, order, |index, held| {
            let member = &members[index];
            // Of some peers the organization is known, not the certificate.
            let may_read = |reader: &Held| reader.msp_id() == member.msp_id;
            requirements.eligibility.may_read(may_read) && members::holds(member, held, &config)
        })
    }
}

/// One peer of each named organization; nobody checks that this satisfies any policy.
fn plan_for_organizations(members: &[Member], organizations: &[String]) -> Result<Plan, Status> {
    let mut groups = Vec::new();
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    for organization in organizations {
        if !seen.insert(organization) {
            continue;
        }
        let group: Vec<usize> = (0..members.len())
            .filter(|&index| members[index].msp_id == *organization)
            .collect();
        if group.is_empty() {
            missing.push(organization.as_str());
        } else {
            groups.push(group);
        }
    }
    if missing.is_empty() {
        Ok(Plan::one_of_each(groups))
    } else {
        Err(Status::unavailable(format!(
            "failed to find any endorsing peers for org(s): {}",
            missing.join(", ")
        )))
    }
}

/// Answers to one proposal so far. Members are known by their index.
struct Session<'a> {
    gateway: &'a Gateway,
    members: &'a [Member],
    proposal: &'a SignedProposal,
    answered: BTreeMap<usize, ProposalResponse>,
    failed: BTreeSet<usize>,
    details: Vec<ErrorDetail>,
}

impl<'a> Session<'a> {
    fn new(gateway: &'a Gateway, members: &'a [Member], proposal: &'a SignedProposal) -> Self {
        Self {
            gateway,
            members,
            proposal,
            answered: BTreeMap::new(),
            failed: BTreeSet::new(),
            details: Vec::new(),
        }
    }

    /// The first answer of an organization; `None` when it has no member at all.
    async fn ask_first(&mut self, msp_id: &str) -> Result<Option<usize>, Status> {
        let mut asked = false;
        for index in 0..self.members.len() {
            if self.members[index].msp_id != msp_id {
                continue;
            }
            asked = true;
            let answer = self
                .gateway
                .endorsers()
                .ask(&self.members[index], self.proposal)
                .await;
            if self.note(index, answer) {
                return Ok(Some(index));
            }
        }
        if !asked {
            return Ok(None);
        }
        Err(failure::status(
            Code::Aborted,
            "failed to endorse transaction, see attached details for more info",
            &self.details,
        ))
    }

    /// Asks until a layout is complete. Answers of a round arrive in parallel; failed peers are
    /// replaced in the next one.
    async fn collect(&mut self, plan: &Plan) -> Result<Vec<ProposalResponse>, Status> {
        loop {
            let answered = self.answered.keys().copied().collect();
            let Some(chosen) = plan.choose(&answered, &self.failed) else {
                return Err(failure::status(Code::Aborted, NOT_COLLECTED, &self.details));
            };
            let mut asked: FuturesUnordered<_> = chosen
                .iter()
                .filter(|index| !answered.contains(index))
                .map(|&index| {
                    let (gateway, member) = (self.gateway, &self.members[index]);
                    let proposal = self.proposal;
                    async move { (index, gateway.endorsers().ask(member, proposal).await) }
                })
                .collect();
            if asked.is_empty() {
                return Ok(chosen
                    .iter()
                    .filter_map(|index| self.answered.get(index).cloned())
                    .collect());
            }
            let mut answers = Vec::with_capacity(asked.len());
            while let Some(answer) = asked.next().await {
                answers.push(answer);
            }
            drop(asked);
            for (index, answer) in answers {
                self.note(index, answer);
            }
        }
    }

    /// Keeps an answer if it agrees with those before; whether it does.
    fn note(&mut self, index: usize, answer: Result<ProposalResponse, Refusal>) -> bool {
        let member = &self.members[index];
        let refusal = match answer {
            Ok(response) => {
                let agrees = self
                    .answered
                    .values()
                    .next()
                    .is_none_or(|first| first.payload == response.payload);
                if agrees {
                    self.answered.insert(index, response);
                    return true;
                }
                Refusal {
                    code: Code::Aborted,
                    message: MISMATCH.to_owned(),
                    retry: true,
                }
            }
            Err(refusal) => refusal,
        };
        tracing::warn!(
            peer = member.address,
            msp = member.msp_id,
            code = ?refusal.code,
            message = refusal.message,
            "endorser failed"
        );
        self.failed.insert(index);
        self.details.push(refusal.detail(member));
        false
    }
}
