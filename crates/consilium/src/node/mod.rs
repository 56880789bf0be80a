//! How each kind of node is wired and run.

pub mod ca;
mod chaincode;
pub mod orderer;
pub mod peer;

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::{certificates::Keeper, config};

/// Resolves at SIGTERM or SIGINT.
pub(crate) async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// PEM files that a key of a configuration file lists.
pub(crate) fn pems(file: &Path, key: &str, paths: &[PathBuf]) -> anyhow::Result<Vec<Bytes>> {
    paths
        .iter()
        .map(|path| config::read_named(file, key, path).map(Bytes::from))
        .collect()
}

/// Keeps a node's certificates until `stopped` turns true.
pub(crate) async fn keep(keeper: Keeper, stopped: tokio::sync::watch::Receiver<bool>) {
    if let Err(error) = keeper.run(stopped).await {
        tracing::error!(%error, "certificates are not looked after any more");
    }
}

/// Resolves once `stopped` turns true.
pub(crate) async fn told(mut stopped: tokio::sync::watch::Receiver<bool>) {
    // A dropped sender means the node is gone, which stops the server as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Waits a while for open calls to end; streams that clients keep open do not hold a node back.
pub(crate) async fn drain(
    serving: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
) -> anyhow::Result<()> {
    match tokio::time::timeout(std::time::Duration::from_secs(3), serving).await {
        Ok(served) => served??,
        Err(_) => tracing::info!("closing connections that are still open"),
    }
    tracing::info!("stopped");
    Ok(())
}
