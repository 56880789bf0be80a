//! `peer.gossip` of `core.yaml`.

use std::time::Duration;

use anyhow::ensure;
use consilium_gossip::{BlockOptions, GossipOptions, Leadership, election::ElectionTimes};
use consilium_peer::{DisseminationPolicy, PrivateOptions};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::duration;

/// `peer.gossip`: what is used here, and Fabric's other keys, which are read and mean nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Gossip {
    /// Peers of the own organization to ask first.
    #[serde(deserialize_with = "endpoints")]
    pub bootstrap: Vec<String>,
    /// Where the own organization's peers reach this one; empty: `peer.address`.
    #[serde(deserialize_with = "text")]
    pub endpoint: String,
    /// Where other organizations' peers reach this one; empty: they do not hear of it.
    #[serde(deserialize_with = "text")]
    pub external_endpoint: String,
    /// How often the peer says that it lives.
    #[serde(deserialize_with = "duration")]
    pub alive_time_interval: Duration,
    /// Silence after which another peer counts as dead.
    #[serde(deserialize_with = "duration")]
    pub alive_expiration_timeout: Duration,
    /// How often peers without a connection are dialled.
    #[serde(deserialize_with = "duration")]
    pub reconnect_interval: Duration,
    /// How often a new height is told.
    #[serde(deserialize_with = "duration")]
    pub publish_state_info_interval: Duration,
    /// How long connecting may take.
    #[serde(deserialize_with = "duration")]
    pub dial_timeout: Duration,
    /// How long the first message of another peer may take.
    #[serde(deserialize_with = "duration")]
    pub conn_timeout: Duration,
    /// Messages that may wait on one connection.
    pub send_buff_size: usize,
    /// Private data.
    pub pvt_data: PvtData,
    /// Whether the organization's peers elect who pulls blocks from the ordering service.
    pub use_leader_election: bool,
    /// Whether this peer pulls, if nobody is elected; unless the file says otherwise it does.
    pub org_leader: Option<bool>,
    /// How the election goes.
    pub election: Election,
    /// How a peer that is behind catches up.
    pub state: State,
    /// How many of the latest blocks others may pull.
    pub max_block_count_to_store: u64,
    /// How often a block is pushed, each time to others.
    pub propagate_iterations: usize,
    /// To how many peers at once.
    pub propagate_peer_num: usize,
    /// How often the latest blocks are asked for.
    #[serde(deserialize_with = "duration")]
    pub pull_interval: Duration,
    /// Of how many peers.
    pub pull_peer_num: usize,
    /// How long their answers are awaited.
    #[serde(deserialize_with = "duration")]
    pub digest_wait_time: Duration,
    /// How long the blocks are awaited then.
    #[serde(deserialize_with = "duration")]
    pub response_wait_time: Duration,
    /// How often heights are asked for.
    #[serde(deserialize_with = "duration")]
    pub request_state_info_interval: Duration,
    #[serde(rename = "membershipTrackerInterval")]
    _membership_tracker_interval: Option<IgnoredAny>,
    #[serde(rename = "maxPropagationBurstLatency")]
    _max_propagation_burst_latency: Option<IgnoredAny>,
    #[serde(rename = "maxPropagationBurstSize")]
    _max_propagation_burst_size: Option<IgnoredAny>,
    #[serde(rename = "stateInfoRetentionInterval")]
    _state_info_retention_interval: Option<IgnoredAny>,
    #[serde(rename = "publishCertPeriod")]
    _publish_cert_period: Option<IgnoredAny>,
    #[serde(rename = "skipBlockVerification")]
    _skip_block_verification: Option<IgnoredAny>,
    #[serde(rename = "recvBuffSize")]
    _recv_buff_size: Option<IgnoredAny>,
    #[serde(rename = "requestWaitTime")]
    _request_wait_time: Option<IgnoredAny>,
    #[serde(rename = "maxConnectionAttempts")]
    _max_connection_attempts: Option<IgnoredAny>,
    #[serde(rename = "msgExpirationFactor")]
    _msg_expiration_factor: Option<IgnoredAny>,
}

