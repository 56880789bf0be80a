//! A transaction without a gateway: endorsed by the peers that are named, submitted to an orderer, and
//! awaited at the same peers. fabric: internal/peer/chaincode/common.go

use std::{sync::Arc, time::Duration, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use clap::Args;
use consilium_client::{Admin, Call, ClientError, Commits, Endorser};
use consilium_msp::Signer;
use consilium_proto::{
    common::Envelope,
    protos::{ProposalResponse, SignedProposal, TxValidationCode},
};
use consilium_protocol::{
    envelope,
    proposal::{self, NewProposal},
    transaction::{self, AssembleError},
};
use futures_util::future::{join_all, try_join_all};

use super::{
    environment::Connected,
    flags::{self, GoFlag},
    orderer::Broadcast,
    rpc,
};

/// How long to wait for the commit.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// Time to wait for the event from each peer's deliver filtered service signifying that the
    /// transaction has been committed successfully.
    #[arg(
        long = "waitForEventTimeout",
        default_value = "30s",
        value_parser = flags::length_of_time,
        value_name = "TIME"
    )]
    pub event_timeout: Duration,
}

/// `--waitForEvent` of `peer chaincode invoke`.
#[derive(Clone, Debug, Args)]
pub struct WaitIfAsked {
    /// Whether to wait for the event from each peer's deliver filtered service signifying that the
    /// transaction has been committed successfully.
    #[arg(long = "waitForEvent", switch = false)]
    pub wait: bool,
    /// How long.
    #[command(flatten)]
    pub patience: WaitArgs,
}

/// `--waitForEvent` of `peer lifecycle chaincode`.
#[derive(Clone, Debug, Args)]
pub struct WaitUnlessTold {
    /// Whether to wait for the event from each peer's deliver filtered service signifying that the
    /// transaction has been committed successfully.
    #[arg(long = "waitForEvent", switch = true)]
    pub wait: bool,
    /// How long.
    #[command(flatten)]
    pub patience: WaitArgs,
}

/// Peers that endorse and commit, for one identity.
pub struct Endorsers {
    peers: Vec<Connected>,
    signer: Arc<dyn Signer>,
}

/// A proposal with what the peers made of it.
pub struct Endorsed {
    /// What was proposed.
    pub proposal: SignedProposal,
    /// Transaction id.
    pub tx_id: String,
    /// One of each peer, in the order of the peers.
    pub responses: Vec<ProposalResponse>,
}

impl Endorsers {
    /// Of peers to which connections stand.
    pub fn new(peers: Vec<Connected>, signer: Arc<dyn Signer>) -> Self {
        Self { peers, signer }
    }

    /// Proposals to the first peer.
    pub fn first(&self) -> Option<Admin> {
        let first = self.peers.first()?;
        Some(Admin::new(first.channel.clone(), self.signer.clone()))
    }

    /// Proposes a call to every peer.
    ///
    /// # Errors
    /// Signing fails, or a peer answers with no response at all.
    pub async fn endorse(&self, channel: &str, call: Call) -> Result<Endorsed, ClientError> {
        let new = NewProposal {
            channel,
            chaincode: &call.chaincode,
            args: call.args,
            transient: call.transient,
            is_init: call.is_init,
            timestamp: envelope::timestamp(SystemTime::now()),
        };
        let (proposal, tx_id) = proposal::create(new, self.signer.as_ref())?;
        let asking = self.peers.iter().map(|peer| {
            let endorser = Endorser::new(peer.channel.clone());
            let proposal = proposal.clone();
            async move { endorser.process(proposal).await }
        });
        let responses = try_join_all(asking).await?;
        Ok(Endorsed {
            proposal,
            tx_id,
            responses,
        })
    }

    /// The transaction that the endorsements make, signed.
    ///
    /// # Errors
    /// The responses do not make a transaction, in Fabric's words; or signing fails.
    pub fn assemble(&self, endorsed: &Endorsed) -> anyhow::Result<Envelope> {
        let assembled = transaction::assemble(&endorsed.proposal, &endorsed.responses);
        let assembled = assembled.map_err(|error| match error {
            AssembleError::Mismatch => anyhow::anyhow!(mismatch(&endorsed.responses)),
            error => error.into(),
        })?;
        Ok(transaction::sign(assembled, self.signer.as_ref())?)
    }

