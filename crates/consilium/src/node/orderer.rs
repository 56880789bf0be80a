//! An ordering node.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use consilium_msp::SigningIdentity;
use consilium_orderer::{Orderer, OrdererOptions};
use consilium_transport::{ClientAuth, ClientTls, ServerTls, TlsIdentity};

use super::pems;
use crate::{
    certificates::{Keeper, NotYet, Purpose, SigningSource},
    cli::NodeStart,
    config::{self, MetricsProvider, OrdererConfig},
    operations::{self, FailedCheck, Health, Operations},
    telemetry,
};

/// Runs until SIGTERM.
///
/// # Errors
/// Which key of which file is wrong, or what could not be opened.
pub async fn start(args: NodeStart) -> anyhow::Result<()> {
    let log = telemetry::init("info")?;
    let file = config::locate(args.config.as_deref(), "orderer.yaml")?;
    let config: OrdererConfig = config::read_node(config::Node::Orderer, &file)?;
    // Nothing is recorded that nobody could ask for.
    let shown = config.metrics.provider == MetricsProvider::Prometheus
        && !config.operations.listen_address.is_empty();
    let metrics = shown.then(telemetry::metrics).transpose()?;
    let general = &config.general;
    anyhow::ensure!(
        general.tls.enabled,
        "{}: General.TLS.Enabled is false; an orderer only serves over TLS, set it to true",
        file.display()
    );

    let server = pair(
        &file,
        "General.TLS.Certificate",
        &general.tls.certificate,
        &general.tls.private_key,
    )?;
    let cluster = &general.cluster;
    let client = if cluster.client_certificate.as_os_str().is_empty() {
        server.clone()
    } else {
        pair(
            &file,
            "General.Cluster.ClientCertificate",
            &cluster.client_certificate,
            &cluster.client_private_key,
        )?
    };
    let mut roots = pems(&file, "General.TLS.RootCAs", &general.tls.root_cas)?;
    roots.extend(pems(&file, "General.Cluster.RootCAs", &cluster.root_cas)?);
    let client_roots = pems(
        &file,
        "General.TLS.ClientRootCAs",
        general.tls.client_roots(),
    )?;
    let client_auth = if general.tls.client_auth_required {
        ClientAuth::Require
    } else {
        ClientAuth::Request
    };
    let operations_tls = operations_tls(&file, &config.operations.tls)?;
    let server_tls = ServerTls::new(server.clone(), client_auth, &client_roots)?;
    let client_tls = ClientTls::new(Some(client.clone()), &roots)?;
    let source = SigningSource::new(
        &file,
        &general.local_msp_dir,
        &general.local_msp_id,
        &general.bccsp,
    )?;
    let signing = SigningIdentity::from(source.read()?);
    let certificate = |identity: &TlsIdentity| Bytes::copy_from_slice(identity.leaf_der());
    let mut options = OrdererOptions::new(
        config::relative(&file, &config.file_ledger.location),
        signing.clone(),
        certificate(&server),
        certificate(&client),
        client_tls.clone(),
    );
    options.mutual_tls = general.tls.client_auth_required;
    let throttling = &general.throttling;
    options.throttling = (throttling.rate, throttling.inactivity_timeout);
    let orderer = Orderer::open(options).await?;
    let mut keeper = Keeper::new(&file, &general.certificates);
    keep_tls(&mut keeper, &config, &orderer, &server_tls, &client_tls)?;
    if let Some(tls) = operations_tls.clone() {
        let files = &config.operations.tls;
        keeper.tls(
            Purpose::Operations,
            "Operations.TLS.Certificate",
            &files.certificate,
            &files.private_key,
            move |identity| Ok(tls.set_identity(identity)?),
        )?;
    }
    keeper.local_msp(&source, &signing, |_| Ok(()));
    let owner = orderer.clone();
    keeper.channels(move || {
        let names = owner.channels().into_iter();
        names
            .filter_map(|name| Some((owner.config(&name)?, name)))
            .map(|(config, name)| (name, config))
            .collect()
    });
    let tls = server_tls.clone();
    orderer.on_tls_roots(move |channels| {
        let mut all = client_roots.clone();
        all.extend_from_slice(channels);
        if let Err(error) = tls.set_client_roots(&all) {
            tracing::error!(%error, "cannot use the TLS roots of the channels for clients");
        }
    });

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let address = format!("{}:{}", general.listen_address, general.listen_port);
    let listener = consilium_transport::listen(&address)
        .await
        .with_context(|| {
            format!(
                "{}: General.ListenAddress and ListenPort: cannot listen on {address}",
                file.display()
            )
        })?;
    if !config.admin.listen_address.is_empty() {
        let tls = &config.admin.tls;
        anyhow::ensure!(
            tls.enabled && tls.client_auth_required,
            "{}: Admin.TLS: the admin listener needs Enabled and ClientAuthRequired true; whoever \
             reaches it may join and remove channels",
            file.display()
        );
        let identity = pair(
            &file,
            "Admin.TLS.Certificate",
            &tls.certificate,
            &tls.private_key,
        )?;
        let roots = pems(&file, "Admin.TLS.ClientRootCAs", &tls.client_root_cas)?;
        let files = tls;
        let tls = ServerTls::new(identity, ClientAuth::Require, &roots)?;
        let shown = tls.clone();
        keeper.tls(
            Purpose::Admin,
            "Admin.TLS.Certificate",
            &files.certificate,
            &files.private_key,
            move |identity| Ok(shown.set_identity(identity)?),
        )?;
        let (shown, listed, named) = (tls.clone(), files.client_root_cas.clone(), file.clone());
        keeper.roots("Admin.TLS.ClientRootCAs", listed.clone(), move || {
            let roots = pems(&named, "Admin.TLS.ClientRootCAs", &listed)?;
            Ok(shown.set_client_roots(&roots)?)
        });
        let listener = listen(&file, "Admin.ListenAddress", &config.admin.listen_address).await?;
        tokio::spawn(consilium_transport::serve_http_with(
            listener,
            Some(tls),
            orderer.participation_router(),
            general.limits.connections.http("admin"),
            super::told(stopped.clone()),
        ));
    }
    if !config.operations.listen_address.is_empty() {
        let key = "Operations.ListenAddress";
        let listener = listen(&file, key, &config.operations.listen_address).await?;
        let operations = Operations {
            metrics,
            log,
            health: check_of(&orderer),
            routes: axum::Router::new(),
        };
        tokio::spawn(operations::serve(
            listener,
            operations_tls,
            operations,
            general.limits.connections.http("operations"),
            super::told(stopped.clone()),
        ));
    }

    tokio::spawn(super::keep(keeper, stopped.clone()));
    let mut routes = tonic::service::RoutesBuilder::default();
    routes.add_service(orderer.broadcast_service());
    routes.add_service(orderer.replication_service());
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    routes.add_service(health);
    let limits = general.listener_limits();
    let serving = tokio::spawn(
        consilium_transport::grpc_server_within(&limits, config::call_shapes())
            .layer(operations::grpc_metrics())
            .add_routes(routes.routes())
            .serve_with_incoming_shutdown(
                consilium_transport::incoming_within(
                    listener,
                    Some(server_tls),
                    &limits.connections,
                ),
                super::told(stopped),
            ),
    );
    // Scripts wait for this line.
    // Under Fabric's logger, whom scripts turn on to see this line.
    tracing::info!(target: "orderer::common::server", address, channels = ?orderer.channels(), "Beginning to serve requests");
    super::stop_signal().await?;
    tracing::info!("stopping");
    stop.send_replace(true);
    orderer.shutdown().await;
    super::drain(serving).await
}

