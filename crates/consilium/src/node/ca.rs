//! A certificate authority.

use std::fs;

use anyhow::Context;
use consilium_ca::{CaOptions, CaServer};

use crate::{cli::CaStart, telemetry};

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
    consilium_transport::serve_http(listener, Some(tls), server.router(), async {
        let _ = super::stop_signal().await;
    })
    .await?;
    tracing::info!("stopped");
    Ok(())
}
