//! One call of a chaincode over a stream: the context of its requests until its final word.

use super::iterators::Iterators;
use crate::outcome::Outcome;
use crate::session::Session;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

/// What bounds a chaincode's queries and batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Results that one query may pull (`ledger.state.totalQueryLimit`).
    pub(crate) total_query: u32,
    /// Whether past values of keys may be asked for.
    pub(crate) history: bool,
    /// Writes per batch offered to shims; `None`: batches are not offered.
    pub(crate) write_batch: Option<u32>,
    /// Keys per multiple read offered to shims; `None`: not offered.
    pub(crate) multiple_keys: Option<u32>,
}

/// A call that is under way.
pub(crate) struct Exchange {
    pub(super) session: Arc<Session>,
    /// The called chaincode's name: the namespace of its state.
    pub(super) chaincode: String,
    pub(super) is_init: bool,
    pub(super) iterators: Mutex<Iterators>,
    busy: AtomicBool,
    finish: Mutex<Option<oneshot::Sender<Outcome>>>,
}

impl Exchange {
    /// A new call, and where its outcome will arrive.
    pub(crate) fn new(
        session: Arc<Session>,
        chaincode: &str,
        is_init: bool,
    ) -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (finish, finished) = oneshot::channel();
        let exchange = Self {
            session,
            chaincode: chaincode.to_owned(),
            is_init,
            iterators: Mutex::default(),
            busy: AtomicBool::new(false),
            finish: Mutex::new(Some(finish)),
        };
        (Arc::new(exchange), finished)
    }

    /// Takes the call's one slot for a request under way; false when it is taken.
    pub(super) fn begin_request(&self) -> bool {
        !self.busy.swap(true, Ordering::AcqRel)
    }

    /// Frees the slot. Before the answer is sent, as the next request may follow at once.
    pub(super) fn end_request(&self) {
        self.busy.store(false, Ordering::Release);
    }

    /// Delivers the outcome to whoever waits; only the first one counts.
    pub(super) fn finish(&self, outcome: Outcome) {
        if let Some(finish) = self.finish.lock().take() {
            // Nobody waits any more after a timeout.
            let _ = finish.send(outcome);
        }
    }
}
