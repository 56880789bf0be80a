//! Work that would keep a thread of the runtime from its other tasks: files, ciphers, schemas.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Works without keeping others from the thread, where it is one of a runtime with several.
pub(crate) fn off_the_reactor<T>(work: impl FnOnce() -> T) -> T {
    let several = Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if several {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
