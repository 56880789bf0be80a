//! `peer.gossip.pvtData` of `core.yaml`.

use std::time::Duration;

/// How private data is exchanged; names and defaults are Fabric's.
#[derive(Clone, Copy, Debug)]
pub struct PrivateOptions {
    /// Longest search for missing data before a block is committed without (`pullRetryThreshold`).
    pub pull_retry_threshold: Duration,
    /// How long another peer may take to store what is pushed (`pushAckTimeout`).
    pub push_ack_timeout: Duration,
    /// Data that expires within that many blocks is not asked for (`btlPullMargin`).
    pub btl_pull_margin: u64,
    /// Whether missing data is looked for after the commit (`reconciliationEnabled`).
    pub reconciliation_enabled: bool,
    /// Blocks per request for missing data (`reconcileBatchSize`).
    pub reconcile_batch_size: usize,
    /// Pause between searches (`reconcileSleepInterval`).
    pub reconcile_sleep_interval: Duration,
    /// Pause between searches for what was not found before
    /// (`ledger.pvtdataStore.deprioritizedDataReconcilerInterval`).
    pub deprioritized_interval: Duration,
    /// Records converted at once when the peer may have what it might not before
    /// (`ledger.pvtdataStore.collElgProcMaxDbBatchSize`).
    pub conversion_batch: usize,
    /// Pause between two of these (`ledger.pvtdataStore.collElgProcDbBatchesInterval`).
    pub conversion_pause: Duration,
    /// Whether each key that is erased as a chaincode purged it is logged
    /// (`ledger.pvtdataStore.purgedKeyAuditLogging`).
    pub logs_purged_keys: bool,
    /// Whether data of invalid transactions is left to reconciliation
    /// (`skipPullingInvalidTransactionsDuringCommit`).
    pub skip_pulling_invalid: bool,
    /// Blocks after which data is dropped whose transaction did not come
    /// (`transientstoreMaxBlockRetention`).
    pub transient_retention: u64,
    /// For the implicit collection of the own organization
    /// (`implicitCollectionDisseminationPolicy`).
    pub implicit: DisseminationPolicy,
}

/// To how many peers a write set goes at endorsement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisseminationPolicy {
    /// That many have to acknowledge.
    pub required: u32,
    /// That many are tried.
    pub maximum: u32,
}

impl Default for PrivateOptions {
    fn default() -> Self {
        Self {
            pull_retry_threshold: Duration::from_secs(60),
            push_ack_timeout: Duration::from_secs(3),
            btl_pull_margin: 10,
            reconciliation_enabled: true,
            reconcile_batch_size: 10,
            reconcile_sleep_interval: Duration::from_secs(60),
            deprioritized_interval: Duration::from_secs(3600),
            conversion_batch: 5000,
            conversion_pause: Duration::from_secs(1),
            logs_purged_keys: true,
            skip_pulling_invalid: false,
            transient_retention: 20_000,
            implicit: DisseminationPolicy {
                required: 0,
                maximum: 1,
            },
        }
    }
}
