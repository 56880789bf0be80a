//! The application's view of a network: one gateway peer, one identity.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::{
    common, gateway,
    gateway::gateway_client::GatewayClient,
    orderer,
    protos::{self, TxValidationCode},
};
use consilium_protocol::{envelope, proposal, transaction};
use consilium_transport::MAX_MESSAGE;
use futures_util::{Stream, StreamExt};
use prost::Message;
use tonic::transport::Channel;

use crate::{ClientError, Step};

/// Deadlines per step; the defaults are those of Fabric's client SDKs.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For `Evaluate`.
    pub evaluate: Duration,
    /// For `Endorse`.
    pub endorse: Duration,
    /// For `Submit`.
    pub submit: Duration,
    /// For `CommitStatus`.
    pub commit_status: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            evaluate: Duration::from_secs(30),
            endorse: Duration::from_secs(15),
            submit: Duration::from_secs(5),
            commit_status: Duration::from_secs(60),
        }
    }
}

/// One call of a contract.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Chaincode name.
    pub chaincode: String,
    /// Function name first.
    pub args: Vec<Bytes>,
    /// Data that endorsers see and the block does not hold.
    pub transient: BTreeMap<String, Bytes>,
    /// Organizations (MSP ids) that shall endorse; empty leaves it to the gateway.
    pub organizations: Vec<String>,
    /// Marks the call as the chaincode's initialization.
    pub is_init: bool,
}

impl Call {
    /// A call of `function` with text arguments.
    pub fn new<A: AsRef<str>>(
        chaincode: &str,
        function: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut all = vec![Bytes::copy_from_slice(function.as_bytes())];
        all.extend(
            args.into_iter()
                .map(|arg| Bytes::copy_from_slice(arg.as_ref().as_bytes())),
        );
        Self {
            chaincode: chaincode.to_owned(),
            args: all,
            ..Self::default()
        }
    }

    /// Adds transient data.
    #[must_use]
    pub fn with_transient(mut self, key: &str, value: impl Into<Bytes>) -> Self {
        self.transient.insert(key.to_owned(), value.into());
        self
    }

    /// Names the organizations that shall endorse.
    #[must_use]
    pub fn endorsed_by<A: Into<String>>(
        mut self,
        organizations: impl IntoIterator<Item = A>,
    ) -> Self {
        self.organizations = organizations.into_iter().map(Into::into).collect();
        self
    }
}

/// An endorsed transaction that the client has signed and not yet submitted.
#[derive(Clone, Debug)]
pub struct Endorsed {
    /// Transaction id.
    pub tx_id: String,
    /// The contract's answer.
    pub payload: Bytes,
    envelope: common::Envelope,
}

/// A transaction that the gateway's peer has committed as valid.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Transaction id.
    pub tx_id: String,
    /// Number of its block.
    pub block: u64,
    /// The contract's answer.
    pub payload: Bytes,
}

/// A connection to a gateway peer for one identity and one channel. Clones share the connection.
#[derive(Clone)]
pub struct Gateway {
    client: GatewayClient<Channel>,
    signer: Arc<dyn Signer>,
    channel: Arc<str>,
    timeouts: Timeouts,
}

impl Gateway {
    /// Uses `connection` (see [`consilium_transport::connect`]) for the ledger channel `channel`.
    pub fn new(connection: Channel, signer: Arc<dyn Signer>, channel: &str) -> Self {
        Self {
            client: GatewayClient::new(connection)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            signer,
            channel: channel.into(),
            timeouts: Timeouts::default(),
        }
    }