/// Has the certificates of the listener and towards other orderers taken up when their files change.
fn keep_tls(
    keeper: &mut Keeper,
    config: &OrdererConfig,
    orderer: &Arc<Orderer>,
    server_tls: &Arc<ServerTls>,
    client_tls: &Arc<ClientTls>,
) -> anyhow::Result<()> {
    let (general, shares) = (&config.general, {
        let cluster = &config.general.cluster;
        cluster.client_certificate.as_os_str().is_empty()
    });
    let (owner, server, client) = (orderer.clone(), server_tls.clone(), client_tls.clone());
    keeper.tls(
        Purpose::Server,
        "General.TLS.Certificate",
        &general.tls.certificate,
        &general.tls.private_key,
        move |identity| {
            let new = Some(identity.leaf_der());
            listed(&owner, new, new.filter(|_| shares))?;
            // First: the channels have to know this node by what it is about to show.
            if shares {
                owner.renew_certificates(Some(identity.leaf_der()), Some(identity.leaf_der()));
                client.set_identity(Some(identity.clone()))?;
            } else {
                owner.renew_certificates(Some(identity.leaf_der()), None);
            }
            Ok(server.set_identity(identity)?)
        },
    )?;
    if shares {
        return Ok(());
    }
    let (owner, client) = (orderer.clone(), client_tls.clone());
    keeper.tls(
        Purpose::Cluster,
        "General.Cluster.ClientCertificate",
        &general.cluster.client_certificate,
        &general.cluster.client_private_key,
        move |identity| {
            listed(&owner, None, Some(identity.leaf_der()))?;
            owner.renew_certificates(None, Some(identity.leaf_der()));
            Ok(client.set_identity(Some(identity))?)
        },
    )
}

