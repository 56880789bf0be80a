//! Joining a channel: by its block 0, or by a snapshot.
//!
//! One at a time. A snapshot is verified and taken over in the background; what is missing of it, or
//! wrong, leaves no channel behind. fabric: core/ledger/ledgermgmt/ledger_mgmt.go, core/peer/peer.go

use std::{path::Path, sync::Arc};

use consilium_ledger::{Joiner, Ledger, LedgerError, StoreOptions, unfinished};
use consilium_proto::{common, protos::StaticCollectionConfig};
use consilium_protocol::{config::ChannelConfig, names};
use tokio_util::sync::CancellationToken;

use crate::{
    channel::{PeerChannel, validates},
    maintenance,
    peer::{Core, PeerError},
    private,
};

/// Held while a channel is made, so that it is made once.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    /// The folder of the snapshot that is being taken over.
    snapshot: Option<String>,
}

/// What a snapshot is asked for while it is taken over.
struct ThisPeer<'a> {
    channel: &'a str,
    msp_id: &'a str,
    stop: &'a CancellationToken,
}

impl Joiner for ThisPeer<'_> {
    /// As Fabric decides for collections of before: the policy names the organization.
    /// fabric: core/common/privdata/membershipinfo.go AmMemberOf
    fn is_member(&self, collection: &StaticCollectionConfig) -> bool {
        private::organizations(collection).contains(self.msp_id)
    }

    fn msp_id(&self) -> &str {
        self.msp_id
    }

    fn check_config(&self, channel: &str, config: &common::Config) -> Result<(), String> {
        if channel != self.channel {
            return Err(format!("it is of channel {channel}, not {}", self.channel));
        }
        let config =
            ChannelConfig::new(channel, config.clone()).map_err(|error| error.to_string())?;
        if !config.has_application() {
            return Err("missing Application configuration group".into());
        }
        if !validates(&config) {
            return Err(PeerError::Capability(channel.to_owned()).to_string());
        }
        let checked = config.capabilities().check_supported(true);
        checked.map_err(|error| format!("Failed capabilities check: [{error}]"))
    }

    fn has_given_up(&self) -> bool {
        self.stop.is_cancelled()
    }
}

/// Says that no snapshot is being taken over any more, however that ended.
struct UntilDone(Arc<Core>);

impl Drop for UntilDone {
    fn drop(&mut self) {
        self.0.joining().lock().snapshot = None;
    }
}

impl Core {
    /// Where this peer's ledgers keep what is not beside them.
    pub(crate) fn store(&self) -> StoreOptions {
        StoreOptions {
            snapshots: Some(self.options().snapshots_dir.clone()),
            ..StoreOptions::default()
        }
    }

    /// Joins a channel by its block 0.
    pub(crate) fn join(&self, genesis: &common::Block) -> Result<Arc<PeerChannel>, PeerError> {
        let number = genesis.header.as_ref().map_or(0, |header| header.number);
        if number != 0 {
            return Err(PeerError::NotGenesis(number));
        }
        let config = ChannelConfig::from_block(genesis)?;
        let name = config.channel_id();
        if !validates(&config) {
            return Err(PeerError::Capability(name.to_owned()));
        }
        let joining = self.joining().lock();
        if let Some(folder) = &joining.snapshot {
            return Err(PeerError::Joining(folder.clone()));
        }
        if self.channel(name).is_some() {
            return Err(PeerError::Exists(name.to_owned()));
        }
        // Made aside and moved into place, so that a crash leaves either a whole ledger or none.
        let path = self.ledgers().join(name);
        let unfinished = unfinished(&path);
        if maintenance::is_paused(&path) {
            return Err(PeerError::Paused(name.to_owned()));
        }
        let failed = |source| PeerError::Ledger {
            path: path.clone(),
            source,
        };
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(|source| PeerError::Io {
                path: unfinished.clone(),
                source,
            })?;
        }
        drop(Ledger::create(&unfinished, genesis).map_err(failed)?);
        std::fs::rename(&unfinished, &path).map_err(|source| PeerError::Io {
            path: path.clone(),
            source,
        })?;
        let ledger = Ledger::open_with(&path, &self.store(), &mut |_| {}).map_err(failed)?;
        tracing::info!(channel = name, "joined channel");
        self.take_up(ledger)
    }

    /// Begins to join a channel by the snapshot in `folder`; [`joining_by_snapshot`] tells whether
    /// that goes on. What can be seen at once is refused at once, which Fabric only logs.
    ///
    /// [`joining_by_snapshot`]: Self::joining_by_snapshot
    pub(crate) fn join_by_snapshot(&self, folder: &str) -> Result<(), PeerError> {
        let refuse = |reason: String| PeerError::Snapshot {
            folder: folder.to_owned(),
            reason,
        };
        let core = match self.me() {
            Some(core) if !self.stopping().is_cancelled() => core,
            _ => return Err(PeerError::ShuttingDown),
        };
        refuse_if_empty(folder).map_err(refuse)?;
        let channel = {
            let mut joining = self.joining().lock();
            if let Some(busy) = &joining.snapshot {
                return Err(refuse(busy_with(busy)));
            }
            let channel = self.look(folder).map_err(refuse)?;
            joining.snapshot = Some(folder.to_owned());
            channel
        };
        let folder = folder.to_owned();
        let until_done = UntilDone(core);
        self.in_background(move || {
            let core = &until_done.0;
            match core.take_over(&channel, Path::new(&folder)) {
                Ok(()) => tracing::info!(channel, snapshot = folder, "joined channel by snapshot"),
                Err(error) => {
                    tracing::error!(channel, snapshot = folder, %error, "cannot join by snapshot");
                }
            }
        });
        Ok(())
    }

    /// The folder of the snapshot by which a channel is being joined.
    pub(crate) fn joining_by_snapshot(&self) -> Option<String> {
        self.joining().lock().snapshot.clone()
    }

    /// The channel of a snapshot, if it is not here yet.
    fn look(&self, folder: &str) -> Result<String, String> {
        let channel = Ledger::channel_of_snapshot(folder)
            .map_err(|error| format!("error while loading metadata: {error}"))?;
        names::validate_channel_id(&channel)
            .map_err(|error| format!("error while loading metadata: {error}"))?;
        let path = self.ledgers().join(&channel);
        if self.channel(&channel).is_some() || path.exists() {
            let state = if maintenance::is_paused(&path) {
                "INACTIVE"
            } else {
                "ACTIVE"
            };
            return Err(format!(
                "error while creating ledger id: ledger [{channel}] already exists with state [{state}]"
            ));
        }
        Ok(channel)
    }

    /// Makes a running channel of a snapshot. Blocks.
    fn take_over(&self, channel: &str, folder: &Path) -> Result<(), PeerError> {
        tracing::info!(channel, snapshot = %folder.display(), "joining channel by snapshot");
        let path = self.ledgers().join(channel);
        let joiner = ThisPeer {
            channel,
            msp_id: self.options().signer.msp_id(),
            stop: self.stopping(),
        };
        let ledger = Ledger::create_from_snapshot(&path, folder, &joiner, &self.store())
            .map_err(|source: LedgerError| PeerError::Ledger { path, source })?;
        // Should the peer stop now, its next start takes the channel up.
        self.take_up(ledger).map(drop)
    }
}

