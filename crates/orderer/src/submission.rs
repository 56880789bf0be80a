//! A message on its way into a channel's order, and the answer to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::common::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::refusal::Refusal;
use crate::rt;

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
    answer: Option<oneshot::Sender<Answer>>,
    /// Its share of the memory for waiting messages, until it is answered.
    _permit: OwnedSemaphorePermit,
}

/// A checked message, before somebody waits for it.
pub(crate) struct NewSubmission {
    pub(crate) envelope: Bytes,
    pub(crate) size: usize,
    pub(crate) config: bool,
    pub(crate) sequence: u64,
    pub(crate) forwarded: bool,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl NewSubmission {
    /// The submission whose answer goes there.
    pub(crate) fn answered_by(self, answer: oneshot::Sender<Answer>) -> Submission {
        Submission {
            envelope: self.envelope,
            size: self.size,
            config: self.config,
            sequence: self.sequence,
            forwarded: self.forwarded,
            _permit: self.permit,
            answer: Some(answer),
        }
    }
}

impl Submission {
    /// Tells whoever waits, if somebody still does.
    pub(crate) fn answer(self, answer: Answer) {
        if let Some(waiting) = self.answer {
            let _ = waiting.send(answer);
        }
    }

    /// Tells whoever waits that the message is ordered, though it is not.
    pub(crate) fn answer_early(&mut self) {
        if let Some(waiting) = self.answer.take() {
            let _ = waiting.send(Ok(()));
        }
    }
}

/// Bounds the memory of messages that are being processed, over all channels of a node.
#[derive(Clone)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
}

/// What one permit stands for.
const UNIT: usize = 1024;
/// Longest wait for memory.
const PATIENCE: Duration = Duration::from_secs(5);

impl Budget {
    /// A budget of that many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(bytes / UNIT)),
        }
    }

    /// Waits until a message of `size` bytes may be held, but not for ever: the client learns that
    /// it is sending faster than messages can be ordered.
    pub(crate) async fn take(&self, size: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = u32::try_from(size / UNIT + 1).unwrap_or(u32::MAX);
        let taking = self.permits.clone().acquire_many_owned(units);
        match rt::timeout(PATIENCE, taking).await {
            Some(Ok(permit)) => Ok(permit),
            Some(Err(_)) => Err(Refusal::unavailable("chain is stopped")),
            None => Err(Refusal::unavailable(
                "too many messages are waiting to be ordered, try again later",
            )),
        }
    }
}

/// The fields of a `BroadcastResponse` for an answer.
pub(crate) fn response(answer: &Answer) -> (Status, String) {
    match answer {
        Ok(()) => (Status::Success, String::new()),
        Err(refusal) => (refusal.status, refusal.info.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_for_messages_is_bounded_and_nobody_waits_for_ever() {
        let budget = Budget::new(8 * UNIT);
        let held = budget.take(6 * UNIT).await.expect("there is room");
        let small = budget.take(UNIT / 2).await;
        assert!(small.is_ok(), "a small one fits beside it");
        let refused = budget.take(4 * UNIT).await.expect_err("no room in time");
        assert_eq!(refused.status, Status::ServiceUnavailable);
        assert_eq!(
            refused.info,
            "too many messages are waiting to be ordered, try again later"
        );
        drop(held);
        assert!(budget.take(4 * UNIT).await.is_ok(), "room again");
    }
}
