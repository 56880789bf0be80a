//! A single-threaded executor whose every choice comes from a seed: which task runs next, when
//! time passes, what a random number is.
//!
//! Tasks belong to a *process*: killing one drops its tasks where they are. Each node has a clock
//! of its own, with an offset and a rate.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rand10::rngs::SmallRng;
use rand10::{RngExt, SeedableRng};

/// Most polls of a run; usual are some ten thousand.
const MAX_STEPS: u64 = 5_000_000;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Executor>>> = const { RefCell::new(None) };
}

/// A node's process: the node, and how often it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Number of the node; the world itself is [`WORLD`].
    pub node: usize,
    /// Counts starts.
    pub start: u64,
}

/// The process of the test itself; it is never killed and its clock is true.
pub const WORLD: Process = Process {
    node: usize::MAX,
    start: 0,
};

/// How a node's clock differs from true time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Ahead by so much at the beginning.
    pub offset: Duration,
    /// Seconds that it counts in a true one.
    pub rate: f64,
}

struct Slot {
    future: Option<BoxFuture>,
    process: Process,
}

struct Inner {
    tasks: BTreeMap<u64, Slot>,
    timers: BTreeMap<(Duration, u64), Waker>,
    now: Duration,
    next: u64,
    random: SmallRng,
    process: Process,
    dead: BTreeSet<Process>,
    clocks: BTreeMap<usize, Clock>,
    trace: u64,
    steps: u64,
}

/// Tasks that can go on. Ordered: in which order they were woken does not matter, since channels
/// wake in an order of their own.
#[derive(Default)]
struct Ready(Mutex<BTreeSet<u64>>);

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.0.lock().insert(self.task);
    }
}

/// The executor of one simulated world.
pub struct Executor {
    inner: RefCell<Inner>,
    ready: Arc<Ready>,
}

/// Takes the executor off this thread when it is dropped.
pub struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        let executor = CURRENT.with(|current| current.borrow().clone());
        if let Some(executor) = executor {
            // While the executor is still there, for what tasks do when they are dropped.
            let tasks = std::mem::take(&mut executor.inner.borrow_mut().tasks);
            drop(tasks);
        }
        CURRENT.with(|current| current.borrow_mut().take());
    }
}

impl Executor {
    /// Puts a new executor on this thread.
    pub fn enter(seed: u64) -> (Rc<Self>, Entered) {
        let executor = Rc::new(Self {
            inner: RefCell::new(Inner {
                tasks: BTreeMap::new(),
                timers: BTreeMap::new(),
                now: Duration::ZERO,
                next: 0,
                random: SmallRng::seed_from_u64(seed),
                process: WORLD,
                dead: BTreeSet::new(),
                clocks: BTreeMap::new(),
                trace: seed,
                steps: 0,
            }),
            ready: Arc::default(),
        });
        CURRENT.with(|current| *current.borrow_mut() = Some(executor.clone()));
        (executor, Entered(()))
    }

