//! The ledger behind the FHIR surface: the organization's own gateway peer.

use std::sync::Arc;

use bytes::Bytes;
use consilium_client::{Admin, Blocks, ClientError, Discovery, Gateway};
use consilium_fhir::{Call, Committed, Endorser, Identity, Ledger, LedgerError, Proof};
use consilium_msp::Signer;
use consilium_proto::common;
use consilium_protocol::block;
use futures_util::future::{BoxFuture, FutureExt};
use tonic::transport::Channel;

use super::{describe, wallet::Wallet};

/// Signs with the identities of a wallet and asks one peer.
pub struct PeerLedger {
    connection: Channel,
    /// Of the gateway's own certificate on the connection; empty without one.
    tls_hash: Bytes,
    channel: String,
    wallet: Arc<Wallet>,
}

impl PeerLedger {
    /// Uses `connection` to the peer, with the hash of the gateway's own certificate on it, for the
    /// ledger channel `channel`.
    pub fn new(connection: Channel, tls_hash: Bytes, channel: &str, wallet: Arc<Wallet>) -> Self {
        Self {
            connection,
            tls_hash,
            channel: channel.to_owned(),
            wallet,
        }
    }

    /// The ledger channel.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    fn signer(&self, caller: &Identity) -> Result<Arc<dyn Signer>, LedgerError> {
        match self.wallet.member(&caller.name) {
            Ok(Some(member)) => Ok(member.signer.clone()),
            Ok(None) => Err(LedgerError::Denied(format!(
                "this gateway has no identity {}",
                caller.name
            ))),
            Err(error) => Err(LedgerError::Denied(format!("{error:#}"))),
        }
    }

    fn gateway(&self, caller: &Identity) -> Result<Gateway, LedgerError> {
        let signer = self.signer(caller)?;
        Ok(Gateway::new(self.connection.clone(), signer, &self.channel))
    }

    /// Asks any contract; nothing is ordered.
    ///
    /// # Errors
    /// As [`Ledger::evaluate`].
    pub async fn ask(
        &self,
        caller: &Identity,
        call: consilium_client::Call,
    ) -> Result<Bytes, LedgerError> {
        self.gateway(caller)?.evaluate(call).await.map_err(told)
    }

    /// The peer's own view of the channel, asked as the caller.
    ///
    /// # Errors
    /// [`LedgerError::Denied`] where the wallet has no such identity.
    pub fn peer(&self, caller: &Identity) -> Result<Admin, LedgerError> {
        Ok(Admin::new(self.connection.clone(), self.signer(caller)?))
    }

    /// The peer's discovery service, asked as the caller.
    ///
    /// # Errors
    /// As [`Self::peer`].
    pub fn discovery(&self, caller: &Identity) -> Result<Discovery, LedgerError> {
        let signer = self.signer(caller)?;
        Ok(Discovery::new(
            self.connection.clone(),
            signer,
            self.tls_hash.clone(),
        ))
    }

    /// The peer's blocks, asked for as the caller.
    ///
    /// # Errors
    /// As [`Self::peer`].
    pub fn blocks(&self, caller: &Identity) -> Result<Blocks, LedgerError> {
        let signer = self.signer(caller)?;
        Ok(Blocks::of_peer(
            self.connection.clone(),
            signer,
            self.tls_hash.clone(),
        ))
    }
}

impl Ledger for PeerLedger {
    fn submit<'a>(
        &'a self,
        caller: &'a Identity,
        call: Call,
    ) -> BoxFuture<'a, Result<Committed, LedgerError>> {
        async move {
            let gateway = self.gateway(caller)?;
            let endorsed = gateway.endorse(arguments(call)).await.map_err(told)?;
            let tx_id = endorsed.tx_id.clone();
            if let Err(error) = gateway.submit_endorsed(&endorsed).await {
                // Without a clear answer the orderers may have it all the same.
                return Err(match error {
                    ClientError::Refused { code, .. } if is_refusal(code) => told(error),
                    _ => LedgerError::Pending { tx_id },
                });
            }
            match gateway.committed(endorsed).await {
                Ok(committed) => Ok(Committed {
                    tx_id: committed.tx_id,
                    block: committed.block,
                    payload: committed.payload,
                }),
                // Ordered, and nobody said how it ended.
                Err(ClientError::Refused { .. }) => Err(LedgerError::Pending { tx_id }),
                Err(error) => Err(told(error)),
            }
        }
        .boxed()
    }

    fn evaluate<'a>(
        &'a self,
        caller: &'a Identity,
        call: Call,
    ) -> BoxFuture<'a, Result<Bytes, LedgerError>> {
        self.ask(caller, arguments(call)).boxed()
    }

    fn proof<'a>(
        &'a self,
        caller: &'a Identity,
        tx_id: &'a str,
    ) -> BoxFuture<'a, Result<Proof, LedgerError>> {
        async move {
            let held = match self.peer(caller)?.block_of(&self.channel, tx_id).await {
                Ok(held) => held,
                Err(ClientError::Proposal { .. }) => {
                    return Err(LedgerError::UnknownTransaction(tx_id.to_owned()));
                }
                Err(error) => return Err(told(error)),
            };
            proof_in(&held, tx_id)
                .ok_or_else(|| LedgerError::Failed(format!("{tx_id} is not in the block it has")))
        }
        .boxed()
    }
}

