//! CommitStatus: what became of a transaction, now or as soon as it is known.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use consilium_msp::SignedData;
use consilium_peer::{CommittedBlock, PeerChannel, acl};
use consilium_proto::{
    gateway::{CommitStatusRequest, CommitStatusResponse, SignedCommitStatusRequest},
    protos::TxValidationCode,
};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{broadcast::error::RecvError, oneshot};
use tonic::Status;

use crate::service::Gateway;

impl Gateway {
    /// Waits for the transaction without a deadline of its own.
    pub(crate) async fn commit_status(
        &self,
        signed: SignedCommitStatusRequest,
    ) -> Result<CommitStatusResponse, Status> {
        let request = CommitStatusRequest::decode(signed.request.clone()).map_err(|error| {
            Status::invalid_argument(format!("invalid status request: {error}"))
        })?;
        if request.identity.is_empty() {
            return Err(Status::invalid_argument("no identity provided"));
        }
        if request.channel_id.is_empty() {
            return Err(Status::invalid_argument("no channel ID provided"));
        }
        if request.transaction_id.is_empty() {
            return Err(Status::invalid_argument(
                "transaction ID should not be empty",
            ));
        }
        let Ok(channel) = self.find_channel(&request.channel_id) else {
            // Nobody has rights on a channel that is not there.
            return Err(Status::permission_denied(format!(
                "Failed to get policy manager for channel [{}]",
                request.channel_id
            )));
        };
        let data = SignedData {
            data: signed.request,
            identity: request.identity,
            signature: signed.signature,
        };
        self.check_signed(&channel, acl::GATEWAY_COMMIT_STATUS, data)
            .await?;
        // Registered before the ledger is asked, so that no commit falls in between.
        let waiting = self.commits().register(&channel, &request.transaction_id);
        let known = channel
            .ledger()
            .tx_status(&request.transaction_id)
            .map_err(|error| Status::aborted(error.to_string()))?;
        if let Some(status) = known {
            return Ok(response(status.code, status.block));
        }
        match waiting.outcome().await {
            Some((code, block)) => Ok(response(code, block)),
            None => Err(Status::aborted("channel has stopped")),
        }
    }
}

fn response(code: TxValidationCode, block_number: u64) -> CommitStatusResponse {
    CommitStatusResponse {
        result: code as i32,
        block_number,
    }
}

type Outcome = (TxValidationCode, u64);
type Waiters = HashMap<String, Vec<(u64, oneshot::Sender<Outcome>)>>;

/// Those who wait for transactions, by channel.
#[derive(Default)]
pub(crate) struct Commits {
    channels: Mutex<HashMap<String, Arc<Notifier>>>,
}

impl Commits {
    /// Takes a place in the queue for a transaction's outcome.
    fn register(&self, channel: &Arc<PeerChannel>, tx_id: &str) -> Waiting {
        let notifier = self
            .channels
            .lock()
            .entry(channel.name().to_owned())
            .or_insert_with(|| Notifier::start(channel))
            .clone();
        notifier.register(tx_id)
    }
}

/// Tells waiters of one channel what each block decided.
#[derive(Default)]
struct Notifier {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    waiters: Waiters,
}

impl Notifier {
    fn start(channel: &Arc<PeerChannel>) -> Arc<Self> {
        let notifier = Arc::new(Self::default());
        // Subscribed here, before anybody registers.
        let mut commits = channel.subscribe_commits();
        let (weak, channel) = (Arc::downgrade(&notifier), Arc::downgrade(channel));
        tokio::spawn(async move {
            loop {
                let received = commits.recv().await;
                let Some(notifier) = Weak::upgrade(&weak) else {
                    return;
                };
                match received {
                    Ok(block) => notifier.notify(&block),
                    Err(RecvError::Lagged(_)) => {
                        let Some(channel) = Weak::upgrade(&channel) else {
                            return;
                        };
                        notifier.look_up(&channel);
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
        notifier
    }

    fn register(self: Arc<Self>, tx_id: &str) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let ticket = state.next;
        state.next += 1;
        state
            .waiters
            .entry(tx_id.to_owned())
            .or_default()
            .push((ticket, sender));
        drop(state);
        Waiting {
            notifier: self,
            tx_id: tx_id.to_owned(),
            ticket,
            receiver,
        }
    }

    /// The first transaction of an id in a block is the one that counts.
    fn notify(&self, block: &CommittedBlock) {
        let mut state = self.state.lock();
        if state.waiters.is_empty() {
            return;
        }
        for transaction in &block.transactions {
            if let Some(waiters) = state.waiters.remove(&transaction.tx_id) {
                for (_, waiter) in waiters {
                    // The caller may have gone.
                    let _ = waiter.send((transaction.code, block.number));
                }
            }
        }
    }

    /// Blocks went by unseen: the ledger knows what was in them.
    fn look_up(&self, channel: &PeerChannel) {
        let waiting: Vec<String> = self.state.lock().waiters.keys().cloned().collect();
        for tx_id in waiting {
            match channel.ledger().tx_status(&tx_id) {
                Ok(None) => {}
                Ok(Some(status)) => {
                    let waiters = self.state.lock().waiters.remove(&tx_id).unwrap_or_default();
                    for (_, waiter) in waiters {
                        let _ = waiter.send((status.code, status.block));
                    }
                }
                Err(error) => tracing::error!(tx = tx_id, %error, "cannot look up a transaction"),
            }
        }
    }
}

/// A place in the queue; given back when dropped.
struct Waiting {
    notifier: Arc<Notifier>,
    tx_id: String,
    ticket: u64,
    receiver: oneshot::Receiver<Outcome>,
}

impl Waiting {
    async fn outcome(mut self) -> Option<Outcome> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.notifier.state.lock();
        if let Some(waiters) = state.waiters.get_mut(&self.tx_id) {
            waiters.retain(|(ticket, _)| *ticket != self.ticket);
            if waiters.is_empty() {
                state.waiters.remove(&self.tx_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_peer::CommittedTransaction;

    fn block(number: u64, transactions: &[(&str, TxValidationCode)]) -> CommittedBlock {
        CommittedBlock {
            number,
            transactions: transactions
                .iter()
                .map(|&(tx_id, code)| CommittedTransaction {
                    tx_id: tx_id.to_owned(),
                    code,
                    event: None,
                })
                .collect(),
        }
    }

    #[tokio::test]
    async fn everybody_who_waits_for_a_transaction_hears_of_its_first_occurrence() {
        let notifier = Arc::new(Notifier::default());
        let one = notifier.clone().register("a");
        let two = notifier.clone().register("a");
        let other = notifier.clone().register("b");
        notifier.notify(&block(
            7,
            &[
                ("a", TxValidationCode::MvccReadConflict),
                ("a", TxValidationCode::DuplicateTxid),
            ],
        ));
        for waiting in [one, two] {
            assert_eq!(
                waiting.outcome().await,
                Some((TxValidationCode::MvccReadConflict, 7))
            );
        }
        notifier.notify(&block(8, &[("b", TxValidationCode::Valid)]));
        assert_eq!(other.outcome().await, Some((TxValidationCode::Valid, 8)));
    }

    #[test]
    fn whoever_gives_up_leaves_nothing_behind() {
        let notifier = Arc::new(Notifier::default());
        let one = notifier.clone().register("a");
        let two = notifier.clone().register("a");
        drop(one);
        assert_eq!(notifier.state.lock().waiters.len(), 1);
        drop(two);
        assert!(notifier.state.lock().waiters.is_empty());
    }
}