    /// Runs until `done` resolves; gives its output, or `None` if true time passed `limit` before,
    /// or if so many steps did not get there that it must be going round in circles.
    pub fn run_until<T: Send + 'static>(
        &self,
        limit: Duration,
        done: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let result = Arc::new(Mutex::new(None));
        let slot = result.clone();
        self.spawn(WORLD, async move {
            let output = done.await;
            *slot.lock() = Some(output);
        });
        loop {
            if let Some(output) = result.lock().take() {
                return Some(output);
            }
            if self.now() > limit || self.trace().1 > MAX_STEPS || !self.step() {
                return None;
            }
        }
    }

    /// One poll of one task, or the passing of time up to the next timer. False if nothing can
    /// happen any more.
    fn step(&self) -> bool {
        let task = {
            let mut ready = self.ready.0.lock();
            let count = ready.len();
            if count == 0 {
                None
            } else {
                let at = self.inner.borrow_mut().random.random_range(0..count);
                let task = ready.iter().nth(at).copied();
                if let Some(task) = task {
                    ready.remove(&task);
                }
                task
            }
        };
        match task {
            Some(task) => self.poll(task),
            None => return self.pass_time(),
        }
        true
    }

    fn pass_time(&self) -> bool {
        let due: Vec<Waker> = {
            let mut inner = self.inner.borrow_mut();
            let Some(((at, _), _)) = inner.timers.first_key_value() else {
                return false;
            };
            let at = *at;
            inner.now = inner.now.max(at);
            inner.note(at.as_nanos() as u64);
            let mut due = Vec::new();
            while let Some(entry) = inner.timers.first_entry()
                && entry.key().0 <= at
            {
                due.push(entry.remove());
            }
            due
        };
        due.into_iter().for_each(Waker::wake);
        true
    }

    fn poll(&self, task: u64) {
        let (mut future, process) = {
            let mut inner = self.inner.borrow_mut();
            let Some(slot) = inner.tasks.get_mut(&task) else {
                return;
            };
            let Some(future) = slot.future.take() else {
                return;
            };
            let process = slot.process;
            inner.process = process;
            inner.steps += 1;
            inner.note(task);
            (future, process)
        };
        let waker = Waker::from(Arc::new(TaskWaker {
            task,
            ready: self.ready.clone(),
        }));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let rest = {
            let mut inner = self.inner.borrow_mut();
            let alive = !inner.dead.contains(&process);
            if polled.is_pending() && alive {
                if let Some(slot) = inner.tasks.get_mut(&task) {
                    slot.future = Some(future);
                }
                None
            } else {
                Some((inner.tasks.remove(&task), future))
            }
        };
        drop(rest);
        self.inner.borrow_mut().process = WORLD;
    }

    /// Starts a task of a process; one of a killed process never runs.
    pub fn spawn(&self, process: Process, future: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.inner.borrow_mut();
        if inner.dead.contains(&process) {
            return;
        }
        let task = inner.next;
        inner.next += 1;
        let future: BoxFuture = Box::pin(future);
        inner.tasks.insert(
            task,
            Slot {
                future: Some(future),
                process,
            },
        );
        self.ready.0.lock().insert(task);
    }

    /// Ends a process at once.
    pub fn kill(&self, process: Process) {
        let gone: Vec<Slot> = {
            let mut inner = self.inner.borrow_mut();
            inner.dead.insert(process);
            let tasks: Vec<u64> = inner
                .tasks
                .iter()
                .filter(|(_, slot)| slot.process == process && slot.future.is_some())
                .map(|(task, _)| *task)
                .collect();
            tasks
                .iter()
                .filter_map(|task| inner.tasks.remove(task))
                .collect()
        };
        drop(gone);
    }

    /// Sets a node's clock.
    pub fn set_clock(&self, node: usize, clock: Clock) {
        self.inner.borrow_mut().clocks.insert(node, clock);
    }

    /// True time since the beginning.
    pub fn now(&self) -> Duration {
        self.inner.borrow().now
    }

    /// The process whose task is running.
    pub fn process(&self) -> Process {
        self.inner.borrow().process
    }

    /// A number of the seed's sequence.
    pub fn random(&self) -> u64 {
        self.inner.borrow_mut().random.random()
    }

    /// A hash over everything that has happened: equal for equal runs.
    pub fn trace(&self) -> (u64, u64) {
        let inner = self.inner.borrow();
        (inner.trace, inner.steps)
    }

    fn add_timer(&self, at: Duration, waker: Waker) -> (Duration, u64) {
        let mut inner = self.inner.borrow_mut();
        inner.next += 1;
        let key = (at, inner.next);
        inner.timers.insert(key, waker);
        key
    }

    fn remove_timer(&self, key: (Duration, u64)) {
        let waker = self.inner.borrow_mut().timers.remove(&key);
        drop(waker);
    }
}

impl Inner {
    fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23);
    }

    fn clock(&self) -> Clock {
        let truth = Clock {
            offset: Duration::ZERO,
            rate: 1.0,
        };
        self.clocks
            .get(&self.process.node)
            .copied()
            .unwrap_or(truth)
    }
}

/// The executor of this thread.
pub fn current() -> Option<Rc<Executor>> {
    CURRENT.with(|current| current.borrow().clone())
}

/// Whether this thread runs a simulated world.
pub(crate) fn is_active() -> bool {
    CURRENT.with(|current| current.borrow().is_some())
}

/// The clock of the node whose task is running.
pub(crate) fn local_now() -> Option<Instant> {
    static START: OnceLock<Instant> = OnceLock::new();
    let executor = current()?;
    let inner = executor.inner.borrow();
    let clock = inner.clock();
    Some(*START.get_or_init(Instant::now) + clock.offset + inner.now.mul_f64(clock.rate))
}

/// The wall clock of the node whose task is running.
pub(crate) fn system_time() -> Option<SystemTime> {
    static START: OnceLock<SystemTime> = OnceLock::new();
    let executor = current()?;
    let inner = executor.inner.borrow();
    let clock = inner.clock();
    Some(*START.get_or_init(SystemTime::now) + clock.offset + inner.now.mul_f64(clock.rate))
}

/// Starts a task of a process; nothing happens outside a simulated world.
pub(crate) fn spawn_in(process: Process, future: impl Future<Output = ()> + Send + 'static) {
    if let Some(executor) = current() {
        executor.spawn(process, future);
    }
}

/// Starts a task of the process whose task is running.
pub(crate) fn spawn_here(future: impl Future<Output = ()> + Send + 'static) {
    if let Some(executor) = current() {
        executor.spawn(executor.process(), future);
    }
}

pub(crate) fn random() -> Option<u64> {
    Some(current()?.random())
}

/// Waits on the clock of the node that made it.
#[derive(Debug)]
pub struct Sleep {
    at: Duration,
    timer: Option<(Duration, u64)>,
}

impl Sleep {
    pub(crate) fn new(duration: Duration) -> Option<Self> {
        let executor = current()?;
        let inner = executor.inner.borrow();
        let true_duration = duration
            .min(Duration::from_secs(1 << 30))
            .div_f64(inner.clock().rate);
        Some(Self {
            at: inner.now + true_duration,
            timer: None,
        })
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(executor) = current() else {
            return Poll::Ready(());
        };
        if let Some(timer) = self.timer.take() {
            executor.remove_timer(timer);
        }
        if executor.now() >= self.at {
            return Poll::Ready(());
        }
        self.timer = Some(executor.add_timer(self.at, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(timer), Some(executor)) = (self.timer, current()) {
            executor.remove_timer(timer);
        }
    }
}
