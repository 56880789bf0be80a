//! Raft's values as messages of our replication protocol, for the wire and for the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::consilium::replication::{self as wire, append_response, entry};
use openraft::EntryPayload;
use openraft::impls::EmptyNode;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use prost::Message;

use super::types::{
    Entry, LogId, Membership, Payload, Proposal, StoredMembership, TypeConfig, Vote, position,
};

/// Bytes from another node or from the disk that do not say what they must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("entries do not follow one another: index {index} after {previous:?}")]
    Gap { previous: Option<u64>, index: u64 },
    #[error("term of entry {index} is below the one before it")]
    Term { index: u64 },
    #[error("membership is not valid: {0}")]
    Membership(String),
    #[error("cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

pub(crate) fn log_id(id: &LogId) -> wire::LogId {
    let (term, index) = position(id);
    wire::LogId { term, index }
}

pub(crate) fn read_log_id(id: &wire::LogId) -> LogId {
    LogId::new_term_index(id.term, id.index)
}

pub(crate) fn vote(vote: &Vote) -> wire::Vote {
    wire::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(crate) fn read_vote(vote: Option<&wire::Vote>) -> Result<Vote, CodecError> {
    let vote = vote.ok_or(CodecError::Missing("vote"))?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, vote.node)
    } else {
        Vote::new(vote.term, vote.node)
    })
}

pub(crate) fn membership(membership: &Membership) -> wire::Membership {
    let voters = membership.get_joint_config().iter();
    wire::Membership {
        voters: voters
            .map(|set| wire::Voters {
                ids: set.iter().copied().collect(),
            })
            .collect(),
        nodes: membership
            .nodes()
            .map(|(id, _)| (*id, wire::Node::default()))
            .collect(),
    }
}

pub(crate) fn read_membership(membership: &wire::Membership) -> Result<Membership, CodecError> {
    let voters: Vec<BTreeSet<u64>> = membership
        .voters
        .iter()
        .map(|voters| voters.ids.iter().copied().collect())
        .collect();
    if voters.is_empty() {
        // What a node has before it is initialized.
        return Ok(Membership::default());
    }
    let nodes: BTreeMap<u64, EmptyNode> = membership
        .nodes
        .keys()
        .map(|id| (*id, EmptyNode {}))
        .collect();
    Membership::new(voters, nodes).map_err(|error| CodecError::Membership(error.to_string()))
}

pub(crate) fn stored_membership(stored: &StoredMembership) -> wire::StoredMembership {
    wire::StoredMembership {
        id: stored.log_id().as_ref().map(log_id),
        membership: Some(membership(stored.membership())),
    }
}

pub(crate) fn read_stored_membership(
    stored: Option<&wire::StoredMembership>,
) -> Result<StoredMembership, CodecError> {
    let Some(stored) = stored else {
        return Ok(StoredMembership::default());
    };
    let membership = stored
        .membership
        .as_ref()
        .ok_or(CodecError::Missing("membership"))?;
    Ok(StoredMembership::new(
        stored.id.as_ref().map(read_log_id),
        read_membership(membership)?,
    ))
}

pub(crate) fn entry(entry: &Entry) -> wire::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => entry::Payload::Blank(wire::Blank {}),
        EntryPayload::Normal(Proposal::Batch(envelopes)) => entry::Payload::Batch(wire::Batch {
            envelopes: envelopes.to_vec(),
        }),
        EntryPayload::Normal(Proposal::Config(envelope)) => {
            entry::Payload::Config(envelope.clone())
        }
        EntryPayload::Membership(set) => entry::Payload::Membership(membership(set)),
    };
    wire::Entry {
        id: Some(log_id(&entry.log_id)),
        payload: Some(payload),
    }
}

pub(crate) fn read_entry(entry: wire::Entry) -> Result<Entry, CodecError> {
    let id = entry.id.ok_or(CodecError::Missing("log id"))?;
    let payload: Payload = match entry.payload.ok_or(CodecError::Missing("payload"))? {
        entry::Payload::Blank(_) => EntryPayload::Blank,
        entry::Payload::Batch(batch) => {
            EntryPayload::Normal(Proposal::Batch(Arc::new(batch.envelopes)))
        }
        entry::Payload::Config(envelope) => EntryPayload::Normal(Proposal::Config(envelope)),
        entry::Payload::Membership(set) => EntryPayload::Membership(read_membership(&set)?),
    };
    Ok(Entry {
        log_id: read_log_id(&id),
        payload,
    })
}

pub(crate) fn decode_entry(bytes: Bytes) -> Result<Entry, CodecError> {
    read_entry(wire::Entry::decode(bytes)?)
}

pub(crate) fn append(
    channel: &str,
    to: u64,
    request: AppendEntriesRequest<TypeConfig>,
) -> wire::AppendRequest {
    wire::AppendRequest {
        channel: channel.to_owned(),
        vote: Some(vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id),
        committed: request.leader_commit.as_ref().map(log_id),
        entries: request.entries.iter().map(entry).collect(),
        to,
    }
}

/// Reads an append, refusing entries that do not follow `previous` and one another: openraft only
/// asserts that in debug builds.
pub(crate) fn read_append(
    request: wire::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, CodecError> {
    let mut last = request.previous;
    let mut entries = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        let id = entry.id.ok_or(CodecError::Missing("log id"))?;
        let expected = last
            .as_ref()
            .map_or(Some(0), |last| last.index.checked_add(1));
        if Some(id.index) != expected {
            return Err(CodecError::Gap {
                previous: last.map(|last| last.index),
                index: id.index,
            });
        }
        if last.as_ref().is_some_and(|last| id.term < last.term) {
            return Err(CodecError::Term { index: id.index });
        }
        last = Some(id);
        entries.push(read_entry(entry)?);
    }
    Ok(AppendEntriesRequest {
        vote: read_vote(request.vote.as_ref())?,
        prev_log_id: request.previous.as_ref().map(read_log_id),
        entries,
        leader_commit: request.committed.as_ref().map(read_log_id),
    })
}

