//! `configtx.yaml`, and what counts where it says nothing.
//! fabric: internal/configtxgen/genesisconfig

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use consilium_protocol::duration::{self, Signed};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::log;
use crate::config;

/// Capabilities, and whether they are required.
pub type Capabilities = BTreeMap<String, bool>;
/// Policies by name.
pub type Policies = BTreeMap<String, Policy>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TopLevel {
    /// What blocks are made of.
    pub profiles: BTreeMap<String, Profile>,
    /// Organizations that `-printOrg` knows.
    pub organizations: Vec<Organization>,
    /// Only referred to.
    pub channel: Option<Profile>,
    /// Only referred to.
    pub application: Option<Application>,
    /// Only referred to.
    pub orderer: Option<Orderer>,
    /// By the group that they belong to.
    pub capabilities: BTreeMap<String, Capabilities>,
}

/// A channel.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Profile {
    /// Of system channels.
    pub consortium: String,
    /// Who runs peers.
    pub application: Option<Application>,
    /// Who orders, and how.
    pub orderer: Option<Orderer>,
    /// Of system channels.
    pub consortiums: Option<BTreeMap<String, Consortium>>,
    /// Of the channel.
    pub capabilities: Capabilities,
    /// Of the channel.
    pub policies: Option<Policies>,
}

/// A policy.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Policy {
    /// `Signature` or `ImplicitMeta`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Its text.
    pub rule: String,
}

/// Organizations that may create channels together.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Consortium {
    /// Who they are.
    pub organizations: Vec<Organization>,
}

/// The application group.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Application {
    /// Who belongs to it.
    pub organizations: Vec<Organization>,
    /// Of the group.
    pub capabilities: Capabilities,
    /// Of the group.
    pub policies: Option<Policies>,
    /// Policies of resources.
    #[serde(rename = "ACLs")]
    pub acls: BTreeMap<String, String>,
}

/// An organization.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Organization {
    /// Name of its group.
    pub name: String,
    /// MSP id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Folder of its MSP.
    #[serde(rename = "MSPDir")]
    pub msp_dir: PathBuf,
    /// `bccsp`, or nothing.
    #[serde(rename = "MSPType")]
    pub msp_type: String,
    /// Of its group.
    pub policies: Option<Policies>,
    /// Where others find its peers.
    pub anchor_peers: Vec<AnchorPeer>,
    /// Where its orderers listen.
    pub orderer_endpoints: Vec<String>,
    /// Read and passed over, as in Fabric.
    #[serde(rename = "AdminPrincipal")]
    pub _admin_principal: String,
    /// Nothing is known of it but its name.
    pub skip_as_foreign: bool,
}

/// An anchor peer.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AnchorPeer {
    /// Host.
    pub host: String,
    /// Port.
    pub port: i32,
}

/// The orderer group.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Orderer {
    /// `etcdraft`, `BFT` or `solo`.
    pub orderer_type: String,
    /// Of channels without the capability V3_0.
    pub addresses: Vec<String>,
    /// How long a transaction waits for others.
    #[serde(deserialize_with = "time")]
    pub batch_timeout: Duration,
    /// When a block is full.
    pub batch_size: BatchSize,
    /// Orderers of a BFT group.
    pub consenter_mapping: Vec<Consenter>,
    /// The Raft group.
    pub etcd_raft: Option<EtcdRaft>,
    /// Options of a BFT group.
    #[serde(rename = "SmartBFT")]
    pub smart_bft: Option<SmartBft>,
    /// Who belongs to it.
    pub organizations: Vec<Organization>,
    /// Of system channels.
    pub max_channels: u64,
    /// Of the group.
    pub capabilities: Capabilities,
    /// Of the group.
    pub policies: Option<Policies>,
}

/// When a block is full.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BatchSize {
    /// Transactions.
    #[serde(deserialize_with = "size")]
    pub max_message_count: u32,
    /// Bytes that a block never exceeds.
    #[serde(deserialize_with = "size")]
    pub absolute_max_bytes: u32,
    /// Bytes that a block of several transactions does not exceed.
    #[serde(deserialize_with = "size")]
    pub preferred_max_bytes: u32,
}

/// An orderer of a BFT group.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Consenter {
    /// Number.
    #[serde(rename = "ID", deserialize_with = "size")]
    pub id: u32,
    /// Host.
    pub host: String,
    /// Port.
    #[serde(deserialize_with = "size")]
    pub port: u32,
    /// MSP id.
    #[serde(rename = "MSPID")]
    pub msp_id: String,
    /// File of its signing certificate.
    pub identity: PathBuf,
    /// File.
    #[serde(rename = "ClientTLSCert")]
    pub client_tls_cert: PathBuf,
    /// File.
    #[serde(rename = "ServerTLSCert")]
    pub server_tls_cert: PathBuf,
}

