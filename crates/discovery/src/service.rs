//! The gRPC face of discovery: who may ask, and which answer each query gets.

use std::sync::Arc;

use consilium_gossip::directory::{ChannelEntry, Entry};
use consilium_msp::SignedData;
use consilium_peer::{Peer, PeerChannel, acl::Guard};
use consilium_proto::{
    discovery::{
        self as proto, ChaincodeQuery, ChaincodeQueryResult, EndorsementDescriptor,
        PeerMembershipQuery, PeerMembershipResult, Query, QueryResult, SignedRequest,
        discovery_server::{self, DiscoveryServer},
        query::Query as Kind,
        query_result::Result as Answer,
    },
    protos::ChaincodeInterest,
};
use consilium_protocol::config::{ChannelConfig, paths};
use consilium_transport::MAX_MESSAGE;
use rand::seq::SliceRandom;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::{
    access::{AuthCache, AuthCacheOptions},
    config,
    descriptor::{self, Candidate},
    members,
    principal::Held,
    request::{self, Malformed},
    requirements::{self, Requirements, RequirementsCache},
};

/// Requests worked on at once; others wait.
const WORKING: usize = 16;
/// Requests that wait or are worked on.
const ADMITTED: usize = 1000;
/// The largest request in bytes.
const REQUEST: usize = 4 << 20;
const ACCESS_DENIED: &str = "access denied";

/// Settings of discovery; defaults are Fabric's.
#[derive(Clone, Copy, Debug)]
pub struct DiscoveryOptions {
    /// Whether the server speaks TLS, so that requests have to name their client's certificate.
    pub tls: bool,
    /// Verdicts to remember; `None` for none (`peer.discovery.authCacheEnabled`).
    pub auth_cache: Option<AuthCacheOptions>,
    /// Whether members of the peer's organization may ask what names no channel, not just its
    /// administrators (`peer.discovery.orgMembersAllowedAccess`).
    pub org_members_allowed: bool,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        Self {
            tls: true,
            auth_cache: Some(AuthCacheOptions::default()),
            org_members_allowed: false,
        }
    }
}

/// Discovery at a peer.
pub struct Discovery {
    peer: Arc<Peer>,
    options: DiscoveryOptions,
    access: AuthCache,
    requirements: RequirementsCache,
    admitted: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

impl Discovery {
    /// Discovery of what `peer` knows. A peer that does not gossip knows nobody.
    pub fn new(peer: Arc<Peer>, options: DiscoveryOptions) -> Arc<Self> {
        Arc::new(Self {
            peer,
            options,
            access: AuthCache::new(options.auth_cache),
            requirements: RequirementsCache::default(),
            admitted: Arc::new(Semaphore::new(ADMITTED)),
            working: Arc::new(Semaphore::new(WORKING)),
        })
    }

    /// The tonic server of `discovery.Discovery`.
    pub fn service(self: &Arc<Self>) -> DiscoveryServer<DiscoveryService> {
        DiscoveryServer::new(DiscoveryService {
            discovery: self.clone(),
        })
        .max_decoding_message_size(REQUEST)
        .max_encoding_message_size(MAX_MESSAGE)
    }

    /// The answers to all queries, in order. Verifies signatures and may read the ledger: not for
    /// the reactor.
    fn answer(&self, signed: &SignedRequest, request: proto::Request) -> proto::Response {
        let identity = request.authentication.unwrap_or_default().client_identity;
        let data = SignedData {
            data: signed.payload.clone(),
            identity,
            signature: signed.signature.clone(),
        };
        let answers = request.queries.iter().map(|query| {
            let answer = self.answer_one(query, &data);
            let result = answer.unwrap_or_else(|content| Answer::Error(proto::Error { content }));
            QueryResult {
                result: Some(result),
            }
        });
        proto::Response {
            results: answers.collect(),
        }
    }