    /// Submits a transaction and, where `patience` says for how long, waits until every peer has
    /// committed it.
    ///
    /// # Errors
    /// No orderer takes it, a peer finds it invalid or is not heard of in time; in Fabric's words.
    pub async fn submit(
        &self,
        channel: &str,
        tx_id: &str,
        transaction: &Envelope,
        orderers: &Broadcast,
        patience: Option<Duration>,
    ) -> Result<(), SubmitError> {
        let Some(patience) = patience else {
            return orderers.send(transaction).await.map_err(SubmitError::Send);
        };
        let deadline = tokio::time::Instant::now() + patience;
        let following = tokio::time::timeout_at(deadline, self.follow(channel));
        let commits = following
            .await
            .unwrap_or_else(|_| {
                anyhow::bail!("timed out waiting for connection to deliver on all peers")
            })
            .map_err(SubmitError::Wait)?;
        orderers
            .send(transaction)
            .await
            .map_err(SubmitError::Send)?;
        let waiting = self.peers.iter().zip(commits);
        let waiting = waiting.map(|(peer, commits)| verdict(&peer.address, commits, tx_id));
        match tokio::time::timeout_at(deadline, join_all(waiting)).await {
            Ok(all) => all
                .into_iter()
                .collect::<anyhow::Result<()>>()
                .map_err(SubmitError::Wait),
            Err(_) => Err(SubmitError::Wait(anyhow::anyhow!(
                "timed out waiting for txid on all peers"
            ))),
        }
    }

    async fn follow(&self, channel: &str) -> anyhow::Result<Vec<Commits>> {
        let following = self.peers.iter().map(|peer| async move {
            let tls_hash = peer.tls_hash.clone();
            let commits =
                Commits::follow(peer.channel.clone(), channel, self.signer.as_ref(), tls_hash);
            commits.await.map_err(|error| {
                anyhow::anyhow!(
                    "failed to connect to deliver on all peers: error connecting to deliver filtered at {}: {}",
                    peer.address,
                    rpc(&error)
                )
            })
        });
        try_join_all(following).await
    }
}

/// Where the submission of a transaction failed.
pub enum SubmitError {
    /// It was not handed over.
    Send(anyhow::Error),
    /// It was, but what became of it is not known, or is that it is invalid.
    Wait(anyhow::Error),
}

async fn verdict(address: &str, commits: Commits, tx_id: &str) -> anyhow::Result<()> {
    let code = commits.verdict(tx_id).await.map_err(|error| match error {
        ClientError::NotDelivered(status) => anyhow::anyhow!(
            "deliver completed with status ({}) before txid received",
            status.as_str_name()
        ),
        error => anyhow::anyhow!(
            "error receiving from deliver filtered at {address}: {}",
            rpc(&error)
        ),
    })?;
    let status = code.as_str_name();
    eprintln!("txid [{tx_id}] committed with status ({status}) at {address}");
    anyhow::ensure!(
        code == TxValidationCode::Valid,
        "transaction invalidated with status ({status})"
    );
    Ok(())
}

/// fabric: protoutil/txutils.go CreateSignedTx
fn mismatch(responses: &[ProposalResponse]) -> String {
    let empty = Bytes::new();
    let first = responses.first().map_or(&empty, |first| &first.payload);
    let other = responses.iter().map(|other| &other.payload);
    let other = other.clone().find(|other| *other != first).unwrap_or(first);
    format!(
        "ProposalResponsePayloads do not match (base64): '{}' vs '{}'",
        BASE64_STANDARD.encode(other),
        BASE64_STANDARD.encode(first)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_differ_are_shown() {
        let responses = [b"a", b"a", b"b"].map(|payload| ProposalResponse {
            payload: Bytes::from_static(payload),
            ..ProposalResponse::default()
        });
        assert_eq!(
            mismatch(&responses),
            "ProposalResponsePayloads do not match (base64): 'Yg==' vs 'YQ=='"
        );
    }
}