/// The Raft group.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EtcdRaft {
    /// Who belongs to it.
    pub consenters: Vec<RaftConsenter>,
    /// How it works.
    pub options: RaftOptions,
}

/// An orderer of a Raft group.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RaftConsenter {
    /// Host.
    pub host: String,
    /// Port.
    #[serde(deserialize_with = "size")]
    pub port: u32,
    /// File.
    #[serde(rename = "ClientTLSCert")]
    pub client_tls_cert: PathBuf,
    /// File.
    #[serde(rename = "ServerTLSCert")]
    pub server_tls_cert: PathBuf,
}

/// How a Raft group works.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RaftOptions {
    /// Length of a tick.
    pub tick_interval: String,
    /// Ticks without a leader before an election.
    #[serde(deserialize_with = "size")]
    pub election_tick: u32,
    /// Ticks between signs of life.
    #[serde(deserialize_with = "size")]
    pub heartbeat_tick: u32,
    /// Blocks under way.
    #[serde(deserialize_with = "size")]
    pub max_inflight_blocks: u32,
    /// Bytes between snapshots.
    #[serde(deserialize_with = "size")]
    pub snapshot_interval_size: u32,
}

/// Options of a BFT group.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct SmartBft {
    pub request_batch_max_count: u64,
    pub request_batch_max_bytes: u64,
    pub request_batch_max_interval: String,
    pub incoming_message_buffer_size: u64,
    pub request_pool_size: u64,
    pub request_forward_timeout: String,
    pub request_complain_timeout: String,
    pub request_auto_remove_timeout: String,
    pub request_max_bytes: u64,
    pub view_change_resend_interval: String,
    pub view_change_timeout: String,
    pub leader_heartbeat_timeout: String,
    pub leader_heartbeat_count: u64,
    pub collect_timeout: String,
    pub sync_on_start: bool,
    pub speed_up_view_change: bool,
    pub leader_rotation: i32,
    pub decisions_per_leader: u64,
}

impl SmartBft {
    /// What Fabric takes where nothing is said.
    fn usual() -> Self {
        Self {
            request_batch_max_count: 100,
            request_batch_max_bytes: 10 << 20,
            request_batch_max_interval: "50ms".to_owned(),
            incoming_message_buffer_size: 200,
            request_pool_size: 400,
            request_forward_timeout: "2s".to_owned(),
            request_complain_timeout: "20s".to_owned(),
            request_auto_remove_timeout: "3m0s".to_owned(),
            view_change_resend_interval: "5s".to_owned(),
            view_change_timeout: "20s".to_owned(),
            leader_heartbeat_timeout: "1m0s".to_owned(),
            leader_heartbeat_count: 10,
            collect_timeout: "1s".to_owned(),
            ..Self::default()
        }
    }
}

/// A number, or a size such as `10 MB`. fabric: common/viperutil/config_util.go
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.trim_end_matches(|end: char| !end.is_ascii_digit());
    let unit = text[digits.len()..].trim_start().to_ascii_lowercase();
    let shift = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" if unit.is_empty() => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => {
            return Err(D::Error::custom(format!(
                "{text:?} is no number and no size such as 10 MB"
            )));
        }
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| D::Error::custom(format!("{text:?} is no number")))?;
    let number = number.checked_mul(1 << shift);
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| D::Error::custom(format!("value '{text}' overflows uint32")))
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    // A number alone counts nanoseconds.
    if let Ok(nanoseconds) = text.parse() {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    match duration::parse(&text) {
        Some(Signed::Forward(time)) => Ok(time),
        _ => Err(D::Error::custom(format!("time: invalid duration {text:?}"))),
    }
}

/// Reads `configtx.yaml` in a folder, or where Fabric looks for it; `CONFIGTX_…` variables go before it.
///
/// # Errors
/// There is none, or a key in it is wrong or unknown.
pub fn read(folder: Option<&Path>) -> anyhow::Result<(TopLevel, PathBuf)> {
    let file = find(folder)?;
    let (settings, unknown) = config::read_layered("CONFIGTX", &file)?;
    ensure!(
        unknown.is_empty(),
        "Error unmarshalling config into struct: {}: has invalid keys: {}",
        file.display(),
        unknown.join(", ")
    );
    Ok((settings, file))
}

