//! Time and tasks, in one place: tokio's, or with the feature `simulation` those of a simulated
//! world where one is running on this thread.
//!
//! Whatever takes part in consensus waits, sleeps and spawns through here, so that a simulator can
//! decide what happens next.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use openraft::AsyncRuntime;

#[cfg(not(feature = "simulation"))]
pub(crate) use openraft_rt_tokio::TokioRuntime as Runtime;

#[cfg(feature = "simulation")]
pub(crate) use crate::simulation::runtime::Runtime;

/// A spawned task; it goes on when this is dropped.
pub(crate) type Task<T> = <Runtime as AsyncRuntime>::JoinHandle<T>;

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "simulation")]
    if let Some(now) = crate::simulation::executor::local_now() {
        return now;
    }
    Instant::now()
}

/// The wall clock.
pub(crate) fn system_time() -> SystemTime {
    #[cfg(feature = "simulation")]
    if let Some(now) = crate::simulation::executor::system_time() {
        return now;
    }
    SystemTime::now()
}

/// A number that nobody can foretell, or the seed's next one.
pub(crate) fn random() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(number) = crate::simulation::executor::random() {
        return number;
    }
    rand::random()
}

/// Starts a task.
pub(crate) fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Runtime::spawn(future)
}

/// Waits.
pub(crate) async fn sleep(duration: Duration) {
    Runtime::sleep(duration).await;
}

/// Waits until then; for ever without a time.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep(at.saturating_duration_since(now())).await,
        None => std::future::pending().await,
    }
}

/// The future's output, if it comes in time.
pub(crate) async fn timeout<F>(limit: Duration, future: F) -> Option<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    Runtime::timeout(limit, future).await.ok()
}

/// Runs `work` on a thread that may block on the disk or compute for long.
pub(crate) async fn blocking<T, F>(work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    #[cfg(feature = "simulation")]
    if crate::simulation::executor::is_active() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

/// Whether this thread belongs to a simulated world: no other threads may be started then.
#[cfg(feature = "simulation")]
pub(crate) fn is_simulated() -> bool {
    crate::simulation::executor::is_active()
}
