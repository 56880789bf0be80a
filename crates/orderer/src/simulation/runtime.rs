//! openraft's view of time and tasks: the simulated world's on a thread that runs one, tokio's
//! everywhere else.

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft_rt_tokio::TokioRuntime;
use pin_project_lite::pin_project;
use rand10::SeedableRng;
use rand10::rngs::SmallRng;
use tokio::sync::oneshot;

use super::executor;

/// The runtime.
#[derive(Debug)]
pub struct Runtime;

/// A point of the local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(std::time::Instant);

impl openraft::Instant for Instant {
    fn now() -> Self {
        Self(crate::rt::now())
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, other: Self) -> Duration {
        self.0 - other.0
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

/// A task was dropped before it ended.
#[derive(Debug)]
pub struct JoinError(bool);

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 {
            "task panicked"
        } else {
            "task was killed"
        })
    }
}

impl std::error::Error for JoinError {}

/// A task.
#[derive(Debug)]
pub enum JoinHandle<T> {
    /// Tokio's.
    Real(tokio::task::JoinHandle<T>),
    /// The simulated world's.
    Simulated(oneshot::Receiver<T>),
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Real(handle) => Pin::new(handle)
                .poll(context)
                .map(|joined| joined.map_err(|error| JoinError(error.is_panic()))),
            Self::Simulated(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|joined| joined.map_err(|_| JoinError(false))),
        }
    }
}

pin_project! {
    /// Waiting.
    #[project = SleepProjection]
    #[derive(Debug)]
    pub enum Sleep {
        /// On tokio's clock.
        Real { #[pin] sleep: tokio::time::Sleep },
        /// On a node's clock.
        Simulated { sleep: executor::Sleep },
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.project() {
            SleepProjection::Real { sleep } => sleep.poll(context),
            SleepProjection::Simulated { sleep } => Pin::new(sleep).poll(context),
        }
    }
}

pin_project! {
    /// A future with a deadline.
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        #[pin]
        sleep: Sleep,
    }
}

/// The deadline has passed.
#[derive(Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has passed")
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        this.sleep.poll(context).map(|()| Err(Elapsed))
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = JoinError;
    type JoinHandle<T: Send + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + Send> = Timeout<T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: Send + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        let Some(executor) = executor::current() else {
            return JoinHandle::Real(tokio::spawn(future));
        };
        let (done, joined) = oneshot::channel();
        executor.spawn(executor.process(), async move {
            // Nobody may be waiting.
            let _ = done.send(future.await);
        });
        JoinHandle::Simulated(joined)
    }

    fn sleep(duration: Duration) -> Sleep {
        match executor::Sleep::new(duration) {
            Some(sleep) => Sleep::Simulated { sleep },
            None => Sleep::Real {
                sleep: tokio::time::sleep(duration),
            },
        }
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        Self::sleep(deadline.0.saturating_duration_since(crate::rt::now()))
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Timeout<F> {
        Timeout {
            future,
            sleep: Self::sleep(duration),
        }
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout {
            future,
            sleep: Self::sleep_until(deadline),
        }
    }

    fn is_panic(error: &JoinError) -> bool {
        error.0
    }

    fn thread_rng() -> SmallRng {
        SmallRng::seed_from_u64(crate::rt::random())
    }

    fn new(_: usize) -> Self {
        Self
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        futures_util::future::FutureExt::now_or_never(future)
            .expect("only openraft's own tests call this")
    }

    async fn spawn_blocking<F, T>(work: F) -> Result<T, std::io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        crate::rt::blocking(work).await
    }
}
