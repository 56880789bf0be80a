//! One at a time: whoever comes with the name of something that is under way waits for its end.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// An organization and what it named: a request, an import.
type Name = (String, String);

/// Names of what is under way.
#[derive(Default)]
pub(crate) struct Turns {
    taken: Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    /// Waits until nobody else has this name, and takes it.
    pub async fn take(&self, msp: &str, name: &str) -> Turn<'_> {
        let name = (msp.to_owned(), name.to_owned());
        let place = self.taken.lock().entry(name.clone()).or_default().clone();
        // Before the wait, so that who gives up clears away as well.
        let mut turn = Turn {
            turns: self,
            name,
            held: None,
        };
        turn.held = Some(place.lock_owned().await);
        turn
    }
}

/// Ends with its owner.
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    name: Name,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut taken = self.turns.taken.lock();
        // Nobody waits: the map has the only one.
        if taken
            .get(&self.name)
            .is_some_and(|place| Arc::strong_count(place) == 1)
        {
            taken.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_same_name_waits_and_another_does_not() {
        let turns = Turns::default();
        let take = |msp: &'static str, name: &'static str| Box::pin(turns.take(msp, name));
        let first = take("A", "1").now_or_never().unwrap();
        let mut second = take("A", "1");
        assert!((&mut second).now_or_never().is_none());
        for (msp, name) in [("A", "2"), ("B", "1")] {
            assert!(take(msp, name).now_or_never().is_some());
        }
        assert!(take("A", "1").now_or_never().is_none(), "it gives up");
        drop(first);
        let second = second.now_or_never().unwrap();
        assert_eq!(turns.taken.lock().len(), 1);
        drop(second);
        assert!(turns.taken.lock().is_empty());
    }
}
