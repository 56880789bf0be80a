//! A channel's configuration as ordering needs it: what config blocks say, and which ids the
//! consenters have. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use consilium_proto::{common, etcdraft};
use consilium_protocol::block;
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::config::consenters::first_ids;
use consilium_protocol::duration::{self, Signed};

use crate::consenters::{self, Consenter};
use crate::raft::Timing;
use crate::raft::membership::consenter_of;

/// A configuration and its consenters. Cheap to clone.
#[derive(Clone)]
pub struct Configuration {
    /// What the config block says.
    pub config: Arc<ChannelConfig>,
    /// The ids of the consenters in the order of their list, and the next free one.
    pub ids: etcdraft::BlockMetadata,
    /// The consenters.
    pub consenters: Arc<Vec<Consenter>>,
    /// Consenters that the last change of the list has removed: the Raft group may still need them
    /// until it has followed the change.
    pub leaving: Arc<Vec<Consenter>>,
    raft: etcdraft::Options,
}

impl Configuration {
    fn new(
        config: Arc<ChannelConfig>,
        ids: etcdraft::BlockMetadata,
        before: &[Consenter],
    ) -> Result<Self, String> {
        let consenters = consenters::of(&config, &ids)?;
        let metadata = config.raft_metadata().map_err(|error| error.to_string())?;
        let raft = metadata.options.ok_or("no etcdraft options")?;
        let mut leaving = before.to_vec();
        leaving.retain(|old| !consenters.iter().any(|new| new.id == old.id));
        Ok(Self {
            config,
            ids: etcdraft::BlockMetadata {
                raft_index: 0,
                ..ids
            },
            consenters: Arc::new(consenters),
            leaving: Arc::new(leaving),
            raft,
        })
    }

    /// The configuration that a config block brings, by itself.
    pub fn of_block(config_block: &common::Block) -> Result<Self, String> {
        let config = ChannelConfig::from_block(config_block).map_err(|error| error.to_string())?;
        let ids = ids_of(config_block, &config)?;
        Self::new(Arc::new(config), ids, &[])
    }

    /// The one that follows this one.
    pub fn followed_by(
        &self,
        config: Arc<ChannelConfig>,
        ids: etcdraft::BlockMetadata,
    ) -> Result<Self, String> {
        let same_list = same_ids(&self.ids, &ids);
        let mut next = Self::new(config, ids, &self.consenters)?;
        if same_list {
            next.leaving = self.leaving.clone();
        }
        Ok(next)
    }

    /// Whether both list the same consenters.
    pub fn lists_the_same(&self, other: &Self) -> bool {
        same_ids(&self.ids, &other.ids)
    }

    /// Ids of the consenters.
    pub fn consenter_ids(&self) -> BTreeSet<u64> {
        self.ids.consenter_ids.iter().copied().collect()
    }

    /// `host:port` of the consenter that a Raft node belongs to.
    pub fn address(&self, node: u64) -> Option<&str> {
        let id = consenter_of(node);
        let mut known = self.consenters.iter().chain(self.leaving.iter());
        Some(&known.find(|consenter| consenter.id == id)?.address)
    }

    /// Most blocks that may be in flight.
    pub fn max_inflight_blocks(&self) -> u32 {
        self.raft.max_inflight_blocks
    }

    /// Bytes of envelopes between two snapshots.
    pub fn snapshot_interval(&self) -> u64 {
        match self.raft.snapshot_interval_size {
            // Fabric's default.
            0 => 16 << 20,
            bytes => u64::from(bytes),
        }
    }

    /// How the channel's Raft group keeps time: an election comes after one to two times the
    /// configured election ticks without a heartbeat.
    pub fn timing(&self) -> Timing {
        let tick = match duration::parse(&self.raft.tick_interval) {
            Some(Signed::Forward(tick)) if !tick.is_zero() => tick,
            // Fabric's default; a channel with another value was not accepted.
            _ => Duration::from_millis(500),
        };
        let election = tick.saturating_mul(self.raft.election_tick);
        Timing {
            heartbeat: tick.saturating_mul(self.raft.heartbeat_tick),
            election_min: election,
            election_max: election.saturating_mul(2),
        }
    }
}

fn same_ids(one: &etcdraft::BlockMetadata, other: &etcdraft::BlockMetadata) -> bool {
    let set = |ids: &etcdraft::BlockMetadata| -> BTreeSet<u64> {
        ids.consenter_ids.iter().copied().collect()
    };
    set(one) == set(other)
}

/// The consenter ids that a block carries.
pub(crate) fn ids_of(
    block: &common::Block,
    config: &ChannelConfig,
) -> Result<etcdraft::BlockMetadata, String> {
    if block::number(block) == 0 {
        let metadata = config.raft_metadata().map_err(|error| error.to_string())?;
        return Ok(first_ids(metadata.consenters.len()));
    }
    let metadata = block::consenter_metadata(block).map_err(|error| error.to_string())?;
    block::unwrap_consenter_metadata(&metadata).map_err(|error| error.to_string())
}