/// Other consenters know a node by the keys that channels list: with others it would be cut off from them,
/// and a change of the list might find no quorum.
fn listed(orderer: &Orderer, server: Option<&[u8]>, client: Option<&[u8]>) -> anyhow::Result<()> {
    let channels = orderer.unlisted(server, client);
    if channels.is_empty() {
        return Ok(());
    }
    let names = channels.join(", ");
    Err(NotYet(format!(
        "the consenters of {names} do not list it; update the configuration, and it is taken up"
    ))
    .into())
}

/// An orderer is well while Raft runs on all its channels.
fn check_of(orderer: &Arc<Orderer>) -> Health {
    let orderer = orderer.clone();
    Arc::new(move || {
        let failed = |name: String| {
            let reason = orderer.failure(&name)?;
            Some(FailedCheck {
                component: name,
                reason,
            })
        };
        orderer.channels().into_iter().filter_map(failed).collect()
    })
}

/// TLS of the operations server, if it is enabled.
fn operations_tls(file: &Path, tls: &config::Tls) -> anyhow::Result<Option<Arc<ServerTls>>> {
    if !tls.enabled {
        return Ok(None);
    }
    let key = "Operations.TLS.Certificate";
    let identity = pair(file, key, &tls.certificate, &tls.private_key)?;
    let roots = pems(file, "Operations.TLS.ClientRootCAs", &tls.client_root_cas)?;
    let tls = operations::server_tls(identity, tls.client_auth_required, &roots)?;
    Ok(Some(tls))
}

fn pair(file: &Path, key: &str, certificate: &Path, private: &Path) -> anyhow::Result<TlsIdentity> {
    let certificate = config::read_named(file, key, certificate)?;
    let private = config::read_named(file, &key.replace("Certificate", "PrivateKey"), private)?;
    TlsIdentity::from_pem(&certificate, &private)
        .with_context(|| format!("{}: {key} and its key", file.display()))
}

async fn listen(file: &Path, key: &str, address: &str) -> anyhow::Result<tokio::net::TcpListener> {
    consilium_transport::listen(address)
        .await
        .with_context(|| format!("{}: {key}: cannot listen on {address}", file.display()))
}