/// Whether a status says for certain that an envelope was not ordered.
fn is_refusal(code: tonic::Code) -> bool {
    use tonic::Code;
    matches!(
        code,
        Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::Unimplemented
    )
}

/// What a block says of a transaction; `None` where it is not in it, or is none of a contract.
fn proof_in(held: &common::Block, tx_id: &str) -> Option<Proof> {
    let (index, transaction) = describe::find(held, tx_id)?;
    let header = &transaction.envelope.channel_header;
    Some(Proof {
        tx_id: tx_id.to_owned(),
        channel: header.channel_id.clone(),
        block: block::number(held),
        validation: describe::validation(held, index).to_owned(),
        at: header.timestamp.as_ref().map_or(0, |at| at.seconds),
        creator_msp: describe::msp_of(&transaction.envelope.signature_header.creator),
        endorsers: describe::endorsers(&transaction)
            .into_iter()
            .map(|msp| Endorser { msp })
            .collect(),
    })
}

fn arguments(call: Call) -> consilium_client::Call {
    let mut args = vec![call.args.to_string()];
    args.extend(call.request_id);
    let mut asked = consilium_client::Call::new(call.chaincode, call.function, args);
    for (name, value) in call.transient {
        asked = asked.with_transient(&name, value);
    }
    asked
}

/// A client's error in the words of the surface.
fn told(error: ClientError) -> LedgerError {
    match error {
        ClientError::Invalid { tx_id, code, .. } => LedgerError::Invalid {
            tx_id,
            code: code.as_str_name().to_owned(),
        },
        ClientError::Proposal { status, message } => LedgerError::Refused { status, message },
        ClientError::Refused {
            code,
            ref message,
            ref details,
            ..
        } => {
            let answers = details.iter().map(|detail| detail.message.as_str());
            if let Some((status, message)) =
                answers.chain([message.as_str()]).find_map(contract_answer)
            {
                return LedgerError::Refused { status, message };
            }
            match code {
                tonic::Code::Unavailable
                | tonic::Code::DeadlineExceeded
                | tonic::Code::ResourceExhausted
                | tonic::Code::Aborted => LedgerError::Unavailable(error.to_string()),
                tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => {
                    LedgerError::Denied(error.to_string())
                }
                _ => LedgerError::Failed(error.to_string()),
            }
        }
        other => LedgerError::Failed(other.to_string()),
    }
}

/// Status and message of a contract in the words in which gateways wrap them, `chaincode response
/// 409, BAD_STATE: …` (fabric: internal/pkg/gateway/endorsement.go).
fn contract_answer(text: &str) -> Option<(i32, String)> {
    let (_, answer) = text.split_once("chaincode response ")?;
    let (status, message) = answer.split_once(", ")?;
    Some((status.parse().ok()?, message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contracts_answer_is_found_in_the_gateways_words() {
        for (text, found) in [
            (
                "chaincode response 409, BAD_STATE: it is Closed, as said",
                Some((409, "BAD_STATE: it is Closed, as said")),
            ),
            (
                "evaluate call to endorser returned error: chaincode response 404, NOT_FOUND: x",
                Some((404, "NOT_FOUND: x")),
            ),
            ("chaincode response many, x", None),
            ("no endorsers", None),
        ] {
            let expected = found.map(|(status, message)| (status, message.to_owned()));
            assert_eq!(contract_answer(text), expected, "{text}");
        }
    }
}
