//! A certificate authority.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use consilium_ca::{CaOptions, CaServer};
use consilium_transport::ServerTls;
use tokio::sync::watch;

use crate::{
    certificates::{Keeper, Purpose},
    cli::CaStart,
    config::Certificates,
    telemetry,
};

/// How often an authority looks whether its own TLS certificate is to be renewed.
const LOOK: Duration = Duration::from_secs(12 * 3600);

/// Runs until SIGTERM.
///
/// # Errors
/// The CA cannot be opened, or the address is taken.
pub async fn start(args: CaStart) -> anyhow::Result<()> {
    telemetry::init("info")?;
    let secret = fs::read_to_string(&args.admin_secret_file).with_context(|| {
        format!(
            "cannot read the registrar's secret from {}",
            args.admin_secret_file.display()
        )
    })?;
    let mut options = CaOptions::new(&args.home, &args.name, &args.organization);
    options.bootstrap = Some((args.admin.clone(), secret.trim().to_owned()));
    let server = CaServer::open(options)?;
    let tls = server.tls(&args.hosts)?;
    let listener = consilium_transport::listen(&args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!(address = %listener.local_addr()?, name = args.name, "Listening on https");
    let (stop, stopped) = watch::channel(false);
    let keeper = keeper(&args.home, &tls)?;
    let keeping = tokio::spawn(super::keep(keeper, stopped));
    let renewing = tokio::spawn(renew(server.clone(), args.hosts.clone()));
    server
        .serve(listener, Some(tls), async {
            let _ = super::stop_signal().await;
        })
        .await?;
    renewing.abort();
    stop.send_replace(true);
    keeping.await?;
    tracing::info!("stopped");
    Ok(())
}

/// Takes up the authority's own TLS certificate when its files change.
fn keeper(home: &Path, tls: &Arc<ServerTls>) -> anyhow::Result<Keeper> {
    // Paths are relative to a file in the folder.
    let mut keeper = Keeper::new(&home.join("tls-cert.pem"), &Certificates::default());
    let shown = tls.clone();
    keeper.tls(
        Purpose::Server,
        "tls-cert.pem",
        Path::new("tls-cert.pem"),
        Path::new("tls-key.pem"),
        move |identity| Ok(shown.set_identity(identity)?),
    )?;
    Ok(keeper)
}

/// Lets the authority renew its own TLS certificate in time, as it does when it starts.
async fn renew(server: Arc<CaServer>, hosts: Vec<String>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let (server, hosts) = (server.clone(), hosts.clone());
        let renewed = tokio::task::spawn_blocking(move || server.tls(&hosts).map(drop)).await;
        match renewed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "cannot renew the TLS certificate"),
            Err(error) => tracing::error!(%error, "cannot renew the TLS certificate"),
        }
    }
}