pub(crate) fn appended(response: AppendEntriesResponse<TypeConfig>) -> wire::AppendResponse {
    use append_response::Result;
    let result = match response {
        AppendEntriesResponse::Success => Result::Success(wire::Done {}),
        AppendEntriesResponse::PartialSuccess(id) => Result::Partial(wire::Partial {
            id: id.as_ref().map(log_id),
        }),
        AppendEntriesResponse::Conflict => Result::Conflict(wire::Done {}),
        AppendEntriesResponse::HigherVote(higher) => Result::HigherVote(vote(&higher)),
    };
    wire::AppendResponse {
        result: Some(result),
    }
}

pub(crate) fn read_appended(
    response: wire::AppendResponse,
) -> std::result::Result<AppendEntriesResponse<TypeConfig>, CodecError> {
    use append_response::Result;
    Ok(
        match response.result.ok_or(CodecError::Missing("result"))? {
            Result::Success(_) => AppendEntriesResponse::Success,
            Result::Partial(partial) => {
                AppendEntriesResponse::PartialSuccess(partial.id.as_ref().map(read_log_id))
            }
            Result::Conflict(_) => AppendEntriesResponse::Conflict,
            Result::HigherVote(higher) => {
                AppendEntriesResponse::HigherVote(read_vote(Some(&higher))?)
            }
        },
    )
}

pub(crate) fn vote_request(
    channel: &str,
    to: u64,
    request: &VoteRequest<TypeConfig>,
    pre_vote: bool,
) -> wire::VoteRequest {
    wire::VoteRequest {
        channel: channel.to_owned(),
        vote: Some(vote(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
        to,
    }
}

pub(crate) fn read_vote_request(
    request: &wire::VoteRequest,
) -> Result<VoteRequest<TypeConfig>, CodecError> {
    let vote = read_vote(request.vote.as_ref())?;
    let mut read = VoteRequest::new(vote, request.last.as_ref().map(read_log_id));
    read.leadership_transfer = request.leadership_transfer;
    Ok(read)
}

pub(crate) fn vote_response(response: &VoteResponse<TypeConfig>) -> wire::VoteResponse {
    wire::VoteResponse {
        vote: Some(vote(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(log_id),
    }
}

pub(crate) fn read_vote_response(
    response: &wire::VoteResponse,
) -> Result<VoteResponse<TypeConfig>, CodecError> {
    let vote = read_vote(response.vote.as_ref())?;
    Ok(VoteResponse::new(
        vote,
        response.last.as_ref().map(read_log_id),
        response.granted,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_entry(index: u64) -> impl Strategy<Value = Entry> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let payload = prop_oneof![
            Just(EntryPayload::Blank),
            proptest::collection::vec(bytes(), 0..5)
                .prop_map(|batch| EntryPayload::Normal(Proposal::Batch(Arc::new(batch)))),
            bytes().prop_map(|envelope| EntryPayload::Normal(Proposal::Config(envelope))),
            proptest::collection::btree_set(0_u64..9, 1..5).prop_map(|ids| {
                let nodes: BTreeMap<u64, EmptyNode> =
                    ids.iter().map(|id| (*id, EmptyNode {})).collect();
                EntryPayload::Membership(Membership::new_with_defaults(
                    vec![ids],
                    nodes.into_keys(),
                ))
            }),
        ];
        (1_u64..5, payload).prop_map(move |(term, payload)| Entry {
            log_id: LogId::new_term_index(term, index),
            payload,
        })
    }

    proptest! {
        #[test]
        fn entries_read_back_as_they_were_written(entry in any_entry(7)) {
            let bytes = Bytes::from(super::entry(&entry).encode_to_vec());
            prop_assert_eq!(decode_entry(bytes).unwrap(), entry);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_entry(bytes.clone().into());
            if let Ok(request) = wire::AppendRequest::decode(&bytes[..]) {
                let _ = read_append(request);
            }
        }
    }

    #[test]
    fn openraft_1795_appends_whose_entries_do_not_follow_one_another_are_refused() {
        let id = |term, index| Some(wire::LogId { term, index });
        let blank = |term, index| wire::Entry {
            id: id(term, index),
            payload: Some(entry::Payload::Blank(wire::Blank {})),
        };
        let cases = [
            (id(1, 4), vec![blank(1, 5), blank(2, 6)], true),
            (None, vec![blank(0, 0), blank(1, 1)], true),
            (id(1, 4), vec![], true),
            (id(1, 4), vec![blank(1, 6)], false),
            (id(1, 4), vec![blank(1, 4)], false),
            (id(1, 4), vec![blank(1, 5), blank(1, 7)], false),
            (id(3, 4), vec![blank(2, 5)], false),
            (None, vec![blank(1, 1)], false),
            (id(1, u64::MAX), vec![blank(1, 0)], false),
            (
                id(1, 4),
                vec![wire::Entry {
                    id: None,
                    ..blank(1, 5)
                }],
                false,
            ),
            (
                id(1, 4),
                vec![wire::Entry {
                    payload: None,
                    ..blank(1, 5)
                }],
                false,
            ),
        ];
        for (previous, entries, good) in cases {
            let request = wire::AppendRequest {
                vote: Some(wire::Vote {
                    term: 3,
                    node: 1,
                    committed: true,
                }),
                previous,
                entries,
                ..Default::default()
            };
            assert_eq!(read_append(request.clone()).is_ok(), good, "{request:?}");
        }
    }
}
