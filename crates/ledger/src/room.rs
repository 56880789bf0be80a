//! Waiting for room on a full disk: the same write is tried again, with growing pauses.
//!
//! A node that stops and restarts finds the disk as full as before. Those who wait for a write know a
//! disk that is merely slow: nothing is acknowledged meanwhile, nothing has to be made good afterwards,
//! and no write comes after one that failed.

use std::fmt::Display;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a disk has room for what is to be written.
#[derive(Debug, Default)]
pub struct Room {
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
    pub fn missing(&self) -> Option<String> {
        self.state.lock().missing.clone()
    }

    /// Whoever waits gets its error, now and later.
    pub fn give_up(&self) {
        self.state.lock().is_closed = true;
        self.closed.notify_all();
    }

    /// Does something that may find the disk full until it does not. Blocks. Gives the error of a full
    /// disk only after [`give_up`](Self::give_up). `writing` says in the log what waits.
    pub fn wait_for<T, E: Display>(
        &self,
        writing: impl Display,
        is_full: impl Fn(&E) -> bool,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match attempt() {
                Err(error) if is_full(&error) => error,
                done => {
                    if self.state.lock().missing.take().is_some() {
                        tracing::info!(%writing, "there is room on the disk again");
                    }
                    return done;
                }
            };
            let mut state = self.state.lock();
            if state.missing.is_none() {
                tracing::error!(
                    %writing, %error,
                    "waits for room on the disk; nothing is acknowledged meanwhile, reading goes on"
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
        let mut answers = vec![Ok(3), Err("full"), Err("full")];
        let written = room.wait_for("disk", is_full, || answers.pop().expect("an answer"));
        assert_eq!(written, Ok(3));
        assert_eq!(room.missing(), None);
        let mut answers = vec![Ok(3), Err("broken"), Err("full")];
        let written = room.wait_for("disk", is_full, || answers.pop().expect("an answer"));
        assert_eq!(written, Err("broken"));
        assert_eq!(room.missing(), None);
    }

    #[test]
    fn whoever_waits_is_named_and_may_give_up() {
        let room = Room::default();
        let attempts = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                room.wait_for("disk", is_full, || {
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
        let refused = room.wait_for("disk", is_full, || Err::<(), _>("full"));
        assert_eq!(refused, Err("full"));
        assert_eq!(attempts.load(Ordering::SeqCst), before);
    }
}
