//! Bugs that tests switch on to see that the simulator finds them. Without the feature
//! `simulation` they do not exist.

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug(#[cfg(feature = "simulation")] u8);

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        $($(#[$doc])* pub const $name: Bug = Bug(#[cfg(feature = "simulation")] $bit);)*
    };
}

bugs! {
    /// A message is acknowledged when its batch is proposed, not when a quorum has it.
    ACKNOWLEDGE_EARLY = 1;
    /// The vote is answered before it is on disk.
    VOTE_UNSYNCED = 2;
    /// Entries whose blocks are in the chain are applied again.
    APPLY_TWICE = 4;
    /// A leader that was deposed goes on cutting: what it could not get into the log it still
    /// counts as its own to order.
    DEPOSED_CUTS = 8;
}

#[cfg(feature = "simulation")]
thread_local! {
    static ON: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
}

impl Bug {
    /// Whether it is there, on this thread.
    #[cfg(feature = "simulation")]
    pub(crate) fn is_on(self) -> bool {
        ON.with(std::cell::Cell::get) & self.0 != 0
    }

    #[cfg(not(feature = "simulation"))]
    pub(crate) const fn is_on(self) -> bool {
        false
    }

    /// Switches it, and no other, on for this thread; `None` switches all off.
    #[cfg(feature = "simulation")]
    pub fn set(bug: Option<Bug>) {
        ON.with(|on| on.set(bug.map_or(0, |bug| bug.0)));
    }
}