/// Fabric's words for two joins at once.
pub(crate) fn busy_with(folder: &str) -> String {
    format!(
        "a ledger is being created from a snapshot at {folder}. Call ledger creation again after it is done."
    )
}

/// fabric: internal/fileutil/fileutil.go DirEmpty
fn refuse_if_empty(folder: &str) -> Result<(), String> {
    let mut entries = std::fs::read_dir(folder)
        .map_err(|error| format!("error opening dir [{folder}]: {error}"))?;
    match entries.next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(format!(
            "error checking if dir [{folder}] is empty: {error}"
        )),
        None => Err(format!("snapshot dir {folder} is empty")),
    }
}

#[cfg(test)]
mod tests {
    use consilium_proto::protos::{CollectionPolicyConfig, collection_policy_config::Payload};
    use consilium_testkit::{Organization, network};

    use super::*;

    fn peer<'a>(stop: &'a CancellationToken) -> ThisPeer<'a> {
        ThisPeer {
            channel: "mychannel",
            msp_id: "Org1MSP",
            stop,
        }
    }

    #[test]
    fn a_member_is_whose_organization_the_policy_names() {
        let stop = CancellationToken::new();
        let collection = |policy: Option<&str>| StaticCollectionConfig {
            member_orgs_policy: policy.map(|text| CollectionPolicyConfig {
                payload: Some(Payload::SignaturePolicy(
                    consilium_msp::dsl::parse(text).unwrap(),
                )),
            }),
            ..Default::default()
        };
        for (policy, expected) in [
            (Some("OR('Org1MSP.member','Org2MSP.member')"), true),
            (Some("OR('Org1MSP.admin')"), true),
            (
                Some("AND('Org2MSP.peer',OR('Org3MSP.peer','Org1MSP.peer'))"),
                true,
            ),
            (Some("OR('Org2MSP.member')"), false),
            (None, false),
        ] {
            let is_member = peer(&stop).is_member(&collection(policy));
            assert_eq!(is_member, expected, "{policy:?}");
        }
    }

    #[test]
    fn a_snapshot_is_taken_over_only_with_a_configuration_that_runs() {
        let stop = CancellationToken::new();
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let config = network::config("mychannel", &[&organization])
            .config()
            .clone();
        let check = |channel: &str, config: &common::Config| {
            peer(&stop)
                .check_config(channel, config)
                .err()
                .unwrap_or_default()
        };
        assert_eq!(check("mychannel", &config), "");
        assert_eq!(
            check("other", &config),
            "it is of channel other, not mychannel"
        );
        assert!(check("mychannel", &common::Config::default()).contains("channel group"));
        let mut without = config;
        let root = without.channel_group.as_mut().unwrap();
        root.groups.remove("Application");
        assert!(check("mychannel", &without).contains("Application"));
    }

    #[test]
    fn a_stop_ends_an_import() {
        let stop = CancellationToken::new();
        assert!(!peer(&stop).has_given_up());
        stop.cancel();
        assert!(peer(&stop).has_given_up());
    }

    #[test]
    fn an_empty_or_absent_folder_is_refused_in_fabrics_words() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().to_str().unwrap();
        assert_eq!(
            refuse_if_empty(name).unwrap_err(),
            format!("snapshot dir {name} is empty")
        );
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(refuse_if_empty(name), Ok(()));
        let absent = format!("{name}/absent");
        assert!(
            refuse_if_empty(&absent)
                .unwrap_err()
                .starts_with(&format!("error opening dir [{absent}]: "))
        );
    }
}