/// Where `configtx.yaml` lies.
///
/// # Errors
/// It lies nowhere.
pub fn find(folder: Option<&Path>) -> anyhow::Result<PathBuf> {
    let usual = || {
        let given = std::env::var_os("FABRIC_CFG_PATH").filter(|path| !path.is_empty());
        let given = given.map(PathBuf::from).into_iter();
        given
            .chain([".", "/etc/hyperledger/fabric"].map(PathBuf::from))
            .collect()
    };
    let folders: Vec<PathBuf> = folder.map_or_else(usual, |folder| vec![folder.to_owned()]);
    let files = folders
        .iter()
        .flat_map(|folder| ["configtx.yaml", "configtx.yml"].map(|name| folder.join(name)));
    let found = files.into_iter().find(|file| file.exists());
    found.with_context(|| {
        let folders: Vec<_> = folders.iter().map(|path| path.display().to_string()).collect();
        format!(
            "Error reading configuration: open : no such file or directory; looked for configtx.yaml \
             in {}; set FABRIC_CFG_PATH or -configPath to its folder",
            folders.join(", ")
        )
    })
}

impl TopLevel {
    /// Fills in what nobody says, for `-printOrg`.
    ///
    /// # Errors
    /// Something that has to be said is not.
    pub fn complete(&mut self, folder: &Path) -> anyhow::Result<()> {
        complete_all(&mut self.organizations, folder);
        match &mut self.orderer {
            Some(orderer) => orderer.complete(folder),
            None => Ok(()),
        }
    }
}

impl Profile {
    /// Fills in what nobody says.
    ///
    /// # Errors
    /// Something that has to be said is not.
    pub fn complete(&mut self, folder: &Path) -> anyhow::Result<()> {
        if let Some(application) = &mut self.application {
            complete_all(&mut application.organizations, folder);
        }
        for consortium in self.consortiums.iter_mut().flat_map(BTreeMap::values_mut) {
            complete_all(&mut consortium.organizations, folder);
        }
        if let Some(orderer) = &mut self.orderer {
            complete_all(&mut orderer.organizations, folder);
            orderer.complete(folder)?;
        }
        Ok(())
    }
}

fn complete_all(organizations: &mut [Organization], folder: &Path) {
    for organization in organizations {
        organization.msp_dir = folder.join(&organization.msp_dir);
    }
}

/// Takes `value` where nothing was said, and says so.
fn fill<T: PartialEq + Default + std::fmt::Display>(field: &mut T, name: &str, value: T) {
    if *field == T::default() {
        log::information(&format!("Orderer.{name} unset, setting to {value}"));
        *field = value;
    }
}

impl Orderer {
    fn complete(&mut self, folder: &Path) -> anyhow::Result<()> {
        fill(&mut self.orderer_type, "OrdererType", "solo".to_owned());
        if self.batch_timeout.is_zero() {
            log::information("Orderer.BatchTimeout unset, setting to 2s");
            self.batch_timeout = Duration::from_secs(2);
        }
        let size = &mut self.batch_size;
        fill(
            &mut size.max_message_count,
            "BatchSize.MaxMessageCount",
            500,
        );
        fill(
            &mut size.absolute_max_bytes,
            "BatchSize.AbsoluteMaxBytes",
            10 << 20,
        );
        fill(
            &mut size.preferred_max_bytes,
            "BatchSize.PreferredMaxBytes",
            2 << 20,
        );
        log::information(&format!("orderer type: {}", self.orderer_type));
        match self.orderer_type.as_str() {
            "solo" => Ok(()),
            "etcdraft" => {
                let raft = self.etcd_raft.as_mut();
                raft.context("etcdraft configuration missing")?
                    .complete(folder)
            }
            "BFT" => {
                self.smart_bft.get_or_insert_with(SmartBft::usual);
                ensure!(
                    !self.consenter_mapping.is_empty(),
                    "BFT configuration did not specify any consenter"
                );
                self.consenter_mapping
                    .iter_mut()
                    .try_for_each(|consenter| consenter.complete(folder))
            }
            other => bail!("unknown orderer type: {other}"),
        }
    }
}

impl EtcdRaft {
    fn complete(&mut self, folder: &Path) -> anyhow::Result<()> {
        let options = &mut self.options;
        let name = |name: &str| format!("EtcdRaft.Options.{name}");
        fill(
            &mut options.tick_interval,
            &name("TickInterval"),
            "500ms".to_owned(),
        );
        fill(&mut options.election_tick, &name("ElectionTick"), 10);
        fill(&mut options.heartbeat_tick, &name("HeartbeatTick"), 1);
        fill(
            &mut options.max_inflight_blocks,
            &name("MaxInflightBlocks"),
            5,
        );
        fill(
            &mut options.snapshot_interval_size,
            &name("SnapshotIntervalSize"),
            16 << 20,
        );
        ensure!(
            !self.consenters.is_empty(),
            "etcdraft configuration did not specify any consenter"
        );
        ensure!(
            duration::parse(&options.tick_interval).is_some(),
            "Etcdraft TickInterval ({}) must be in time duration format",
            options.tick_interval
        );
        ensure!(
            options.election_tick > options.heartbeat_tick,
            "election tick must be greater than heartbeat tick"
        );
        for consenter in &mut self.consenters {
            specified("etcdraft", "host", consenter.host.is_empty())?;
            specified("etcdraft", "port", consenter.port == 0)?;
            certificates(
                "etcdraft",
                folder,
                &mut consenter.client_tls_cert,
                &mut consenter.server_tls_cert,
            )?;
        }
        Ok(())
    }
}