impl Default for Gossip {
    fn default() -> Self {
        let blocks = BlockOptions::default();
        Self {
            bootstrap: Vec::new(),
            endpoint: String::new(),
            external_endpoint: String::new(),
            alive_time_interval: Duration::from_secs(5),
            alive_expiration_timeout: Duration::from_secs(25),
            reconnect_interval: Duration::from_secs(25),
            publish_state_info_interval: Duration::from_secs(4),
            dial_timeout: Duration::from_secs(3),
            conn_timeout: Duration::from_secs(2),
            send_buff_size: 200,
            pvt_data: PvtData::default(),
            use_leader_election: false,
            org_leader: None,
            election: Election::default(),
            state: State::default(),
            max_block_count_to_store: blocks.recent,
            propagate_iterations: blocks.propagate_iterations,
            propagate_peer_num: blocks.propagate_peers,
            pull_interval: blocks.pull_interval,
            pull_peer_num: blocks.pull_peers,
            digest_wait_time: blocks.digest_wait,
            response_wait_time: blocks.response_wait,
            request_state_info_interval: Duration::from_secs(4),
            _membership_tracker_interval: None,
            _max_propagation_burst_latency: None,
            _max_propagation_burst_size: None,
            _state_info_retention_interval: None,
            _publish_cert_period: None,
            _skip_block_verification: None,
            _recv_buff_size: None,
            _request_wait_time: None,
            _max_connection_attempts: None,
            _msg_expiration_factor: None,
        }
    }
}

impl Gossip {
    /// Puts the keys into gossip's options, whose certificates and identity are set already.
    ///
    /// # Errors
    /// Keys that contradict one another.
    pub fn apply(&self, options: &mut GossipOptions) -> anyhow::Result<()> {
        ensure!(
            !(self.use_leader_election && self.org_leader == Some(true)),
            "peer.gossip: orgLeader and useLeaderElection are both true; set orgLeader to false for leaders that are elected"
        );
        if !self.endpoint.is_empty() {
            options.endpoint.clone_from(&self.endpoint);
        }
        options
            .external_endpoint
            .clone_from(&self.external_endpoint);
        options.bootstrap.clone_from(&self.bootstrap);
        // A period of zero would be no pause at all.
        let positive = |period: Duration| period.max(Duration::from_millis(10));
        options.alive_interval = positive(self.alive_time_interval);
        options.alive_expiration = self.alive_expiration_timeout;
        options.reconnect_interval = positive(self.reconnect_interval);
        options.state_info_interval = positive(self.publish_state_info_interval);
        options.dial_timeout = self.dial_timeout;
        options.connection_timeout = self.conn_timeout;
        options.send_buffer = self.send_buff_size.max(1);
        options.request_state_info_interval = positive(self.request_state_info_interval);
        options.leadership = if self.use_leader_election {
            Leadership::Elected(self.election.times())
        } else {
            Leadership::Static(self.org_leader.unwrap_or(true))
        };
        let State {
            enabled,
            check_interval,
            response_timeout,
            batch_size,
            block_buffer_size,
            max_retries,
            ..
        } = self.state;
        options.blocks = BlockOptions {
            propagate_iterations: self.propagate_iterations,
            propagate_peers: self.propagate_peer_num,
            pull_interval: positive(self.pull_interval),
            pull_peers: self.pull_peer_num,
            digest_wait: self.digest_wait_time,
            response_wait: self.response_wait_time,
            recent: self.max_block_count_to_store,
            transfer: enabled,
            check_interval: positive(check_interval),
            response_timeout,
            batch: batch_size.max(1),
            retries: max_retries,
            buffer: block_buffer_size.max(1),
            ..options.blocks
        };
        Ok(())
    }
}

/// `peer.gossip.election`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Election {
    /// Longest wait for other peers at the start.
    #[serde(deserialize_with = "duration")]
    pub startup_grace_period: Duration,
    /// How often their number is looked at meanwhile.
    #[serde(deserialize_with = "duration")]
    pub membership_sample_interval: Duration,
    /// Silence after which there is no leader any more.
    #[serde(deserialize_with = "duration")]
    pub leader_alive_threshold: Duration,
    /// How long proposals of others are awaited.
    #[serde(deserialize_with = "duration")]
    pub leader_election_duration: Duration,
}

impl Default for Election {
    fn default() -> Self {
        let times = ElectionTimes::default();
        Self {
            startup_grace_period: times.startup_grace,
            membership_sample_interval: times.membership_sample,
            leader_alive_threshold: times.leader_alive,
            leader_election_duration: times.duration,
        }
    }
}

impl Election {
    /// The same as gossip's options; none is zero, as that would be no pause at all, and none beyond what
    /// clocks can tell.
    fn times(&self) -> ElectionTimes {
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
        let positive = |time: Duration| time.clamp(Duration::from_millis(10), LONGEST);
        ElectionTimes {
            startup_grace: self.startup_grace_period.min(LONGEST),
            membership_sample: positive(self.membership_sample_interval),
            leader_alive: positive(self.leader_alive_threshold),
            duration: positive(self.leader_election_duration),
        }
    }
}

