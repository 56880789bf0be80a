//! Metrics, under the names that Fabric's orderer gives them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use consilium_proto::common::{HeaderType, Status};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::orderer::{Participation, Relation, Standing};

/// Describes the metrics of consensus for exporters. fabric: docs/source/metrics_reference.rst
pub fn describe() {
    describe_gauge!(
        "consensus_etcdraft_cluster_size",
        "Number of nodes in this channel."
    );
    describe_gauge!(
        "consensus_etcdraft_is_leader",
        "The leadership status of the current node: 1 if it is the leader else 0."
    );
    describe_gauge!(
        "consensus_etcdraft_active_nodes",
        "Number of active nodes in this channel."
    );
    describe_gauge!(
        "consensus_etcdraft_committed_block_number",
        "The block number of the latest block committed."
    );
    describe_gauge!(
        "consensus_etcdraft_snapshot_block_number",
        "The block number of the latest snapshot."
    );
    describe_counter!(
        "consensus_etcdraft_leader_changes",
        "The number of leader changes since process start."
    );
    describe_counter!(
        "consensus_etcdraft_proposal_failures",
        "The number of proposal failures."
    );
    describe_counter!(
        "consensus_etcdraft_config_proposals_received",
        "The total number of proposals received for config type transactions."
    );
    describe_counter!(
        "consensus_etcdraft_normal_proposals_received",
        "The total number of proposals received for normal type transactions."
    );
    describe_histogram!(
        "consensus_etcdraft_data_persist_duration",
        "The time taken for etcd/raft data to be persisted in storage (in seconds)."
    );
    describe_counter!(
        "consensus_log_writes",
        "Writes of Raft logs, of all channels; several share one sync of the disk."
    );
    describe_counter!("consensus_log_syncs", "Syncs of the disk for Raft logs.");
}

pub(crate) fn channel_opened(channel: &str, consenters: usize, height: u64) {
    let labels = [("channel", channel.to_owned())];
    gauge!("consensus_etcdraft_is_leader", &labels).set(0.0);
    gauge!("consensus_etcdraft_active_nodes", &labels).set(0.0);
    gauge!("ledger_blockchain_height", &labels).set(height as f64);
    gauge!("consensus_etcdraft_committed_block_number", &labels).set(height as f64 - 1.0);
    cluster_size(channel, consenters);
}

pub(crate) fn cluster_size(channel: &str, consenters: usize) {
    gauge!("consensus_etcdraft_cluster_size", "channel" => channel.to_owned())
        .set(consenters as f64);
}

/// Consenters that answer, as the leader sees it; on other nodes 0, as with Fabric.
pub(crate) fn active_nodes(channel: &str, active: usize) {
    gauge!("consensus_etcdraft_active_nodes", "channel" => channel.to_owned()).set(active as f64);
}

/// The numbers are Fabric's: orderer/common/channelparticipation metrics.
pub(crate) fn participation(channel: &str, participation: Participation) {
    let labels = [("channel", channel.to_owned())];
    let status = match participation.status {
        Standing::Inactive => 0.0,
        Standing::Active => 1.0,
        Standing::Onboarding => 2.0,
        Standing::Failed => 3.0,
    };
    let relation = match participation.relation {
        Relation::Consenter => 1.0,
        Relation::Follower => 2.0,
    };
    gauge!("participation_status", &labels).set(status);
    gauge!("participation_consensus_relation", &labels).set(relation);
}

pub(crate) fn snapshot_taken(channel: &str, height: u64) {
    gauge!("consensus_etcdraft_snapshot_block_number", "channel" => channel.to_owned())
        .set(height as f64 - 1.0);
}

/// One write of Raft logs, of the channels whose entries and votes went together.
pub(crate) fn log_written(
    channels: &BTreeSet<Arc<str>>,
    writes: usize,
    synced: bool,
    took: Duration,
) {
    for channel in channels {
        histogram!("consensus_etcdraft_data_persist_duration", "channel" => channel.to_string())
            .record(took.as_secs_f64());
    }
    counter!("consensus_log_writes").increment(writes as u64);
    if synced {
        counter!("consensus_log_syncs").increment(1);
    }
}

pub(crate) fn block_written(channel: &str, number: u64) {
    let labels = [("channel", channel.to_owned())];
    gauge!("ledger_blockchain_height", &labels).set(number as f64 + 1.0);
    gauge!("consensus_etcdraft_committed_block_number", &labels).set(number as f64);
}

pub(crate) fn leadership(channel: &str, leads: bool) {
    gauge!("consensus_etcdraft_is_leader", "channel" => channel.to_owned())
        .set(f64::from(u8::from(leads)));
}

pub(crate) fn leader_changed(channel: &str) {
    counter!("consensus_etcdraft_leader_changes", "channel" => channel.to_owned()).increment(1);
}

pub(crate) fn proposals_received(channel: &str, config: bool) {
    let name = if config {
        "consensus_etcdraft_config_proposals_received"
    } else {
        "consensus_etcdraft_normal_proposals_received"
    };
    counter!(name, "channel" => channel.to_owned()).increment(1);
}

pub(crate) fn proposal_failed(channel: &str) {
    counter!("consensus_etcdraft_proposal_failures", "channel" => channel.to_owned()).increment(1);
}

pub(crate) fn batch_filled(channel: &str, waited: Duration) {
    histogram!("blockcutter_block_fill_duration", "channel" => channel.to_owned())
        .record(waited.as_secs_f64());
}

/// One Broadcast message: how long checking and ordering took, and how it was answered.
pub(crate) fn broadcast(
    channel: &str,
    kind: i32,
    status: Status,
    validated: Duration,
    enqueued: Duration,
) {
    let kind = HeaderType::try_from(kind)
        .map_or_else(|_| kind.to_string(), |kind| kind.as_str_name().to_owned());
    let labels = [
        ("channel", channel.to_owned()),
        ("type", kind),
        ("status", status.as_str_name().to_owned()),
    ];
    counter!("broadcast_processed_count", &labels).increment(1);
    histogram!("broadcast_validate_duration", &labels).record(validated.as_secs_f64());
    histogram!("broadcast_enqueue_duration", &labels).record(enqueued.as_secs_f64());
}
