//! Waiting for room on a full disk: the same write is tried again, with growing pauses.
//!
//! Raft takes a storage error for the end of the node, and a node that restarts finds the disk as full
//! as before. A disk that is merely slow it knows: nothing is acknowledged meanwhile, nothing has to be
//! made good afterwards, and no write comes after one that failed.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a disk has room for what is to be written.
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

    /// Whoever waits gets its error, now and later.
    pub(crate) fn give_up(&self) {
        self.state.lock().is_closed = true;
        self.closed.notify_all();
    }

    /// Does something that may find the disk full until it does not. Blocks.
    pub(crate) fn wait_for<T, E: Display>(
        &self,
        writing: &Path,
        is_full: impl Fn(&E) -> bool,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match attempt() {
                Err(error) if is_full(&error) => error,
                done => {
                    if self.state.lock().missing.take().is_some() {
                        tracing::info!(path = %writing.display(), "there is room on the disk again");
                    }
                    return done;
                }
            };
            let mut state = self.state.lock();
            if state.missing.is_none() {
                tracing::error!(
                    path = %writing.display(), %error,
                    "writing waits for room on the disk; nothing is acknowledged meanwhile"
                );
            }
            state.missing = Some(error.to_string());
            if !state.is_closed {
                self.closed.wait_for(&mut state, pause);
            }
            if state.is_closed {
                return Err(error);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn is_full(error: &&str) -> bool {
        *error == "full"
    }

    #[test]
    fn a_write_is_tried_again_until_there_is_room_and_other_errors_are_not() {
        let room = Room::default();
        let path = Path::new("disk");
        let mut answers = vec![Ok(3), Err("full"), Err("full")];
        let written = room.wait_for(path, is_full, || answers.pop().expect("an answer"));
        assert_eq!(written, Ok(3));
        assert_eq!(room.missing(), None);
        let mut answers = vec![Ok(3), Err("broken"), Err("full")];
        let written = room.wait_for(path, is_full, || answers.pop().expect("an answer"));
        assert_eq!(written, Err("broken"));
        assert_eq!(room.missing(), None);
    }

    #[test]
    fn whoever_waits_is_named_and_may_give_up() {
        let room = Room::default();
        let attempts = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                room.wait_for(Path::new("disk"), is_full, || {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    Err::<(), _>("full")
                })
            });
            while room.missing().is_none() {
                assert!(!waiting.is_finished(), "it does not wait");
                std::thread::yield_now();
            }
            room.give_up();
            assert_eq!(waiting.join().expect("no panic"), Err("full"));
        });
        let before = attempts.load(Ordering::SeqCst);
        let refused = room.wait_for(Path::new("disk"), is_full, || Err::<(), _>("full"));
        assert_eq!(refused, Err("full"));
        assert_eq!(attempts.load(Ordering::SeqCst), before);
    }
}
