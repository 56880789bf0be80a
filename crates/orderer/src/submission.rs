//! A message on its way into a channel's order, and the answer to it.

use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::common::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::refusal::Refusal;

/// `Ok` once the message is in a block that a quorum has on disk.
pub(crate) type Answer = Result<(), Refusal>;

/// A checked message that waits to be ordered.
pub(crate) struct Submission {
    /// Encoded `common.Envelope`, canonical.
    pub(crate) envelope: Bytes,
    /// Length of payload plus signature.
    pub(crate) size: usize,
    /// A CONFIG envelope.
    pub(crate) config: bool,
    /// Config sequence that it was checked under.
    pub(crate) sequence: u64,
    /// Came from another orderer, and is not passed on again.
    pub(crate) forwarded: bool,
    /// Who waits.
    pub(crate) answer: oneshot::Sender<Answer>,
    /// Its share of the memory for waiting messages.
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Submission {
    /// Tells whoever waits, if somebody still does.
    pub(crate) fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

/// Bounds the memory of messages that are being processed, over all channels of a node.
#[derive(Clone)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
}

/// What one permit stands for.
const UNIT: usize = 1024;

impl Budget {
    /// A budget of that many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(bytes / UNIT)),
        }
    }

    /// Waits until a message of `size` bytes may be held.
    pub(crate) async fn take(&self, size: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = u32::try_from(size / UNIT + 1).unwrap_or(u32::MAX);
        let closed = |_| Refusal::unavailable("chain is stopped");
        self.permits
            .clone()
            .acquire_many_owned(units)
            .await
            .map_err(closed)
    }
}

/// The fields of a `BroadcastResponse` for an answer.
pub(crate) fn response(answer: &Answer) -> (Status, String) {
    match answer {
        Ok(()) => (Status::Success, String::new()),
        Err(refusal) => (refusal.status, refusal.info.clone()),
    }
}
