//! Bringing a chaincode up when it is called, however it is brought up: one living stream each.

use crate::measure;
use crate::shim::ShimStream;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Chaincodes under development that are remembered after they have gone, about.
const REMEMBERED: usize = 1_000;

/// A launch that everybody waits for who needs the chaincode.
type Launch = Shared<BoxFuture<'static, Result<Arc<ShimStream>, Arc<str>>>>;

/// How a chaincode stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has asked for it yet.
    NotStarted,
    /// It is being dialled or started.
    Starting,
    /// Its stream is open.
    Ready,
    /// Its last start failed, or its stream has ended: the next call tries again.
    Unavailable(String),
}

/// The chaincodes that this peer is, or is being, connected with, by the name they register under.
pub(crate) struct Launches {
    launches: Mutex<HashMap<String, Launch>>,
    stopping: watch::Sender<bool>,
}

impl Default for Launches {
    fn default() -> Self {
        Self {
            launches: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }
}

impl Launches {
    /// The living stream of `ccid`; begins a launch by `start` when there is none. However many wait,
    /// one launches, and a failure is everybody's; the next call tries anew.
    pub(crate) async fn stream<S, W>(
        &self,
        ccid: &str,
        patience: Duration,
        start: S,
    ) -> Result<Arc<ShimStream>, String>
    where
        S: Fn() -> W,
        W: Future<Output = Result<Arc<ShimStream>, String>> + Send + 'static,
    {
        let launch = || {
            let mut launches = self.launches.lock();
            match launches.get(ccid) {
                Some(launch) if is_usable(launch) => launch.clone(),
                _ => {
                    let launch = launch(ccid, patience, self.stopping.subscribe(), start());
                    launches.insert(ccid.to_owned(), launch.clone());
                    launch
                }
            }
        };
        let stream = launch().await;
        // A stream that was made while nobody waited may have ended unnoticed.
        let stream = match stream {
            Ok(stream) if !stream.is_open() => launch().await,
            stream => stream,
        };
        stream.map_err(|error| error.to_string())
    }

    /// The stream of a chaincode that is there already.
    pub(crate) fn open(&self, ccid: &str) -> Option<Arc<ShimStream>> {
        match self.launches.lock().get(ccid)?.peek()? {
            Ok(stream) if stream.is_open() => Some(stream.clone()),
            _ => None,
        }
    }

    /// Takes a chaincode in that came by itself; false when there is one of that name already.
    pub(crate) fn adopt(&self, ccid: &str, stream: Arc<ShimStream>) -> bool {
        let mut launches = self.launches.lock();
        if *self.stopping.borrow() || launches.get(ccid).is_some_and(is_usable) {
            return false;
        }
        // Whoever comes by himself chooses his name.
        if launches.len() >= REMEMBERED {
            launches.retain(|_, launch| is_usable(launch));
        }
        let ready = futures_util::future::ready(Ok(stream)).boxed().shared();
        // Polled once, it can be looked at without waiting.
        let _ = ready.clone().now_or_never();
        launches.insert(ccid.to_owned(), ready);
        true
    }

    /// How a chaincode stands.
    pub(crate) fn state(&self, ccid: &str) -> State {
        match self.launches.lock().get(ccid).map(Shared::peek) {
            None => State::NotStarted,
            Some(None) => State::Starting,
            Some(Some(Ok(stream))) if stream.is_open() => State::Ready,
            Some(Some(Ok(_))) => State::Unavailable("its stream has ended".to_owned()),
            Some(Some(Err(cause))) => State::Unavailable(cause.to_string()),
        }
    }

    /// The names of those that are not in `used`.
    pub(crate) fn names_without<T>(&self, used: &BTreeMap<String, T>) -> Vec<String> {
        let launches = self.launches.lock();
        let names = launches.keys().filter(|name| !used.contains_key(*name));
        names.cloned().collect()
    }

    /// Ends the stream of a chaincode, as soon as a launch under way has made it, and forgets it.
    pub(crate) async fn end(&self, ccid: &str) {
        let launch = self.launches.lock().get(ccid).cloned();
        if let Some(launch) = launch {
            terminate(launch).await;
        }
        let mut launches = self.launches.lock();
        // Unless there is another one by now.
        if launches.get(ccid).is_some_and(|launch| !is_usable(launch)) {
            launches.remove(ccid);
        }
    }

    /// Ends all streams, and launches under way; none begins any more.
    pub(crate) fn terminate(&self) {
        self.stopping.send_replace(true);
        for (_, launch) in self.launches.lock().drain() {
            match launch.peek() {
                Some(Ok(stream)) => stream.terminate(),
                Some(Err(_)) => {}
                // It may have its stream already.
                None => drop(tokio::spawn(terminate(launch))),
            }
        }
    }
}

/// Ends the stream of a launch, once it has one.
async fn terminate(launch: Launch) {
    if let Ok(stream) = launch.await {
        stream.terminate();
    }
}

fn is_usable(launch: &Launch) -> bool {
    match launch.peek() {
        None => true,
        Some(Ok(stream)) => stream.is_open(),
        Some(Err(_)) => false,
    }
}

/// Begins a launch in its own task, so that it goes on when the first caller loses interest.
fn launch(
    ccid: &str,
    patience: Duration,
    mut stopping: watch::Receiver<bool>,
    work: impl Future<Output = Result<Arc<ShimStream>, String>> + Send + 'static,
) -> Launch {
    let ccid = ccid.to_owned();
    let task = tokio::spawn(async move {
        let started = Instant::now();
        let launched = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => {
                return Err(Arc::from("the peer is shutting down"));
            }
            launched = tokio::time::timeout(patience, work) => launched,
        };
        let launched = launched.unwrap_or_else(|_| {
            measure::launch_timeout(&ccid);
            Err(format!(
                "timeout expired while starting chaincode {ccid} for transaction"
            ))
        });
        measure::launched(&ccid, started.elapsed(), launched.is_ok());
        match &launched {
            Ok(_) => tracing::info!(ccid, "chaincode is ready"),
            Err(cause) => tracing::warn!(ccid, cause, "chaincode not available"),
        }
        launched.map_err(Arc::from)
    });
    let launch = task
        .map(|ended| ended.unwrap_or_else(|error| Err(error.to_string().into())))
        .boxed()
        .shared();
    // What it has come to can be seen though nobody waits for it any more.
    tokio::spawn(launch.clone());
    launch
}

#[cfg(test)]
mod tests;
