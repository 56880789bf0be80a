//! Clients that call without pause, and what that came to.

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use consilium_client::ClientError;
use consilium_transport::MAX_MESSAGE;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// Latencies are counted in microseconds up to ten minutes.
const LONGEST: u64 = 600_000_000;

/// More tasks than a machine has memory for, at their few kilobytes.
const MOST_CLIENTS: usize = 10_000_000;

/// A load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Concurrent clients.
    pub clients: usize,
    /// Most calls per second over all clients; 0 is as many as possible.
    pub rate: u64,
    /// How long to call before measuring.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
}

/// What a load came to.
#[derive(Debug)]
pub struct Measured {
    /// Of the successful calls, in microseconds.
    pub latencies: Histogram<u64>,
    /// How many calls failed, by what was said.
    pub errors: BTreeMap<String, u64>,
    /// How many succeeded.
    pub done: u64,
    /// What processes cost meanwhile: name, seconds of CPU, resident bytes at the end.
    pub costs: Vec<(String, f64, u64)>,
}

impl Measured {
    /// A quantile of the latencies in milliseconds.
    pub fn millis(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Both together, the costs of the same processes added.
    ///
    /// # Errors
    /// None in practice: all histograms have the same bounds.
    pub fn and(mut self, other: Self) -> anyhow::Result<Self> {
        self.latencies.add(&other.latencies)?;
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        for (name, cpu, resident) in other.costs {
            match self.costs.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, before, now)) => {
                    *before += cpu;
                    *now = resident;
                }
                None => self.costs.push((name, cpu, resident)),
            }
        }
        self.done += other.done;
        Ok(self)
    }

    /// Milliseconds of CPU of all processes per successful call.
    pub fn cpu_millis(&self) -> f64 {
        let cpu: f64 = self.costs.iter().map(|(_, cpu, _)| cpu).sum();
        cpu * 1000.0 / self.done.max(1) as f64
    }
}