    fn answer_one(&self, query: &Query, data: &SignedData) -> Result<Answer, String> {
        const UNKNOWN: &str = "unknown or missing request type";
        if query.channel.is_empty() {
            self.admit_locally(data)?;
            return match &query.query {
                Some(Kind::LocalPeers(_)) => Ok(Answer::Members(self.local_peers())),
                _ => Err(UNKNOWN.to_owned()),
            };
        }
        // Whether a channel exists is told to nobody but its members.
        let channel = self.peer.channel(&query.channel).ok_or(ACCESS_DENIED)?;
        self.admit(&channel, data)?;
        match &query.query {
            Some(Kind::ConfigQuery(_)) => config::config(channel.config().root())
                .map(Answer::ConfigResult)
                .map_err(|error| {
                    tracing::error!(
                        channel = channel.name(),
                        error,
                        "no answer to a config query"
                    );
                    format!("failed fetching config for channel {}", channel.name())
                }),
            Some(Kind::PeerQuery(query)) => self.peers(&channel, query).map(Answer::Members),
            Some(Kind::CcQuery(query)) => self.endorsers(&channel, query).map(Answer::CcQueryRes),
            Some(Kind::LocalPeers(_)) | None => Err(UNKNOWN.to_owned()),
        }
    }

    fn admit_locally(&self, data: &SignedData) -> Result<(), String> {
        let guard = if self.options.org_members_allowed {
            Guard::LocalMembers
        } else {
            Guard::LocalAdmins
        };
        let judge = || self.peer.check_local(&guard, data);
        let verdict = self.access.check("", 0, data, judge);
        verdict.map_err(|reason| denied("", &reason))
    }

    fn admit(&self, channel: &PeerChannel, data: &SignedData) -> Result<(), String> {
        let config = channel.config();
        let judge = || {
            let policy = config.policies().policy(paths::APPLICATION_WRITERS);
            let set = std::slice::from_ref(data);
            policy.evaluate(set).map_err(|error| error.to_string())
        };
        let verdict = self
            .access
            .check(channel.name(), config.sequence(), data, judge);
        verdict.map_err(|reason| denied(channel.name(), &reason))
    }

    fn local_peers(&self) -> PeerMembershipResult {
        members::everybody(&self.directory())
    }

    fn peers(
        &self,
        channel: &PeerChannel,
        query: &PeerMembershipQuery,
    ) -> Result<PeerMembershipResult, String> {
        let directory = self.directory();
        let mut told = self.directory_of(channel);
        let filter = query.filter.as_ref();
        if let Some(interest) = filter.filter(|interest| !interest.chaincodes.is_empty()) {
            let defined = |name: &str| channel.chaincode_policy(name);
            let eligible = requirements::eligibility(&channel.policies(), &defined, interest)?;
            let config = channel.config();
            let identities = identities(&directory);
            told.retain(|told| {
                eligible.can_run(&told.properties.chaincodes)
                    && eligible.may_read(|held| {
                        let identity = identities.get(&told.pki_id);
                        identity.is_some_and(|identity| holds(&config, identity, held))
                    })
            });
        }
        let config = channel.config();
        let organizations = config.application_orgs().iter();
        let organizations: Vec<&str> = organizations.map(|org| org.msp_id.as_str()).collect();
        Ok(members::of_channel(&directory, &told, &organizations))
    }

    fn endorsers(
        &self,
        channel: &PeerChannel,
        query: &ChaincodeQuery,
    ) -> Result<ChaincodeQueryResult, String> {
        request::check(query)?;
        let directory = self.directory();
        let told = self.directory_of(channel);
        let described = query.interests.iter().map(|interest| {
            let requirements = self.requirements.get(channel, interest);
            let described = match requirements.as_ref() {
                Ok(requirements) => {
                    describe(&channel.config(), &directory, &told, interest, requirements)
                }
                Err(reason) => Err(reason.clone()),
            };
            described.map_err(|reason| {
                let interest = request::go_text(interest);
                tracing::error!(
                    channel = channel.name(),
                    interest,
                    reason,
                    "no combination of endorsers"
                );
                format!("failed constructing descriptor for {interest}")
            })
        });
        Ok(ChaincodeQueryResult {
            content: described.collect::<Result<_, _>>()?,
        })
    }

