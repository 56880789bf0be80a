//! What the metrics of a node mean: texts for exporters.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Describes the metrics of this crate and of the libraries that do not do it themselves.
///
/// fabric: docs/source/metrics_reference.rst, and the `metrics.go` of each package
pub fn describe_metrics() {
    consilium_transport::describe_metrics();
    consilium_deliver::describe_metrics();
    consilium_orderer::describe_metrics();
    crate::certificates::describe_metrics();

    describe_gauge!("fabric_version", "The active version of Fabric.");
    describe_counter!(
        "logging_entries_checked",
        "Number of log entries checked against the active logging level"
    );
    describe_counter!(
        "logging_entries_written",
        "Number of log entries that are written"
    );

    describe_gauge!("ledger_blockchain_height", "Height of the chain in blocks.");
    describe_histogram!(
        "ledger_blockstorage_commit_time",
        "Time taken in seconds for committing the block to storage."
    );
    describe_histogram!(
        "ledger_block_processing_time",
        "Time taken in seconds for ledger block processing."
    );
    describe_histogram!(
        "ledger_blockstorage_and_pvtdata_commit_time",
        "Time taken in seconds for committing the block and private data to storage."
    );
    describe_histogram!(
        "ledger_statedb_commit_time",
        "Time taken in seconds for committing block changes to state db."
    );
    describe_counter!(
        "ledger_transaction_count",
        "Number of transactions processed."
    );

    describe_counter!("gossip_comm_messages_sent", "Number of messages sent");
    describe_counter!(
        "gossip_comm_messages_received",
        "Number of messages received"
    );
    describe_counter!(
        "gossip_comm_overflow_count",
        "Number of outgoing queue buffer overflows"
    );
    describe_gauge!("gossip_membership_total_peers_known", "Total known peers");
    describe_gauge!(
        "gossip_leader_election_leader",
        "Peer is leader (1) or follower (0)"
    );
    describe_gauge!("gossip_state_height", "Current ledger height");
    describe_histogram!(
        "gossip_state_commit_duration",
        "Time it takes to commit a block in seconds"
    );
    describe_gauge!("gossip_payload_buffer_size", "Size of the payload buffer");
    describe_histogram!(
        "gossip_privdata_send_duration",
        "Time it takes to send missing private data to other peers (in seconds)"
    );
    describe_histogram!(
        "gossip_privdata_pull_duration",
        "Time it takes to pull a missing private data element (in seconds)"
    );
    describe_histogram!(
        "gossip_privdata_fetch_duration",
        "Time it takes to fetch missing private data from peers (in seconds)"
    );
    describe_histogram!(
        "gossip_privdata_retrieve_duration",
        "Time it takes to retrieve missing private data elements from the ledger (in seconds)"
    );
    describe_histogram!(
        "gossip_privdata_reconciliation_duration",
        "Time it takes for reconciliation to complete (in seconds)"
    );
    describe_histogram!(
        "blockcutter_block_fill_duration",
        "The time from first transaction enqueuing to the block being cut in seconds."
    );
    describe_histogram!(
        "broadcast_validate_duration",
        "The time to validate a transaction in seconds."
    );
    describe_histogram!(
        "broadcast_enqueue_duration",
        "The time to enqueue a transaction in seconds."
    );
    describe_counter!(
        "broadcast_processed_count",
        "The number of transactions processed."
    );
    describe_gauge!(
        "participation_status",
        "The channel participation status of the node: 0 if inactive, 1 if active, 2 if \
         onboarding, 3 if failed."
    );
    describe_gauge!(
        "participation_consensus_relation",
        "The channel participation consensus relation of the node: 0 if other, 1 if consenter, 2 \
         if follower, 3 if config-tracker."
    );

    describe_histogram!(
        "endorser_proposal_duration",
        "The time to complete a proposal."
    );
    describe_counter!(
        "endorser_proposals_received",
        "The number of proposals received."
    );
    describe_counter!(
        "endorser_successful_proposals",
        "The number of successful proposals."
    );
    describe_counter!(
        "endorser_proposal_validation_failures",
        "The number of proposals that have failed initial validation."
    );
    describe_counter!(
        "endorser_proposal_acl_failures",
        "The number of proposals that failed ACL checks."
    );
    describe_counter!(
        "endorser_duplicate_transaction_failures",
        "The number of failed proposals due to duplicate transaction ID."
    );
}