/// A load that is on.
pub struct Running {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the clients of a load count.
pub struct Shared {
    latencies: Mutex<Histogram<u64>>,
    errors: Mutex<BTreeMap<String, u64>>,
    done: AtomicU64,
    sequence: AtomicU64,
    start: Instant,
    measure_from: Instant,
    stop_at: Instant,
    rate: u64,
}

impl Load {
    /// Starts the clients; `call` gets the client's index and how many calls it made before.
    ///
    /// # Errors
    /// More clients than a machine has memory for, or times beyond those that there are.
    pub fn start<C, F>(&self, call: C) -> anyhow::Result<Running>
    where
        C: Fn(usize, u64) -> F + Clone + Send + 'static,
        F: Future<Output = Result<(), ClientError>> + Send + 'static,
    {
        anyhow::ensure!(
            self.clients <= MOST_CLIENTS,
            "at most {MOST_CLIENTS} clients"
        );
        let start = Instant::now();
        let measure_from = start.checked_add(self.warmup);
        let stop_at = measure_from.and_then(|from| from.checked_add(self.duration));
        let (Some(measure_from), Some(stop_at)) = (measure_from, stop_at) else {
            anyhow::bail!("no clock goes on for so long: choose a shorter duration and warmup");
        };
        let shared = Arc::new(Shared {
            latencies: Mutex::new(Histogram::new_with_bounds(1, LONGEST, 3)?),
            errors: Mutex::default(),
            done: AtomicU64::new(0),
            sequence: AtomicU64::new(0),
            start,
            measure_from,
            stop_at,
            rate: self.rate,
        });
        let tasks = (0..self.clients)
            .map(|client| tokio::spawn(drive(shared.clone(), client, call.clone())))
            .collect();
        Ok(Running { shared, tasks })
    }
}

impl Running {
    /// What is counted so far.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits for the end; `processes` are names and ids of those whose cost to tell.
    ///
    /// # Errors
    /// A client panicked.
    pub async fn finish(self, processes: &[(String, u32)]) -> anyhow::Result<Measured> {
        let usages = || -> Vec<_> { processes.iter().map(|(_, pid)| usage(*pid)).collect() };
        tokio::time::sleep_until(self.shared.measure_from.into()).await;
        let before = usages();
        tokio::time::sleep_until(self.shared.stop_at.into()).await;
        let after = usages();
        for task in self.tasks {
            task.await?;
        }
        let costs = processes
            .iter()
            .zip(before.into_iter().zip(after))
            .filter_map(|((name, _), (before, after))| {
                let (before, after) = (before?, after?);
                Some((name.clone(), after.0 - before.0, after.1))
            })
            .collect();
        Ok(Measured {
            latencies: self.shared.latencies.lock().clone(),
            errors: self.shared.errors.lock().clone(),
            done: self.shared.done.load(Ordering::Relaxed),
            costs,
        })
    }
}

impl Shared {
    /// Since the first call.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Successful and failed calls, and the seconds in which they were counted.
    pub fn counts(&self) -> (u64, u64, f64) {
        (
            self.done.load(Ordering::Relaxed),
            self.errors.lock().values().sum(),
            self.measure_from.elapsed().as_secs_f64().max(0.001),
        )
    }
}

/// A value of that many bytes, to be written.
///
/// # Errors
/// No message takes so many.
pub fn payload(bytes: usize) -> anyhow::Result<Arc<str>> {
    anyhow::ensure!(
        bytes <= MAX_MESSAGE,
        "a payload of {bytes} bytes is too long: messages have at most {MAX_MESSAGE}"
    );
    Ok("x".repeat(bytes).into())
}

async fn drive<C, F>(shared: Arc<Shared>, client: usize, call: C)
where
    C: Fn(usize, u64) -> F,
    F: Future<Output = Result<(), ClientError>>,
{
    let mut count = 0;
    loop {
        if shared.rate > 0 {
            let slot = shared.sequence.fetch_add(1, Ordering::Relaxed);
            let due = shared.start + Duration::from_secs_f64(slot as f64 / shared.rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
        let began = Instant::now();
        if began >= shared.stop_at {
            return;
        }
        let calling = call(client, count);
        let outcome = calling.await;
        count += 1;
        let ended = Instant::now();
        if began < shared.measure_from || ended > shared.stop_at {
            continue;
        }
        match outcome {
            Ok(()) => {
                let micros = u64::try_from((ended - began).as_micros()).unwrap_or(u64::MAX);
                // Values beyond the histogram's range are counted at its end.
                shared.latencies.lock().saturating_record(micros);
                shared.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                *shared.errors.lock().entry(kind(&error)).or_default() += 1;
                // A refused client would otherwise spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn kind(error: &ClientError) -> String {
    match error {
        ClientError::Refused {
            step,
            code,
            message,
            details,
        } => match details.first() {
            Some(detail) => format!(
                "{step:?}: {code:?} {message}; {}: {}",
                detail.msp_id, detail.message
            ),
            None => format!("{step:?}: {code:?} {message}"),
        },
        ClientError::Invalid { code, .. } => code.as_str_name().to_owned(),
        other => other.to_string(),
    }
}

/// CPU seconds and resident bytes of a process, from proc(5).
fn usage(pid: u32) -> Option<(f64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.get(stat.rfind(')')? + 2..)?;
    let fields: Vec<_> = rest.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .ok()?;
    // The unit of these fields is 1/100 s on every Linux that Rust supports.
    Some((ticks as f64 / 100.0, resident * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_can_do_is_refused() {
        let load = Load {
            clients: 1,
            rate: 0,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
        };
        for (load, reason) in [
            (
                Load {
                    clients: usize::MAX,
                    ..load
                },
                "at most",
            ),
            (
                Load {
                    warmup: Duration::MAX,
                    ..load
                },
                "no clock",
            ),
            (
                Load {
                    duration: Duration::MAX,
                    ..load
                },
                "no clock",
            ),
        ] {
            let refused = load.start(|_, _| async { Ok(()) }).err().unwrap();
            assert!(refused.to_string().starts_with(reason), "{refused}");
        }
        assert!(payload(usize::MAX).is_err());
        assert_eq!(&*payload(3).unwrap(), "xxx");
    }
}
