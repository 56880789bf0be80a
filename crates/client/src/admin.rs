//! What an administrator sends to one peer: join, install, approve, commit, queries.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::{common, lifecycle, protos};
use consilium_protocol::{envelope, proposal};
use prost::Message;
use tonic::transport::Channel;

use crate::{
    ApprovedDefinition, Call, ClientError, Committed, Endorser, Gateway, LIFECYCLE,
    definition::lifecycle_args,
};

/// Sends proposals to one peer under an administrator's identity.
#[derive(Clone)]
pub struct Admin {
    endorser: Endorser,
    connection: Channel,
    signer: Arc<dyn Signer>,
}

impl Admin {
    /// Uses `connection` to the peer.
    pub fn new(connection: Channel, signer: Arc<dyn Signer>) -> Self {
        Self {
            endorser: Endorser::new(connection.clone()),
            connection,
            signer,
        }
    }

    /// Proposes a call to this peer alone and returns the response payload. `channel` is empty for
    /// calls that concern the peer itself.
    ///
    /// # Errors
    /// [`ClientError::Proposal`] for a response status of 400 and above.
    pub async fn query(
        &self,
        channel: &str,
        chaincode: &str,
        args: Vec<Bytes>,
    ) -> Result<Bytes, ClientError> {
        let (signed, _) = proposal::create(
            proposal::NewProposal {
                channel,
                chaincode,
                args,
                transient: BTreeMap::new(),
                is_init: false,
                timestamp: envelope::timestamp(SystemTime::now()),
            },
            self.signer.as_ref(),
        )?;
        let response = self.endorser.process(signed).await?;
        let answer = response.response.unwrap_or_default();
        if !(200..400).contains(&answer.status) {
            return Err(ClientError::Proposal {
                status: answer.status,
                message: answer.message,
            });
        }
        Ok(answer.payload)
    }

    /// Joins the peer to the channel of `genesis` (an encoded `common.Block`).
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn join(&self, genesis: Bytes) -> Result<(), ClientError> {
        self.query("", "cscc", vec![Bytes::from_static(b"JoinChain"), genesis])
            .await
            .map(drop)
    }