/// `peer.gossip.state`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct State {
    /// Whether blocks are asked for that are missing.
    pub enabled: bool,
    /// How often is looked whether there are some.
    #[serde(deserialize_with = "duration")]
    pub check_interval: Duration,
    /// How long an answer may take.
    #[serde(deserialize_with = "duration")]
    pub response_timeout: Duration,
    /// Blocks in one request.
    pub batch_size: u64,
    /// How far ahead of the ledger a pushed block may be.
    pub block_buffer_size: u64,
    /// How often one request is repeated.
    pub max_retries: usize,
    #[serde(rename = "channelSize")]
    _channel_size: Option<IgnoredAny>,
}

impl Default for State {
    fn default() -> Self {
        let blocks = BlockOptions::default();
        Self {
            enabled: blocks.transfer,
            check_interval: blocks.check_interval,
            response_timeout: blocks.response_timeout,
            batch_size: blocks.batch,
            block_buffer_size: blocks.buffer,
            max_retries: blocks.retries,
            _channel_size: None,
        }
    }
}

/// `peer.gossip.pvtData`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PvtData {
    /// Longest search for missing data at commit.
    #[serde(deserialize_with = "duration")]
    pub pull_retry_threshold: Duration,
    /// How long another peer may take to store what is pushed.
    #[serde(deserialize_with = "duration")]
    pub push_ack_timeout: Duration,
    /// Data that expires within that many blocks is not asked for.
    pub btl_pull_margin: u64,
    /// Blocks per request of reconciliation.
    pub reconcile_batch_size: usize,
    /// Pause between reconciliations.
    #[serde(deserialize_with = "duration")]
    pub reconcile_sleep_interval: Duration,
    /// Whether missing data is looked for later.
    pub reconciliation_enabled: bool,
    /// Whether data of invalid transactions is left to reconciliation.
    pub skip_pulling_invalid_transactions_during_commit: bool,
    /// Own implicit collection.
    pub implicit_collection_dissemination_policy: Implicit,
    /// Blocks after which data is dropped whose transaction did not come.
    pub transientstore_max_block_retention: u64,
}

impl Default for PvtData {
    fn default() -> Self {
        let options = PrivateOptions::default();
        Self {
            pull_retry_threshold: options.pull_retry_threshold,
            push_ack_timeout: options.push_ack_timeout,
            btl_pull_margin: options.btl_pull_margin,
            reconcile_batch_size: options.reconcile_batch_size,
            reconcile_sleep_interval: options.reconcile_sleep_interval,
            reconciliation_enabled: options.reconciliation_enabled,
            skip_pulling_invalid_transactions_during_commit: options.skip_pulling_invalid,
            implicit_collection_dissemination_policy: Implicit::default(),
            transientstore_max_block_retention: options.transient_retention,
        }
    }
}

impl PvtData {
    /// The same as the peer's options.
    pub fn options(&self) -> PrivateOptions {
        let implicit = &self.implicit_collection_dissemination_policy;
        PrivateOptions {
            pull_retry_threshold: self.pull_retry_threshold,
            push_ack_timeout: self.push_ack_timeout,
            btl_pull_margin: self.btl_pull_margin,
            reconciliation_enabled: self.reconciliation_enabled,
            reconcile_batch_size: self.reconcile_batch_size,
            // Zero would be no pause at all.
            reconcile_sleep_interval: self
                .reconcile_sleep_interval
                .max(Duration::from_millis(100)),
            // As in Fabric zero is no number of blocks: the default holds.
            transient_retention: match self.transientstore_max_block_retention {
                0 => PrivateOptions::default().transient_retention,
                blocks => blocks,
            },
            skip_pulling_invalid: self.skip_pulling_invalid_transactions_during_commit,
            implicit: DisseminationPolicy {
                required: implicit.required_peer_count,
                maximum: implicit.max_peer_count,
            },
            ..PrivateOptions::default()
        }
    }
}

/// `implicitCollectionDisseminationPolicy`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Implicit {
    /// Peers that have to acknowledge.
    pub required_peer_count: u32,
    /// Peers that are tried.
    pub max_peer_count: u32,
}

impl Default for Implicit {
    fn default() -> Self {
        Self {
            required_peer_count: 0,
            max_peer_count: 1,
        }
    }
}