    /// Known peers in random order, so that clients that take the first ones spread their load.
    fn directory(&self) -> Vec<Entry> {
        let gossip = self.peer.gossip();
        let mut directory = gossip.map_or_else(Vec::new, |gossip| gossip.directory());
        directory.shuffle(&mut rand::rng());
        directory
    }

    fn directory_of(&self, channel: &PeerChannel) -> Vec<ChannelEntry> {
        let gossip = self.peer.gossip();
        gossip.map_or_else(Vec::new, |gossip| gossip.directory_of(channel.name()))
    }
}

fn denied(channel: &str, reason: &str) -> String {
    tracing::warn!(channel, reason, "somebody may not ask discovery");
    ACCESS_DENIED.to_owned()
}

fn identities(directory: &[Entry]) -> std::collections::HashMap<&bytes::Bytes, &bytes::Bytes> {
    let entries = directory.iter();
    entries
        .map(|entry| (&entry.pki_id, &entry.identity))
        .collect()
}

fn holds(config: &ChannelConfig, identity: &bytes::Bytes, held: &Held) -> bool {
    let msps = config.msps();
    msps.deserialize(identity)
        .and_then(|identity| msps.satisfies(&identity, held.principal()))
        .is_ok()
}

fn describe(
    config: &ChannelConfig,
    directory: &[Entry],
    told: &[ChannelEntry],
    interest: &ChaincodeInterest,
    requirements: &Requirements,
) -> Result<EndorsementDescriptor, String> {
    let told = members::by_id(told);
    let candidates: Vec<Candidate> = directory
        .iter()
        .filter_map(|entry| {
            let told = *told.get(&entry.pki_id)?;
            let peer = members::peer(entry, Some(told))?;
            let eligibility = &requirements.eligibility;
            let may_read = eligibility.may_read(|held| holds(config, &entry.identity, held));
            may_read.then(|| Candidate {
                can_run: eligibility.can_run(&told.properties.chaincodes),
                peer,
            })
        })
        .collect();
    let first = interest.chaincodes.first();
    let chaincode = first.map_or("", |call| call.name.as_str());
    descriptor::descriptor(
        chaincode,
        &requirements.layouts,
        &candidates,
        |index, held| holds(config, &candidates[index].peer.identity, held),
    )
}

/// `discovery.Discovery` over gRPC.
pub struct DiscoveryService {
    discovery: Arc<Discovery>,
}

#[tonic::async_trait]
impl discovery_server::Discovery for DiscoveryService {
    async fn discover(
        &self,
        request: Request<SignedRequest>,
    ) -> Result<Response<proto::Response>, Status> {
        let discovery = self.discovery.clone();
        let _admitted = discovery
            .admitted
            .clone()
            .try_acquire_owned()
            .map_err(|_| {
                metrics::counter!("discovery_rejected_calls").increment(1);
                Status::resource_exhausted("too many requests for /discovery.Discovery/Discover")
            })?;
        let certificate = consilium_transport::client_certificate(&request);
        let from = consilium_transport::remote_address(&request);
        let signed = request.into_inner();
        let opened = request::open(&signed, discovery.options.tls, certificate.as_deref());
        let request = opened.map_err(|error| {
            tracing::warn!(?from, %error, "a discovery request is malformed");
            let text = error.to_string();
            match error {
                Malformed::TooLarge(_) => Status::invalid_argument(text),
                // What Go's servers make of an ordinary error.
                _ => Status::unknown(text),
            }
        })?;
        // The semaphore is never closed.
        let permit = discovery.working.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Status::unavailable("shutting down"))?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            discovery.answer(&signed, request)
        })
        .await
        .map(Response::new)
        .map_err(|_| Status::internal("the request could not be answered"))
    }
}
