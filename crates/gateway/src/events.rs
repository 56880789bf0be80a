//! ChaincodeEvents: a chaincode's events, block by block, from any block on.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::SignedData;
use consilium_peer::{CommittedBlock, PeerChannel, acl};
use consilium_proto::{
    gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest},
    orderer::{SeekPosition, seek_position},
    protos::{ChaincodeEvent, TxValidationCode},
};
use moka::{policy::EvictionPolicy, sync::Cache};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::service::Gateway;

/// Responses that wait for a slow client before reading pauses.
const BUFFERED: usize = 16;

/// Bytes of old blocks' events that are kept for all who read them: those who come back after a restart of
/// the peer all want the same ones.
const KEPT_BYTES: u64 = 32 << 20;

/// Blocks out of the ledger, decoded once for all who read them.
#[derive(Clone)]
pub(crate) struct OldBlocks(Cache<(String, u64), Arc<CommittedBlock>>);

impl Default for OldBlocks {
    fn default() -> Self {
        Self::of(KEPT_BYTES)
    }
}

/// About how many bytes of memory a block of events has.
fn size(block: &CommittedBlock) -> usize {
    let event = |event: &ChaincodeEvent| {
        event.chaincode_id.len() + event.event_name.len() + event.tx_id.len() + event.payload.len()
    };
    let transactions = block.transactions.iter();
    let each = transactions.map(|transaction| {
        let event = transaction.event.as_ref().map_or(0, event);
        size_of_val(transaction) + transaction.tx_id.len() + event
    });
    size_of_val(block) + each.sum::<usize>()
}

/// The same with payloads of its own: as decoded, each would keep the whole block in memory.
fn detached(mut block: CommittedBlock) -> CommittedBlock {
    let events = block.transactions.iter_mut();
    for event in events.filter_map(|transaction| transaction.event.as_mut()) {
        event.payload = Bytes::copy_from_slice(&event.payload);
    }
    block
}

impl OldBlocks {
    fn of(bytes: u64) -> Self {
        let weight = |_: &(String, u64), block: &Arc<CommittedBlock>| {
            u32::try_from(size(block)).unwrap_or(u32::MAX)
        };
        Self(
            Cache::builder()
                .weigher(weight)
                .max_capacity(bytes)
                // Readers go from block to block: by frequency, those that all have read would stay, and
                // those that all want next would be turned away.
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        )
    }

    /// A block that is in the ledger. Of many who ask at once one reads it.
    async fn get(
        &self,
        channel: &Arc<PeerChannel>,
        number: u64,
    ) -> Result<Arc<CommittedBlock>, Status> {
        let key = (channel.name().to_owned(), number);
        if let Some(block) = self.0.get(&key) {
            return Ok(block);
        }
        let (blocks, channel) = (self.0.clone(), channel.clone());
        let read = tokio::task::spawn_blocking(move || {
            blocks.try_get_with(key, || match channel.committed_block(number) {
                Ok(Some(block)) => Ok(Arc::new(detached(block))),
                Ok(None) => Err(format!("block {number} is missing")),
                Err(error) => Err(error),
            })
        });
        match read.await {
            Ok(read) => read.map_err(|error| Status::aborted(error.as_str())),
            Err(error) => Err(Status::aborted(error.to_string())),
        }
    }
}

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
        let old = self.old_blocks().clone();
        tokio::spawn(async move {
            let _held = permit;
            let mut reader = Reader {
                channel,
                old,
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
    let after = request.after_transaction_id;
    let known = if after.is_empty() {
        None
    } else {
        channel
            .ledger()
            .tx_status(&after)
            .map_err(|error| Status::aborted(error.to_string()))?
    };
    let start = match known {
        Some(status) => status.block,
        // Not here yet: who saw it at another peer names its block, which this peer waits for.
        None => start_block(request.start_position, *channel.subscribe_height().borrow())?,
    };
    let filter = Filter {
        chaincode: request.chaincode_id,
        after: (!after.is_empty()).then_some((start, after)),
    };
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
    /// Of this block everything up to and including this transaction is left out, if it is there.
    after: Option<(u64, String)>,
}

impl Filter {
    /// The response for a block, if it has something to say.
    fn pick(&mut self, block: &CommittedBlock) -> Option<ChaincodeEventsResponse> {
        let seen = match self.after.take() {
            Some((number, after)) if number == block.number => block
                .transactions
                .iter()
                .position(|transaction| transaction.tx_id == after)
                .map_or(0, |index| index + 1),
            _ => 0,
        };
        let events: Vec<_> = block.transactions[seen..]
            .iter()
            .filter(|transaction| transaction.code == TxValidationCode::Valid)
            .filter_map(|transaction| transaction.event.as_ref())
            .filter(|event| {
                event.chaincode_id == self.chaincode
                    && !event.chaincode_id.is_empty()
                    && !event.event_name.is_empty()
                    && !event.tx_id.is_empty()
            })
            .cloned()
            .collect();
        (!events.is_empty()).then_some(ChaincodeEventsResponse {
            events,
            block_number: block.number,
        })
    }
}

struct Reader {
    channel: Arc<PeerChannel>,
    old: OldBlocks,
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
                let block = self.old.get(&self.channel, self.next).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_peer::CommittedTransaction;
    use consilium_proto::orderer;

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
    fn a_checkpoint_skips_up_to_and_including_its_transaction_whatever_that_was() {
        let block = block(
            5,
            vec![
                transaction("1", "cc", TxValidationCode::Valid),
                transaction("2", "other", TxValidationCode::Valid),
                transaction("3", "", TxValidationCode::Valid),
                transaction("4", "cc", TxValidationCode::MvccReadConflict),
                transaction("5", "cc", TxValidationCode::Valid),
            ],
        );
        for (after, expected) in [
            ("1", vec!["5"]),
            ("2", vec!["5"]),
            ("3", vec!["5"]),
            ("4", vec!["5"]),
            ("5", vec![]),
            // A block that the transaction is not in was not seen.
            ("x", vec!["1", "5"]),
        ] {
            let mut filter = Filter {
                chaincode: "cc".to_owned(),
                after: Some((5, after.to_owned())),
            };
            assert_eq!(ids(&mut filter, &block), expected, "after {after}");
        }
    }

    #[test]
    fn a_checkpoint_counts_in_its_own_block_only() {
        let second = |number| {
            let transactions = ["1", "2"].map(|id| transaction(id, "cc", TxValidationCode::Valid));
            block(number, transactions.to_vec())
        };
        let mut filter = Filter {
            chaincode: "cc".to_owned(),
            after: Some((5, "2".to_owned())),
        };
        assert!(ids(&mut filter, &second(5)).is_empty());
        assert_eq!(ids(&mut filter, &second(6)), ["1", "2"]);
        filter.after = Some((5, "2".to_owned()));
        assert_eq!(ids(&mut filter, &second(6)), ["1", "2"]);
    }

    #[test]
    fn a_long_chain_is_read_once_for_all_who_follow_it() {
        let old = |number| {
            let event = transaction("1", "cc", TxValidationCode::Valid);
            Arc::new(block(number, vec![event]))
        };
        let (readers, blocks, kept) = (40, 2000, 100);
        let cache = OldBlocks::of(kept * size(&old(0)) as u64).0;
        let mut reads = 0;
        for number in 0..blocks {
            for _ in 0..readers {
                let key = ("channel".to_owned(), number);
                cache.get_with(key, || {
                    reads += 1;
                    old(number)
                });
            }
        }
        assert_eq!(reads, blocks);
        cache.run_pending_tasks();
        assert!(cache.entry_count() <= kept);
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