    /// Replaces the deadlines.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The same connection under another identity.
    #[must_use]
    pub fn with_signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signer = signer;
        self
    }

    fn propose(&self, call: Call) -> Result<(protos::SignedProposal, String), ClientError> {
        Ok(proposal::create(
            proposal::NewProposal {
                channel: &self.channel,
                chaincode: &call.chaincode,
                args: call.args,
                transient: call.transient,
                is_init: call.is_init,
                timestamp: envelope::timestamp(SystemTime::now()),
            },
            self.signer.as_ref(),
        )?)
    }

    /// Runs a contract on one peer and returns its answer; nothing is ordered.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the gateway's status.
    pub async fn evaluate(&self, call: Call) -> Result<Bytes, ClientError> {
        let organizations = call.organizations.clone();
        let (signed, tx_id) = self.propose(call)?;
        let mut request = tonic::Request::new(gateway::EvaluateRequest {
            transaction_id: tx_id,
            channel_id: self.channel.to_string(),
            proposed_transaction: Some(signed),
            target_organizations: organizations,
        });
        request.set_timeout(self.timeouts.evaluate);
        let response = self
            .client
            .clone()
            .evaluate(request)
            .await
            .map_err(|status| ClientError::refused(Step::Evaluate, &status))?;
        Ok(response.into_inner().result.unwrap_or_default().payload)
    }

    /// Collects endorsements and signs the transaction.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with one detail per endorser that refused.
    pub async fn endorse(&self, call: Call) -> Result<Endorsed, ClientError> {
        let organizations = call.organizations.clone();
        let (signed, tx_id) = self.propose(call)?;
        let mut request = tonic::Request::new(gateway::EndorseRequest {
            transaction_id: tx_id.clone(),
            channel_id: self.channel.to_string(),
            proposed_transaction: Some(signed),
            endorsing_organizations: organizations,
        });
        request.set_timeout(self.timeouts.endorse);
        let prepared = self
            .client
            .clone()
            .endorse(request)
            .await
            .map_err(|status| ClientError::refused(Step::Endorse, &status))?
            .into_inner()
            .prepared_transaction
            .ok_or_else(|| ClientError::Malformed("no prepared transaction".into()))?;
        let payload = result_of(&prepared)?;
        Ok(Endorsed {
            tx_id,
            payload,
            envelope: transaction::sign(prepared, self.signer.as_ref())?,
        })
    }

    /// Hands an endorsed transaction to the ordering service. May be repeated for the same
    /// transaction after a failure: a second copy in the ledger is flagged as duplicate.
    ///
    /// # Errors
    /// [`ClientError::Refused`]; success means that the orderers have it durably.
    pub async fn submit_endorsed(&self, endorsed: &Endorsed) -> Result<(), ClientError> {
        let mut request = tonic::Request::new(gateway::SubmitRequest {
            transaction_id: endorsed.tx_id.clone(),
            channel_id: self.channel.to_string(),
            prepared_transaction: Some(endorsed.envelope.clone()),
        });
        request.set_timeout(self.timeouts.submit);
        self.client
            .clone()
            .submit(request)
            .await
            .map_err(|status| ClientError::refused(Step::Submit, &status))?;
        Ok(())
    }

    /// Waits until the gateway's peer has committed the transaction.
    ///
    /// # Errors
    /// [`ClientError::Refused`], for example when the deadline passes.
    pub async fn commit_status(&self, tx_id: &str) -> Result<(TxValidationCode, u64), ClientError> {
        let body = gateway::CommitStatusRequest {
            transaction_id: tx_id.to_owned(),
            channel_id: self.channel.to_string(),
            identity: self.signer.serialized().clone(),
        }
        .encode_to_vec();
        let signature = self.signer.sign(&body)?;
        let mut request = tonic::Request::new(gateway::SignedCommitStatusRequest {
            request: body.into(),
            signature,
        });
        request.set_timeout(self.timeouts.commit_status);
        let response = self
            .client
            .clone()
            .commit_status(request)
            .await
            .map_err(|status| ClientError::refused(Step::CommitStatus, &status))?
            .into_inner();
        Ok((response.result(), response.block_number))
    }

    /// Endorses, submits and waits for the commit.
    ///
    /// # Errors
    /// Those of the steps, and [`ClientError::Invalid`] when the transaction committed as invalid.
    pub async fn submit(&self, call: Call) -> Result<Committed, ClientError> {
        let endorsed = self.endorse(call).await?;
        self.submit_endorsed(&endorsed).await?;
        self.committed(endorsed).await
    }

    /// Waits for the commit of a submitted transaction.
    ///
    /// # Errors
    /// As [`Self::commit_status`], and [`ClientError::Invalid`].
    pub async fn committed(&self, endorsed: Endorsed) -> Result<Committed, ClientError> {
        let (code, block) = self.commit_status(&endorsed.tx_id).await?;
        if code != TxValidationCode::Valid {
            return Err(ClientError::Invalid {
                tx_id: endorsed.tx_id,
                code,
                block,
            });
        }
        Ok(Committed {
            tx_id: endorsed.tx_id,
            block,
            payload: endorsed.payload,
        })
    }

    /// Events of a chaincode from `start_block` (`None`: from the next block) on, block by block.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the stream is not opened; later failures are items.
    pub async fn events(
        &self,
        chaincode: &str,
        start_block: Option<u64>,
    ) -> Result<
        impl Stream<Item = Result<gateway::ChaincodeEventsResponse, ClientError>> + use<>,
        ClientError,
    > {
        let start = match start_block {
            Some(number) => {
                orderer::seek_position::Type::Specified(orderer::SeekSpecified { number })
            }
            None => orderer::seek_position::Type::NextCommit(orderer::SeekNextCommit {}),
        };
        let body = gateway::ChaincodeEventsRequest {
            channel_id: self.channel.to_string(),
            chaincode_id: chaincode.to_owned(),
            identity: self.signer.serialized().clone(),
            start_position: Some(orderer::SeekPosition {
                r#type: Some(start),
            }),
            after_transaction_id: String::new(),
        }
        .encode_to_vec();
        let signature = self.signer.sign(&body)?;
        let stream = self
            .client
            .clone()
            .chaincode_events(gateway::SignedChaincodeEventsRequest {
                request: body.into(),
                signature,
            })
            .await
            .map_err(|status| ClientError::refused(Step::Events, &status))?
            .into_inner();
        Ok(stream.map(|item| item.map_err(|status| ClientError::refused(Step::Events, &status))))
    }
}

/// The contract's answer inside a prepared transaction.
fn result_of(envelope: &common::Envelope) -> Result<Bytes, ClientError> {
    let malformed = |error: prost::DecodeError| ClientError::Malformed(error.to_string());
    let payload = common::Payload::decode(envelope.payload.clone()).map_err(malformed)?;
    let transaction = protos::Transaction::decode(payload.data).map_err(malformed)?;
    let action = transaction
        .actions
        .first()
        .ok_or_else(|| ClientError::Malformed("transaction without action".into()))?;
    let action =
        protos::ChaincodeActionPayload::decode(action.payload.clone()).map_err(malformed)?;
    let endorsed = action
        .action
        .ok_or_else(|| ClientError::Malformed("transaction without endorsed action".into()))?;
    let response = protos::ProposalResponsePayload::decode(endorsed.proposal_response_payload)
        .map_err(malformed)?;
    let action = protos::ChaincodeAction::decode(response.extension).map_err(malformed)?;
    Ok(action.response.unwrap_or_default().payload)
}