    /// Lets the peer begin to join a channel by the snapshot in a folder of its machine.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn join_by_snapshot(&self, folder: &str) -> Result<(), ClientError> {
        let folder = Bytes::copy_from_slice(folder.as_bytes());
        let args = vec![Bytes::from_static(b"JoinChainBySnapshot"), folder];
        self.query("", "cscc", args).await.map(drop)
    }

    /// Whether the peer is joining a channel by a snapshot now, and by which.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn join_by_snapshot_status(
        &self,
    ) -> Result<protos::JoinBySnapshotStatus, ClientError> {
        let args = vec![Bytes::from_static(b"JoinBySnapshotStatus")];
        decode(self.query("", "cscc", args).await?)
    }

    /// The channels that the peer has joined.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn channels(&self) -> Result<Vec<String>, ClientError> {
        let args = vec![Bytes::from_static(b"GetChannels")];
        let answer: protos::ChannelQueryResponse = decode(self.query("", "cscc", args).await?)?;
        let channels = answer.channels.into_iter();
        Ok(channels.map(|channel| channel.channel_id).collect())
    }

    /// The configuration of a channel that is in force at the peer.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn channel_config(&self, channel: &str) -> Result<common::Config, ClientError> {
        let args = vec![
            Bytes::from_static(b"GetChannelConfig"),
            Bytes::copy_from_slice(channel.as_bytes()),
        ];
        decode(self.query("", "cscc", args).await?)
    }

    /// Height and hashes of the peer's copy of a channel.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn chain_info(&self, channel: &str) -> Result<common::BlockchainInfo, ClientError> {
        let args = vec![
            Bytes::from_static(b"GetChainInfo"),
            Bytes::copy_from_slice(channel.as_bytes()),
        ];
        decode(self.query(channel, "qscc", args).await?)
    }

    /// One block of the peer's copy of a channel.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn block(&self, channel: &str, number: u64) -> Result<common::Block, ClientError> {
        let args = vec![
            Bytes::from_static(b"GetBlockByNumber"),
            Bytes::copy_from_slice(channel.as_bytes()),
            number.to_string().into(),
        ];
        decode(self.query(channel, "qscc", args).await?)
    }

    /// The block that holds a transaction.
    ///
    /// # Errors
    /// As [`Self::query`]; [`ClientError::Proposal`] where the peer does not have it.
    pub async fn block_of(&self, channel: &str, tx_id: &str) -> Result<common::Block, ClientError> {
        let args = vec![
            Bytes::from_static(b"GetBlockByTxID"),
            Bytes::copy_from_slice(channel.as_bytes()),
            Bytes::copy_from_slice(tx_id.as_bytes()),
        ];
        decode(self.query(channel, "qscc", args).await?)
    }

    /// Installs a chaincode package and returns its id.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn install(&self, package: Bytes) -> Result<String, ClientError> {
        let args = lifecycle::InstallChaincodeArgs {
            chaincode_install_package: package,
        };
        let answer = self
            .query("", LIFECYCLE, lifecycle_args("InstallChaincode", &args))
            .await?;
        let result: lifecycle::InstallChaincodeResult = decode(answer)?;
        Ok(result.package_id)
    }

    /// What the peer runs an installed package for: channel, chaincode name and version of each.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn installed_uses(
        &self,
        package_id: &str,
    ) -> Result<Vec<(String, String, String)>, ClientError> {
        let args = lifecycle::QueryInstalledChaincodeArgs {
            package_id: package_id.to_owned(),
        };
        let args = lifecycle_args("QueryInstalledChaincode", &args);
        let answer = self.query("", LIFECYCLE, args).await?;
        let result: lifecycle::QueryInstalledChaincodeResult = decode(answer)?;
        let references = result.references.into_iter();
        let uses = references.flat_map(|(channel, used)| {
            let chaincodes = used.chaincodes.into_iter();
            chaincodes.map(move |used| (channel.clone(), used.name, used.version))
        });
        Ok(uses.collect())
    }

    /// Approves a definition for the administrator's organization and waits for the commit.
    ///
    /// # Errors
    /// Those of [`Gateway::submit`].
    pub async fn approve(
        &self,
        channel: &str,
        definition: &ApprovedDefinition,
        package_id: &str,
    ) -> Result<Committed, ClientError> {
        self.gateway(channel)
            .submit(Call {
                chaincode: LIFECYCLE.into(),
                args: definition.approval(package_id),
                organizations: vec![self.signer.msp_id().to_owned()],
                ..Call::default()
            })
            .await
    }

    /// Commits a definition that enough organizations have approved.
    ///
    /// # Errors
    /// Those of [`Gateway::submit`].
    pub async fn commit(
        &self,
        channel: &str,
        definition: &ApprovedDefinition,
        organizations: &[String],
    ) -> Result<Committed, ClientError> {
        self.gateway(channel)
            .submit(Call {
                chaincode: LIFECYCLE.into(),
                args: definition.commit(),
                organizations: organizations.to_vec(),
                ..Call::default()
            })
            .await
    }

    /// The committed sequence of a chaincode, `None` when it is not defined.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn committed_sequence(
        &self,
        channel: &str,
        name: &str,
    ) -> Result<Option<i64>, ClientError> {
        let committed = self.committed_definition(channel, name).await?;
        Ok(committed.map(|definition| definition.sequence))
    }

    /// The committed definition of a chaincode, `None` when it is not defined.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn committed_definition(
        &self,
        channel: &str,
        name: &str,
    ) -> Result<Option<ApprovedDefinition>, ClientError> {
        let args = lifecycle::QueryChaincodeDefinitionArgs {
            name: name.to_owned(),
        };
        let args = lifecycle_args("QueryChaincodeDefinition", &args);
        match self.query(channel, LIFECYCLE, args).await {
            Ok(answer) => {
                let result: lifecycle::QueryChaincodeDefinitionResult = decode(answer)?;
                Ok(Some(ApprovedDefinition {
                    name: name.to_owned(),
                    version: result.version,
                    sequence: result.sequence,
                    policy: result.validation_parameter,
                    collections: result.collections,
                    init_required: result.init_required,
                    endorsement_plugin: result.endorsement_plugin,
                    validation_plugin: result.validation_plugin,
                }))
            }
            Err(ClientError::Proposal { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The gateway of the same peer under the same identity.
    #[must_use]
    pub fn gateway(&self, channel: &str) -> Gateway {
        Gateway::new(self.connection.clone(), self.signer.clone(), channel)
    }
}

fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, ClientError> {
    M::decode(bytes).map_err(|error| ClientError::Malformed(error.to_string()))
}
