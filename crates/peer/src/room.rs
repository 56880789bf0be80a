//! Waiting for room on a full disk: the same step is tried again, with growing pauses.

use std::time::Duration;

use consilium_ledger::LedgerError;
use parking_lot::{Condvar, Mutex};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a channel's disk has room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    missing: Option<String>,
    is_closed: bool,
}

impl Room {
    /// What is missing, while something waits.
    pub(crate) fn missing(&self) -> Option<String> {
        self.state.lock().missing.clone()
    }

    /// Whoever waits gives up, now and later.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.closed.notify_all();
    }

    /// Does something that may find the disk full until it does not. `None` as error: closed.
    pub(crate) fn wait_for<T>(
        &self,
        channel: &str,
        block: u64,
        mut attempt: impl FnMut() -> Result<T, LedgerError>,
    ) -> Result<T, Option<LedgerError>> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match attempt() {
                Err(error) if error.is_disk_full() => error,
                done => {
                    if self.state.lock().missing.take().is_some() {
                        tracing::info!(channel, block, "there is room on the disk again");
                    }
                    return done.map_err(Some);
                }
            };
            let mut state = self.state.lock();
            if state.missing.is_none() {
                tracing::error!(
                    channel, block, %error,
                    "commits wait for room on the disk; queries go on"
                );
            }
            state.missing = Some(error.to_string());
            if !state.is_closed {
                self.closed.wait_for(&mut state, pause);
            }
            if state.is_closed {
                return Err(None);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
