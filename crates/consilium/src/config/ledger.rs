//! `ledger` of `core.yaml`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use consilium_peer::PrivateOptions;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::duration;

/// `ledger`: what is used here, and Fabric's other keys, which are read and mean nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Ledger {
    /// The state database.
    pub state: State,
    /// Past values of keys.
    pub history: History,
    /// Private data.
    pub pvtdata_store: PvtdataStore,
    /// Snapshots of channels.
    pub snapshots: Snapshots,
    /// Fabric has no key below it.
    #[serde(rename = "blockchain")]
    _blockchain: Option<IgnoredAny>,
}

/// `ledger.state`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct State {
    /// Results that one query gives at most.
    pub total_query_limit: u32,
    /// `goleveldb` or `CouchDB`: here it is one database, which answers both kinds of queries.
    #[serde(rename = "stateDatabase", deserialize_with = "state_database")]
    _state_database: (),
    /// There is no CouchDB to ask, so neither its address nor how many records go into one of its
    /// requests means anything.
    #[serde(rename = "couchDBConfig")]
    _couch_db_config: Option<IgnoredAny>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            total_query_limit: 100_000,
            _state_database: (),
            _couch_db_config: None,
        }
    }
}

/// `ledger.history`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct History {
    /// Whether chaincode may ask for the past values of a key.
    pub enable_history_database: bool,
}

impl Default for History {
    fn default() -> Self {
        Self {
            enable_history_database: true,
        }
    }
}

/// `ledger.pvtdataStore`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PvtdataStore {
    /// Records converted at once when the peer may have what it might not before.
    #[serde(deserialize_with = "positive")]
    pub coll_elg_proc_max_db_batch_size: usize,
    /// Milliseconds between two of these.
    pub coll_elg_proc_db_batches_interval: u64,
    /// Pause between searches for what was not found before.
    #[serde(deserialize_with = "duration")]
    pub deprioritized_data_reconciler_interval: Duration,
    /// Whether each key that is erased as a chaincode purged it is logged.
    pub purged_key_audit_logging: bool,
    /// Every how many blocks Fabric removes what expired: here that happens with the very block.
    #[serde(rename = "purgeInterval")]
    _purge_interval: Option<IgnoredAny>,
}

impl Default for PvtdataStore {
    fn default() -> Self {
        let options = PrivateOptions::default();
        Self {
            coll_elg_proc_max_db_batch_size: options.conversion_batch,
            coll_elg_proc_db_batches_interval: u64::try_from(options.conversion_pause.as_millis())
                .unwrap_or(u64::MAX),
            deprioritized_data_reconciler_interval: options.deprioritized_interval,
            purged_key_audit_logging: options.logs_purged_keys,
            _purge_interval: None,
        }
    }
}

impl PvtdataStore {
    /// Puts the keys into the peer's options.
    pub fn apply(&self, options: &mut PrivateOptions) {
        options.conversion_batch = self.coll_elg_proc_max_db_batch_size;
        options.conversion_pause = Duration::from_millis(self.coll_elg_proc_db_batches_interval);
        options.deprioritized_interval = self.deprioritized_data_reconciler_interval;
        options.logs_purged_keys = self.purged_key_audit_logging;
    }
}

/// `ledger.snapshots`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Snapshots {
    /// Folder of snapshots, an absolute path; `snapshots` in `peer.fileSystemPath` when it is empty.
    root_dir: PathBuf,
}

impl Snapshots {
    /// The folder of snapshots of a peer whose data is in `data`.
    ///
    /// # Errors
    /// With Fabric's text, when a relative path is configured.
    /// fabric: internal/peer/node/config.go, core/ledger/kvledger/kv_ledger_provider.go
    pub fn folder(&self, data: &Path) -> anyhow::Result<PathBuf> {
        let folder = &self.root_dir;
        if folder.as_os_str().is_empty() {
            return Ok(data.join("snapshots"));
        }
        anyhow::ensure!(
            folder.is_absolute(),
            "invalid path: {}. The path for the snapshot dir is expected to be an absolute path",
            folder.display()
        );
        Ok(folder.clone())
    }
}

fn state_database<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    let name = String::deserialize(deserializer)?;
    // fabric: core/ledger/kvledger/txmgmt/privacyenabledstate/db.go
    match name.as_str() {
        "goleveldb" | "CouchDB" => Ok(()),
        _ => Err(serde::de::Error::custom(format!(
            "`{name}` is not a state database; expected goleveldb or CouchDB, which mean the same here"
        ))),
    }
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(serde::de::Error::custom("expected at least 1")),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_fabrics_sample_are_read() {
        let sample = "
blockchain:
state:
  stateDatabase: goleveldb
  totalQueryLimit: 50
  couchDBConfig:
    couchDBAddress: 127.0.0.1:5984
    username:
    maxRetries: 3
    internalQueryLimit: 1000
    maxBatchUpdateSize: 1000
history:
  enableHistoryDatabase: false
pvtdataStore:
  collElgProcMaxDbBatchSize: 500
  collElgProcDbBatchesInterval: 100
  deprioritizedDataReconcilerInterval: 30m
  purgeInterval: 100
  purgedKeyAuditLogging: false
";
        let ledger: Ledger = serde_saphyr::from_str(sample).unwrap();
        assert_eq!(ledger.state.total_query_limit, 50);
        assert!(!ledger.history.enable_history_database);
        let mut options = PrivateOptions::default();
        ledger.pvtdata_store.apply(&mut options);
        assert_eq!(options.conversion_batch, 500);
        assert_eq!(options.conversion_pause, Duration::from_millis(100));
        assert_eq!(options.deprioritized_interval, Duration::from_secs(1800));
        assert!(!options.logs_purged_keys);

        let defaults: Ledger = serde_saphyr::from_str("{}").unwrap();
        assert_eq!(defaults.state.total_query_limit, 100_000);
        assert!(defaults.history.enable_history_database);
        for bad in [
            "state: {stateDatabase: sqlite}",
            "state: {totalQueryLimit: many}",
            "pvtdataStore: {collElgProcMaxDbBatchSize: 0}",
            "pvtdataStore: {purge: 1}",
            "histories: {}",
        ] {
            assert!(serde_saphyr::from_str::<Ledger>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn snapshots_go_where_the_file_says_else_beside_the_ledgers() {
        let folder = |yaml: &str| {
            let ledger: Ledger = serde_saphyr::from_str(yaml).unwrap();
            let folder = ledger.snapshots.folder(Path::new("/data"));
            folder.map_err(|error| error.to_string())
        };
        for yaml in ["{}", "snapshots: {}", "snapshots: {rootDir: ''}"] {
            assert_eq!(folder(yaml), Ok("/data/snapshots".into()), "{yaml}");
        }
        assert_eq!(
            folder("snapshots: {rootDir: /var/snapshots}"),
            Ok("/var/snapshots".into())
        );
        assert_eq!(
            folder("snapshots: {rootDir: here}"),
            Err("invalid path: here. The path for the snapshot dir is expected to be an absolute path".into())
        );
    }
}