impl Consenter {
    fn complete(&mut self, folder: &Path) -> anyhow::Result<()> {
        specified("BFT", "host", self.host.is_empty())?;
        specified("BFT", "port", self.port == 0)?;
        certificates(
            "BFT",
            folder,
            &mut self.client_tls_cert,
            &mut self.server_tls_cert,
        )?;
        specified("BFT", "MSP ID", self.msp_id.is_empty())?;
        let missing = self.identity.as_os_str().is_empty();
        specified("BFT", "identity certificate", missing)?;
        self.identity = folder.join(&self.identity);
        Ok(())
    }
}

fn certificates(
    kind: &str,
    folder: &Path,
    client: &mut PathBuf,
    server: &mut PathBuf,
) -> anyhow::Result<()> {
    for (name, path) in [("client TLS cert", client), ("server TLS cert", server)] {
        specified(kind, name, path.as_os_str().is_empty())?;
        *path = folder.join(&*path);
    }
    Ok(())
}

fn specified(kind: &str, what: &str, is_missing: bool) -> anyhow::Result<()> {
    ensure!(
        !is_missing,
        "consenter info in {kind} configuration did not specify {what}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, expected) in [
            ("500", Some(500)),
            ("'512 KB'", Some(512 << 10)),
            ("10 MB", Some(10 << 20)),
            ("99m", Some(99 << 20)),
            ("1g", Some(1 << 30)),
            ("4 GB", None),
            ("10 b", None),
            ("many", None),
            ("-1", None),
        ] {
            let read = config::keys_of::<BatchSize>(&format!("MaxMessageCount: {text}"));
            assert_eq!(
                read.ok().map(|size| size.max_message_count),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn anchors_and_merges_make_profiles() {
        let yaml = "
Organizations:
  - &Org {Name: One, ID: OneMSP, MSPDir: one/msp, Policies: &P {Admins: {Type: Signature, Rule: a}}}
Orderer: &Defaults
  OrdererType: etcdraft
  BatchTimeout: 1s
  BatchSize: {AbsoluteMaxBytes: 99 MB}
  Organizations:
Profiles:
  First:
    Orderer:
      <<: *Defaults
      BatchTimeout: 3s
      Organizations:
        - <<: *Org
          Policies:
            <<: *P
            Admins: {Type: Signature, Rule: b}
            Readers: {Type: Signature, Rule: c}
";
        let read: TopLevel = config::keys_of(yaml).unwrap();
        let orderer = read.profiles["First"].orderer.as_ref().unwrap();
        assert_eq!(orderer.orderer_type, "etcdraft");
        assert_eq!(orderer.batch_timeout, Duration::from_secs(3));
        assert_eq!(orderer.batch_size.absolute_max_bytes, 99 << 20);
        let organization = &orderer.organizations[0];
        assert_eq!(
            (organization.id.as_str(), organization.msp_dir.as_path()),
            ("OneMSP", Path::new("one/msp"))
        );
        let policies = organization.policies.as_ref().unwrap();
        assert_eq!(policies["Admins"].rule, "b");
        assert_eq!(policies["Readers"].rule, "c");
        assert_eq!(
            read.organizations[0].policies.as_ref().unwrap()["Admins"].rule,
            "a"
        );
    }

    #[test]
    fn what_has_to_be_said_is_asked_for() {
        for (yaml, part) in [
            ("OrdererType: kafka", "unknown orderer type: kafka"),
            ("OrdererType: etcdraft", "etcdraft configuration missing"),
            (
                "{OrdererType: etcdraft, EtcdRaft: {Options: {ElectionTick: 1}}}",
                "did not specify any consenter",
            ),
            (
                "{OrdererType: etcdraft, EtcdRaft: {Consenters: [{Host: a, Port: 1, ClientTLSCert: a}]}}",
                "did not specify server TLS cert",
            ),
            (
                "{OrdererType: BFT, ConsenterMapping: [{Host: a, Port: 1, ClientTLSCert: a, ServerTLSCert: b}]}",
                "did not specify MSP ID",
            ),
        ] {
            let mut orderer: Orderer = config::keys_of(yaml).unwrap();
            let refused = orderer.complete(Path::new("")).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
