//! The state machine: applying an entry makes a block.
//!
//! The chain of blocks is the state, and it is persistent; a snapshot is nothing but a position in
//! it. Installing one means pulling the blocks that are missing from other orderers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::common;
use consilium_proto::consilium::replication as wire;
use consilium_protocol::block;
use futures_util::{Stream, StreamExt};
use openraft::storage::{
    EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta,
};
use openraft::{EntryPayload, OptionalSend};
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::codec::{self, CodecError};
use super::log::ChannelLog;
use super::types::{Applied, LogId, Proposal, StoredMembership, TypeConfig, position};
use crate::blocks::{APPLIED, BlockWriter, LentWriter, Written};
use crate::cluster::{self, Cluster};
use crate::error::OrdererError;
use crate::rt;
use crate::state::{ChainState, Progress};
use crate::storage::BlockDisk;

type RaftSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, wire::Snapshot>;
type RaftSnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// How long a node waits before it asks the other orderers again for blocks that it lacks.
const PULL_RETRY: Duration = Duration::from_millis(500);
/// Longest wait for the next block of a pull.
const PULL_DEADLINE: Duration = Duration::from_secs(10);

/// A channel's state machine.
pub(crate) struct Machine {
    state: Arc<ChainState>,
    log: ChannelLog,
    cluster: Arc<dyn Cluster>,
    /// Ends a catch-up that cannot get on.
    stop: CancellationToken,
    writer: LentWriter,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl Machine {
    /// Reads where the chain stands. Blocks on the disk.
    pub(crate) fn open(
        state: Arc<ChainState>,
        log: ChannelLog,
        cluster: Arc<dyn Cluster>,
        writer: BlockWriter,
        stop: CancellationToken,
    ) -> Result<Self, OrdererError> {
        let applied = match state.store.extra(APPLIED)? {
            None => wire::Applied::default(),
            Some(bytes) => wire::Applied::decode(bytes).map_err(invalid)?,
        };
        let mut machine = Self {
            log,
            cluster,
            stop,
            writer: LentWriter::new(writer),
            applied: applied.id.as_ref().map(codec::read_log_id),
            membership: StoredMembership::default(),
            state,
        };
        let membership = codec::read_stored_membership(applied.membership.as_ref());
        machine.set_membership(membership.map_err(invalid)?);
        if crate::deliberate::APPLY_TWICE.is_on() {
            // As if it had forgotten what it applied from the log that is there.
            machine.applied = machine.log.purged();
        }
        // The chain may cover a snapshot that was taken, or whose blocks were pulled, after the
        // last block was written.
        if let Some(snapshot) = stored_snapshot(&machine.log)?
            && machine.covers(&snapshot)?
        {
            machine.take_position(&snapshot)?;
        }
        machine.publish(0);
        Ok(machine)
    }

    /// Makes the stored log end where the chain does, at least. A leader applies what two followers
    /// have on disk, maybe before it has: killed then, it has a block and not its entry. openraft
    /// closes such a gap by purging the log up to there, which only a snapshot of that position
    /// allows.
    pub(crate) async fn cover_log(&mut self) -> io::Result<()> {
        if self.applied > self.log.last() {
            self.get_snapshot_builder().await.build_snapshot().await?;
        }
        Ok(())
    }

    /// Whether the chain holds all blocks of the snapshot, the same ones.
    fn covers(&self, snapshot: &wire::Snapshot) -> io::Result<bool> {
        let store = &self.state.store;
        let Some(last) = snapshot.height.checked_sub(1) else {
            return Ok(true);
        };
        if store.height() < snapshot.height {
            return Ok(false);
        }
        let block = store.block(last).map_err(io::Error::other)?;
        let hash = block
            .as_ref()
            .and_then(|block| block.header.as_ref())
            .map(block::header_hash);
        if hash.is_none_or(|hash| hash[..] != snapshot.header_hash[..]) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "block {last} of channel {} differs from the snapshot's",
                    self.state.name
                ),
            ));
        }
        Ok(true)
    }

    fn take_position(&mut self, snapshot: &wire::Snapshot) -> io::Result<()> {
        let id = snapshot.id.as_ref().map(codec::read_log_id);
        if id > self.applied {
            self.applied = id;
            self.set_membership(codec::read_stored_membership(snapshot.membership.as_ref())?);
        }
        Ok(())
    }

    fn set_membership(&mut self, membership: StoredMembership) {
        *self.state.voters.lock() = membership.membership().get_joint_config().to_vec();
        self.membership = membership;
    }

    /// Tells the rest of the channel how far the chain is.
    fn publish(&self, bytes: u64) {
        let (term, index) = self.applied.as_ref().map_or((0, 0), position);
        self.state.progress.send_modify(|progress| {
            *progress = Progress {
                term,
                index,
                bytes: progress.bytes + bytes,
            };
        });
    }

    fn applied_record(&self, id: &LogId) -> Vec<u8> {
        let membership = codec::stored_membership(&self.membership);
        wire::Applied {
            id: Some(codec::log_id(id)),
            membership: Some(membership),
        }
        .encode_to_vec()
    }

    async fn apply_proposal(&mut self, id: &LogId, proposal: Proposal) -> io::Result<Applied> {
        let index = id.index();
        let applied = self.applied_record(id);
        let written = match proposal {
            Proposal::Batch(envelopes) => {
                let envelopes = Arc::unwrap_or_clone(envelopes);
                self.writer
                    .run(move |writer| writer.write_batch(envelopes, index, applied))
                    .await?
            }
            Proposal::Config(envelope) => {
                let state = self.state.clone();
                self.writer
                    .run(move |writer| {
                        let publish = |next: &_| state.set_configuration(next);
                        writer.write_config(envelope, index, applied, publish)
                    })
                    .await?
            }
        };
        let channel = self.state.name.clone();
        Ok(match written {
            Written::Block(number) => {
                self.state.wrote_block(number);
                Applied::Block(number)
            }
            Written::Config(number, configuration) => {
                tracing::info!(
                    channel,
                    block = number,
                    sequence = configuration.config.sequence(),
                    consenters = ?configuration.ids.consenter_ids,
                    "configuration changed"
                );
                self.state.wrote_block(number);
                Applied::Block(number)
            }
            Written::Known => Applied::Nothing,
            Written::Refused(reason) => {
                tracing::warn!(
                    channel,
                    index,
                    reason,
                    "ordered config message is not valid"
                );
                Applied::Refused(reason)
            }
        })
    }

    /// Pulls blocks until the chain covers the snapshot.
    async fn catch_up(&mut self, snapshot: &wire::Snapshot) -> io::Result<()> {
        while !self.covers(snapshot)? {
            let start = self.state.store.height();
            let end = snapshot.height - 1;
            tracing::info!(
                channel = self.state.name,
                start,
                end,
                "pulling blocks from other orderers"
            );
            for consenter in self.state.others() {
                if let Err(error) = self.pull(&consenter.address, end).await {
                    let from = &consenter.address;
                    tracing::warn!(channel = self.state.name, from, %error, "pulling blocks ended");
                }
                if self.state.store.height() > end {
                    break;
                }
            }
            if self.state.store.height() <= end {
                rt::sleep(PULL_RETRY).await;
            }
        }
        Ok(())
    }

    /// Pulls blocks up to `end` from one orderer, as far as it has them.
    async fn pull(&mut self, address: &str, end: u64) -> io::Result<()> {
        let request = wire::BlocksRequest {
            channel: self.state.name.clone(),
            start: self.state.store.height(),
            end,
        };
        let mut blocks = cluster::open(self.cluster.blocks(address, request)).await?;
        while let Some(response) = cluster::next(&mut blocks, PULL_DEADLINE).await {
            let bytes: Bytes = response?.block;
            let state = self.state.clone();
            self.writer
                .run(move |writer| {
                    let block = common::Block::decode(bytes).map_err(invalid)?;
                    writer.adopt(&block, |next| state.set_configuration(next))?;
                    state.wrote_block(block::number(&block));
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> OrdererError {
    OrdererError::Storage(io::Error::new(io::ErrorKind::InvalidData, error))
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = wire::Snapshot;
    type SnapshotBuilder = PositionBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let id = entry.log_id;
            let mut bytes = 0;
            let outcome = match entry.payload {
                EntryPayload::Blank => Applied::Nothing,
                EntryPayload::Membership(membership) => {
                    self.set_membership(StoredMembership::new(Some(id), membership));
                    Applied::Nothing
                }
                EntryPayload::Normal(proposal) => {
                    bytes = proposal.bytes();
                    self.apply_proposal(&id, proposal).await?
                }
            };
            self.applied = Some(id);
            self.publish(bytes);
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> PositionBuilder {
        let header_hash = self.state.store.last_header_hash().unwrap_or_default();
        PositionBuilder {
            store: self.state.store.clone(),
            channel: self.state.name.clone(),
            log: self.log.clone(),
            snapshot: wire::Snapshot {
                id: self.applied.as_ref().map(codec::log_id),
                membership: Some(codec::stored_membership(&self.membership)),
                height: self.state.store.height(),
                header_hash,
            },
        }
    }

    async fn install_snapshot(
        &mut self,
        _: &RaftSnapshotMeta,
        snapshot: wire::Snapshot,
    ) -> io::Result<()> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                return Err(io::Error::other("the channel is stopping"));
            }
            caught_up = self.catch_up(&snapshot) => caught_up?,
        }
        // Pulled blocks have no log entries to be made from again: they must be on disk first.
        sync(self.state.store.clone()).await?;
        self.log.save_snapshot(&snapshot).await?;
        self.take_position(&snapshot)?;
        self.publish(0);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        let log = self.log.clone();
        let stored = rt::blocking(move || stored_snapshot(&log)).await??;
        stored.map(to_raft).transpose()
    }
}

/// The newest snapshot on disk.
fn stored_snapshot(log: &ChannelLog) -> io::Result<Option<wire::Snapshot>> {
    let Some(bytes) = log.snapshot()? else {
        return Ok(None);
    };
    Ok(Some(
        wire::Snapshot::decode(bytes).map_err(CodecError::from)?,
    ))
}

/// Fixes a position of the chain as a snapshot.
pub(crate) struct PositionBuilder {
    store: Arc<dyn BlockDisk>,
    channel: String,
    log: ChannelLog,
    snapshot: wire::Snapshot,
}

impl RaftSnapshotBuilder<TypeConfig> for PositionBuilder {
    type SnapshotData = wire::Snapshot;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        // Entries may be purged once a snapshot covers them, so their blocks must be durable.
        sync(self.store.clone()).await?;
        self.log.save_snapshot(&self.snapshot).await?;
        crate::metrics::snapshot_taken(&self.channel, self.snapshot.height);
        to_raft(self.snapshot.clone())
    }
}

/// Makes all blocks durable that were appended before.
async fn sync(store: Arc<dyn BlockDisk>) -> io::Result<()> {
    let mark = [(
        b"raft/synced".to_vec(),
        store.height().to_be_bytes().to_vec(),
    )];
    rt::blocking(move || store.put_extra(&mark, true))
        .await?
        .map_err(io::Error::other)
}

/// A stored or received position as openraft has it.
pub(crate) fn to_raft(snapshot: wire::Snapshot) -> io::Result<RaftSnapshot> {
    let meta = SnapshotMeta {
        last_log_id: snapshot.id.as_ref().map(codec::read_log_id),
        last_membership: codec::read_stored_membership(snapshot.membership.as_ref())?,
    };
    Ok(Snapshot { meta, snapshot })
}