/// A text; a key without value is an empty one.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// One text with endpoints between blanks, or a list.
fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Endpoints {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Endpoints::deserialize(deserializer)? {
        Endpoints::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
        Endpoints::List(list) => list,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_testkit::{NodeOu, Organization};

    #[test]
    fn the_keys_of_fabrics_sample_are_read() {
        let sample = "
bootstrap: 127.0.0.1:7051
useLeaderElection: false
orgLeader: true
membershipTrackerInterval: 5s
endpoint:
maxBlockCountToStore: 10
maxPropagationBurstLatency: 10ms
maxPropagationBurstSize: 10
propagateIterations: 1
propagatePeerNum: 3
pullInterval: 4s
pullPeerNum: 3
requestStateInfoInterval: 4s
publishStateInfoInterval: 4s
stateInfoRetentionInterval:
publishCertPeriod: 10s
skipBlockVerification: false
dialTimeout: 3s
connTimeout: 2s
recvBuffSize: 20
sendBuffSize: 200
digestWaitTime: 1s
requestWaitTime: 1500ms
responseWaitTime: 2s
aliveTimeInterval: 5s
aliveExpirationTimeout: 25s
reconnectInterval: 25s
maxConnectionAttempts: 120
msgExpirationFactor: 20
externalEndpoint:
election:
  startupGracePeriod: 15s
  membershipSampleInterval: 1s
  leaderAliveThreshold: 10s
  leaderElectionDuration: 5s
pvtData:
  pullRetryThreshold: 60s
  transientstoreMaxBlockRetention: 1000
  pushAckTimeout: 3s
  btlPullMargin: 10
  reconcileBatchSize: 10
  reconcileSleepInterval: 1m
  reconciliationEnabled: true
  skipPullingInvalidTransactionsDuringCommit: false
  implicitCollectionDisseminationPolicy:
    requiredPeerCount: 1
    maxPeerCount: 2
state:
  enabled: false
  checkInterval: 10s
  responseTimeout: 3s
  batchSize: 10
  blockBufferSize: 20
  maxRetries: 3
";
        let gossip: Gossip = serde_saphyr::from_str(sample).unwrap();
        assert_eq!(gossip.bootstrap, ["127.0.0.1:7051"]);
        assert_eq!(
            (gossip.endpoint.as_str(), gossip.external_endpoint.as_str()),
            ("", "")
        );
        let private = gossip.pvt_data.options();
        assert_eq!(
            (private.implicit.required, private.implicit.maximum),
            (1, 2)
        );
        assert_eq!(private.reconcile_sleep_interval, Duration::from_secs(60));
        assert_eq!(private.transient_retention, 1000);

        let election = gossip.election.times();
        assert_eq!(election, ElectionTimes::default(), "Fabric's defaults");
        let (ours, read) = (State::default(), &gossip.state);
        assert_eq!(
            (ours.check_interval, ours.batch_size, ours.max_retries),
            (read.check_interval, read.batch_size, read.max_retries)
        );

        for (yaml, count) in [
            ("bootstrap: [a:1, b:2]", Some(2)),
            ("bootstrap: 'a:1 b:2 c:3'", Some(3)),
            ("bootstrap: ''", Some(0)),
            ("{}", Some(0)),
            ("bootstraps: a:1", None),
            ("pvtData: {pullRetry: 1s}", None),
        ] {
            let read = serde_saphyr::from_str::<Gossip>(yaml).ok();
            assert_eq!(read.map(|gossip| gossip.bootstrap.len()), count, "{yaml}");
        }
    }

    #[test]
    fn who_pulls_is_said_in_one_way() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let signer = organization.signer("peer0", NodeOu::Peer);
        let times = ElectionTimes {
            leader_alive: Duration::from_secs(2),
            ..ElectionTimes::default()
        };
        for (yaml, expected) in [
            ("{}", Some(Leadership::Static(true))),
            ("orgLeader: false", Some(Leadership::Static(false))),
            ("{orgLeader: true, useLeaderElection: true}", None),
            (
                "useLeaderElection: true",
                Some(Leadership::Elected(ElectionTimes::default())),
            ),
            (
                "{orgLeader: false, useLeaderElection: true, election: {leaderAliveThreshold: 2s}}",
                Some(Leadership::Elected(times)),
            ),
        ] {
            let gossip: Gossip = serde_saphyr::from_str(yaml).unwrap();
            let mut options = GossipOptions::new(signer.clone(), "peer0:7051");
            let applied = gossip.apply(&mut options);
            let leadership = applied.ok().map(|()| options.leadership);
            assert_eq!(leadership, expected, "{yaml}");
        }
    }

    #[test]
    fn an_election_of_any_length_begins() {
        let long = "500000000000years";
        for key in [
            "startupGracePeriod",
            "membershipSampleInterval",
            "leaderAliveThreshold",
            "leaderElectionDuration",
        ] {
            for time in ["0s", long] {
                let yaml = format!("{{{key}: {time}}}");
                let times = serde_saphyr::from_str::<Election>(&yaml).unwrap().times();
                let now = std::time::Instant::now();
                let id = bytes::Bytes::from_static(b"id");
                let mut election = consilium_gossip::election::Election::new(id, times, 0, now);
                while !election.leads() {
                    let due = election.due();
                    election.tick(0, due);
                }
                let due = election.due();
                assert_ne!(election.give_up(due), [], "{yaml}");
            }
        }
    }
}
