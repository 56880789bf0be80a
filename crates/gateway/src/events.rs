//! ChaincodeEvents: a chaincode's events, block by block, from any block on.

use std::sync::Arc;

use consilium_msp::SignedData;
use consilium_peer::{CommittedBlock, PeerChannel, acl};
use consilium_proto::{
    gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest},
    orderer::{SeekPosition, seek_position},
    protos::TxValidationCode,
};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::service::Gateway;

/// Responses that wait for a slow client before reading pauses.
const BUFFERED: usize = 16;

pub(crate) type EventStream = ReceiverStream<Result<ChaincodeEventsResponse, Status>>;

impl Gateway {
    /// Opens the stream; `permit` is held as long as it lives.
    pub(crate) async fn chaincode_events(
        &self,
        signed: SignedChaincodeEventsRequest,
        permit: OwnedSemaphorePermit,
    ) -> Result<EventStream, Status> {
        let request = ChaincodeEventsRequest::decode(signed.request.clone()).map_err(|error| {
            Status::invalid_argument(format!("invalid chaincode events request: {error}"))
        })?;
        let channel = self
            .find_channel(&request.channel_id)
            .map_err(Status::not_found)?;
        let data = SignedData {
            data: signed.request,
            identity: request.identity.clone(),
            signature: signed.signature,
        };
        self.check_signed(&channel, acl::GATEWAY_CHAINCODE_EVENTS, data)
            .await?;
        let (start, filter) = begin(&channel, request)?;
        let (sender, receiver) = mpsc::channel(BUFFERED);
        tokio::spawn(async move {
            let _held = permit;
            let mut reader = Reader {
                channel,
                next: start,
                filter,
                sender,
            };
            if let Err(status) = reader.run().await {
                // The client may have gone; then nobody wants to know.
                let _ = reader.sender.send(Err(status)).await;
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

/// Where to start, and what to pick.
fn begin(channel: &PeerChannel, request: ChaincodeEventsRequest) -> Result<(u64, Filter), Status> {
    let mut filter = Filter {
        chaincode: request.chaincode_id,
        after: (!request.after_transaction_id.is_empty()).then_some(request.after_transaction_id),
    };
    if let Some(tx_id) = &filter.after {
        let known = channel
            .ledger()
            .tx_status(tx_id)
            .map_err(|error| Status::aborted(error.to_string()))?;
        if let Some(status) = known {
            return Ok((status.block, filter));
        }
        // Not in the ledger: only the position counts, and there is nothing to skip.
        filter.after = None;
    }
    let start = start_block(request.start_position, *channel.subscribe_height().borrow())?;
    Ok((start, filter))
}

fn start_block(position: Option<SeekPosition>, height: u64) -> Result<u64, Status> {
    let invalid = |name| {
        Err(Status::invalid_argument(format!(
            "invalid start position type: {name}"
        )))
    };
    match position.and_then(|position| position.r#type) {
        None | Some(seek_position::Type::NextCommit(_)) => Ok(height),
        Some(seek_position::Type::Specified(specified)) => Ok(specified.number),
        Some(seek_position::Type::Oldest(_)) => invalid("*orderer.SeekPosition_Oldest"),
        Some(seek_position::Type::Newest(_)) => invalid("*orderer.SeekPosition_Newest"),
    }
}

/// Picks a chaincode's events out of blocks.
struct Filter {
    chaincode: String,
    /// Everything up to and including this transaction's event is left out.
    after: Option<String>,
}

impl Filter {
    /// The response for a block, if it has something to say.
    fn pick(&mut self, block: &CommittedBlock) -> Option<ChaincodeEventsResponse> {
        let mut events = Vec::new();
        for transaction in &block.transactions {
            if transaction.code != TxValidationCode::Valid {
                continue;
            }
            let Some(event) = &transaction.event else {
                continue;
            };
            if event.chaincode_id.is_empty()
                || event.event_name.is_empty()
                || event.tx_id.is_empty()
            {
                continue;
            }
            if let Some(after) = &self.after {
                if *after == event.tx_id {
                    self.after = None;
                }
                continue;
            }
            if event.chaincode_id == self.chaincode {
                events.push(event.clone());
            }
        }
        (!events.is_empty()).then_some(ChaincodeEventsResponse {
            events,
            block_number: block.number,
        })
    }
}

struct Reader {
    channel: Arc<PeerChannel>,
    next: u64,
    filter: Filter,
    sender: mpsc::Sender<Result<ChaincodeEventsResponse, Status>>,
}

impl Reader {
    /// Old blocks from the ledger, then new ones as they are committed; a reader that falls behind
    /// reads the ledger again.
    async fn run(&mut self) -> Result<(), Status> {
        loop {
            let mut commits = self.channel.subscribe_commits();
            let height = *self.channel.subscribe_height().borrow();
            while self.next < height {
                let block = read(self.channel.clone(), self.next).await?;
                if !self.send(&block).await {
                    return Ok(());
                }
            }
            loop {
                let received = tokio::select! {
                    received = commits.recv() => received,
                    () = self.sender.closed() => return Ok(()),
                };
                match received {
                    Ok(block) if block.number < self.next => {}
                    Ok(block) if block.number == self.next => {
                        if !self.send(&block).await {
                            return Ok(());
                        }
                    }
                    // Some were missed.
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(Status::aborted("channel has stopped")),
                }
            }
        }
    }

    /// Whether the client is still there.
    async fn send(&mut self, block: &CommittedBlock) -> bool {
        self.next = block.number + 1;
        match self.filter.pick(block) {
            Some(response) => self.sender.send(Ok(response)).await.is_ok(),
            None => !self.sender.is_closed(),
        }
    }
}

async fn read(channel: Arc<PeerChannel>, number: u64) -> Result<CommittedBlock, Status> {
    let read = tokio::task::spawn_blocking(move || channel.committed_block(number));
    match read.await {
        Ok(Ok(Some(block))) => Ok(block),
        Ok(Ok(None)) => Err(Status::aborted(format!("block {number} is missing"))),
        Ok(Err(error)) => Err(Status::aborted(error)),
        Err(error) => Err(Status::aborted(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_peer::CommittedTransaction;
    use consilium_proto::{orderer, protos::ChaincodeEvent};

    fn transaction(id: &str, chaincode: &str, code: TxValidationCode) -> CommittedTransaction {
        CommittedTransaction {
            tx_id: id.to_owned(),
            code,
            event: (!chaincode.is_empty()).then(|| ChaincodeEvent {
                chaincode_id: chaincode.to_owned(),
                tx_id: id.to_owned(),
                event_name: "happened".to_owned(),
                payload: bytes::Bytes::new(),
            }),
        }
    }

    fn block(number: u64, transactions: Vec<CommittedTransaction>) -> CommittedBlock {
        CommittedBlock {
            number,
            transactions,
        }
    }

    fn ids(filter: &mut Filter, block: &CommittedBlock) -> Vec<String> {
        filter
            .pick(block)
            .map(|response| {
                response
                    .events
                    .into_iter()
                    .map(|event| event.tx_id)
                    .collect()
            })
            .unwrap_or_default()
    }

    #[test]
    fn only_events_of_valid_transactions_of_the_chaincode_are_picked() {
        let block = block(
            5,
            vec![
                transaction("1", "cc", TxValidationCode::Valid),
                transaction("2", "cc", TxValidationCode::MvccReadConflict),
                transaction("3", "other", TxValidationCode::Valid),
                transaction("4", "", TxValidationCode::Valid),
                transaction("5", "cc", TxValidationCode::Valid),
            ],
        );
        let mut filter = Filter {
            chaincode: "cc".to_owned(),
            after: None,
        };
        assert_eq!(ids(&mut filter, &block), ["1", "5"]);
    }

    #[test]
    fn a_checkpoint_skips_up_to_and_including_its_transaction_also_of_another_chaincode() {
        let block = block(
            5,
            ["1", "2", "3"]
                .map(|id| {
                    transaction(
                        id,
                        if id == "2" { "other" } else { "cc" },
                        TxValidationCode::Valid,
                    )
                })
                .to_vec(),
        );
        for (after, expected) in [
            ("1", vec!["3"]),
            ("2", vec!["3"]),
            ("3", vec![]),
            ("x", vec![]),
        ] {
            let mut filter = Filter {
                chaincode: "cc".to_owned(),
                after: Some(after.to_owned()),
            };
            assert_eq!(ids(&mut filter, &block), expected, "after {after}");
        }
    }

    #[test]
    fn a_stream_starts_at_a_number_or_with_the_next_block() {
        let position = |kind| Some(SeekPosition { r#type: Some(kind) });
        let specified = seek_position::Type::Specified(orderer::SeekSpecified { number: 3 });
        assert_eq!(start_block(None, 9).unwrap(), 9);
        assert_eq!(start_block(Some(SeekPosition::default()), 9).unwrap(), 9);
        assert_eq!(start_block(position(specified), 9).unwrap(), 3);
        let next = seek_position::Type::NextCommit(orderer::SeekNextCommit {});
        assert_eq!(start_block(position(next), 9).unwrap(), 9);
        for kind in [
            seek_position::Type::Oldest(orderer::SeekOldest {}),
            seek_position::Type::Newest(orderer::SeekNewest {}),
        ] {
            let status = start_block(position(kind), 9).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
        }
    }
}
