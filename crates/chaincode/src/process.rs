//! Chaincode that an external builder has built: dialled if it is a service, otherwise run.

use crate::builder::{Built, Running, exit_text};
use crate::credentials::{CredentialsError, Pass};
use crate::host::Host;
use crate::options::Endpoint;
use crate::service;
use crate::shim::{Limits, ShimStream};
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// How long a process that is asked to end may take. fabric: externalbuilder.go TermTimeout
const TERMINATION: Duration = Duration::from_secs(5);

/// How long the last messages of a process that has ended may be on their way.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// `chaincode.json`. fabric: core/container/externalbuilder/externalbuilder.go runConfig
#[derive(Serialize)]
struct LaunchFile<'a> {
    chaincode_id: &'a str,
    peer_address: &'a str,
    client_cert: &'a str,
    client_key: &'a str,
    root_cert: &'a str,
    mspid: &'a str,
}

/// Brings up the chaincode `ccid`, built if need be.
pub(crate) async fn launch(
    host: Arc<Host>,
    ccid: String,
    limits: Limits,
) -> Result<Arc<ShimStream>, String> {
    let built = host
        .build(&ccid)
        .await
        .map_err(|cause| format!("error building chaincode: error building image: {cause}"))?;
    let service = {
        let built = built.clone();
        blocking(move || built.service()).await?
    };
    match service.map_err(|error| format!("error building chaincode: {error}"))? {
        Some(connection) => {
            service::connect(&ccid, &connection, limits, Arc::downgrade(&host)).await
        }
        None => run(host, &built, ccid, limits).await,
    }
}

/// Runs a chaincode's process and waits until it has registered.
async fn run(
    host: Arc<Host>,
    built: &Built,
    ccid: String,
    limits: Limits,
) -> Result<Arc<ShimStream>, String> {
    let failed = |cause: String| format!("error starting container: {cause}");
    let endpoint = host.options.launch.endpoint.clone().ok_or_else(|| {
        failed("this peer does not listen for chaincode (peer.chaincodeListenAddress)".to_owned())
    })?;
    let prepared = {
        let (ccid, msp_id) = (ccid.clone(), host.support.msp_id().to_owned());
        blocking(move || prepare(&ccid, &endpoint, &msp_id)).await?
    };
    let (folder, pass) = prepared.map_err(failed)?;
    let mut expected = host.registrations.expect(&ccid);
    let output = built.output();
    let mut running = Running::start(&built.builder, "run", &[&output, folder.path()], &ccid)
        .map_err(|error| {
            let builder = &built.builder.name;
            failed(format!("builder '{builder}' run failed to start: {error}"))
        })?;
    let link = tokio::select! {
        link = expected.link() => link,
        status = running.wait() => {
            let how = exit_text(status);
            return Err(format!("chaincode registration failed: container exited with {how}"));
        }
    };
    let stream = ShimStream::establish(&ccid, link, limits, Arc::downgrade(&host))
        .await
        .map_err(|cause| format!("chaincode registration failed: {cause}"))?;
    let supervised = supervise(ccid, running, stream.clone(), (folder, pass));
    host.processes.spawn(supervised);
    Ok(stream)
}

/// Keeps process and stream together: when one ends, the other does. `kept` is what the process may
/// need while it runs.
async fn supervise(
    ccid: String,
    mut running: Running,
    stream: Arc<ShimStream>,
    kept: (TempDir, Option<Pass>),
) {
    let ended = stream.ended();
    tokio::pin!(ended);
    tokio::select! {
        status = running.wait() => {
            tracing::warn!(ccid, how = exit_text(status), "chaincode process has ended");
            // What it said before it ended still counts.
            let _ = tokio::time::timeout(LAST_MESSAGES, ended).await;
        }
        () = &mut ended => {
            running.stop(TERMINATION).await;
            tracing::info!(ccid, "stopped the chaincode process");
        }
    }
    stream.terminate();
    drop(kept);
}

/// The folder that a process is told how to reach the peer in.
fn prepare(
    ccid: &str,
    endpoint: &Endpoint,
    msp_id: &str,
) -> Result<(TempDir, Option<Pass>), String> {
    let pass = match &endpoint.credentials {
        None => None,
        Some(credentials) => {
            let issued = credentials.issue(ccid);
            Some(issued.map_err(|error: CredentialsError| error.to_string())?)
        }
    };
    let root = endpoint
        .credentials
        .as_ref()
        .map(|credentials| credentials.root());
    let file = LaunchFile {
        chaincode_id: ccid,
        peer_address: &endpoint.address,
        client_cert: pass.as_ref().map_or("", |pass| &pass.certificate),
        client_key: pass.as_ref().map_or("", |pass| &pass.key),
        root_cert: root.as_deref().unwrap_or_default(),
        mspid: msp_id,
    };
    let written = || -> io::Result<TempDir> {
        let folder = tempfile::Builder::new()
            .prefix("consilium-run-")
            .tempdir()?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file_on_disk = options.open(folder.path().join("chaincode.json"))?;
        file_on_disk.write_all(&serde_json::to_vec(&file)?)?;
        Ok(folder)
    };
    let folder = written().map_err(|error| format!("cannot write chaincode.json: {error}"))?;
    Ok((folder, pass))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| error.to_string())
}
