//! A peer with its gateway.

use std::{path, sync::Arc};

use anyhow::Context;
use axum::{Json, Router, extract::Path, http::StatusCode, routing::get};
use bytes::Bytes;
use consilium_ca::folders;
use consilium_discovery::Discovery;
use consilium_gateway::{Gateway, GatewayOptions};
use consilium_gossip::GossipOptions;
use consilium_msp::{LocalMsp, Msp, MspVersion, SigningIdentity};
use consilium_peer::{Peer, PeerOptions};
use consilium_transport::{ClientAuth, ClientTls, ServerTls, TlsIdentity};
use parking_lot::RwLock;

use super::{chaincode, keep, pems};
use crate::{
    certificates::{Keeper, Purpose, SigningSource},
    cli::PeerStart,
    config::{self, Concurrency, MetricsProvider, Mode, OperationsTls, PeerConfig},
    operations::{self, FailedCheck, Health, Operations},
    telemetry,
};

/// Runs until SIGTERM.
///
/// # Errors
/// Which key of which file is wrong, or what could not be opened.
pub async fn start(args: PeerStart) -> anyhow::Result<()> {
    let log = telemetry::init("info")?;
    let file = config::locate(args.node.config.as_deref(), "core.yaml")?;
    let mut config: PeerConfig = config::read_node(config::Node::Peer, &file)?;
    if args.peer_chaincodedev {
        config.chaincode.mode = Mode::Dev;
    }
    let launch = config.chaincode.launch();
    let mut launch = launch.with_context(|| file.display().to_string())?;
    // Nothing is recorded that nobody could ask for.
    let shown = config.metrics.provider == MetricsProvider::Prometheus
        && !config.operations.listen_address.is_empty();
    let metrics = shown.then(telemetry::metrics).transpose()?;
    let settings = &config.peer;
    anyhow::ensure!(
        settings.tls.enabled,
        "{}: peer.tls.enabled is false; a peer only serves over TLS, set it to true",
        file.display()
    );

    let msp_dir = config::relative(&file, &settings.msp_config_path);
    let msp_config = folders::read_msp_config(&msp_dir, &settings.local_msp_id)
        .with_context(|| format!("{}: peer.mspConfigPath", file.display()))?;
    let local_msp = Msp::new(&msp_config, MspVersion::V3_0)
        .with_context(|| format!("the local MSP in {} is not valid", msp_dir.display()))?;
    let local_msp = LocalMsp::from(Arc::new(local_msp));
    let certificate = config::read_named(&file, "peer.tls.cert.file", &settings.tls.cert.file)?;
    let key = config::read_named(&file, "peer.tls.key.file", &settings.tls.key.file)?;
    let identity = TlsIdentity::from_pem(&certificate, &key)
        .with_context(|| format!("{}: peer.tls", file.display()))?;
    let tls_roots = {
        let (file, rootcert) = (file.clone(), settings.tls.rootcert.file.clone());
        let others = settings.tls.client_roots().to_vec();
        move || -> anyhow::Result<Vec<Bytes>> {
            let own = config::read_named(&file, "peer.tls.rootcert.file", &rootcert)?;
            let mut roots = vec![own.into()];
            roots.extend(pems(&file, "peer.tls.clientRootCAs.files", &others)?);
            Ok(roots)
        }
    };
    let roots = tls_roots()?;
    let client_auth = if settings.tls.client_auth_required {
        ClientAuth::Require
    } else {
        ClientAuth::Request
    };
    let operations_tls = operations_tls(&file, &config.operations.tls)?;
    let server_tls = ServerTls::new(identity.clone(), client_auth, &roots)?;
    let overrides = settings.deliveryclient.overrides(&file, &identity)?;
    let client_tls = ClientTls::new(Some(identity), &roots)?;

    let source = SigningSource::new(
        &file,
        &settings.msp_config_path,
        &settings.local_msp_id,
        &settings.bccsp,
    )?;
    let signing = SigningIdentity::from(source.read()?);
    let mut keeper = Keeper::new(&file, &settings.certificates);
    let shown = (server_tls.clone(), client_tls.clone());
    let to_orderers: Vec<_> = overrides
        .values()
        .filter_map(|other| other.tls.clone())
        .collect();
    keeper.tls(
        Purpose::Server,
        "peer.tls.cert.file",
        &settings.tls.cert.file,
        &settings.tls.key.file,
        move |identity| {
            shown.0.set_identity(identity.clone())?;
            for tls in to_orderers.iter().chain([&shown.1]) {
                tls.set_identity(Some(identity.clone()))?;
            }
            Ok(())
        },
    )?;
    if let Some(tls) = operations_tls.clone() {
        let files = &config.operations.tls;
        let install = move |identity| Ok(tls.set_identity(identity)?);
        let (certificate, key) = (&files.cert.file, &files.key.file);
        let name = "operations.tls.cert.file";
        keeper.tls(Purpose::Operations, name, certificate, key, install)?;
    }
    let mut gossip = GossipOptions::new(signing.clone(), &settings.address);
    gossip.client_tls = Some(client_tls.clone());
    gossip.blocks.gossip = settings.deliveryclient.block_gossip_enabled;
    settings
        .gossip
        .apply(&mut gossip)
        .with_context(|| file.display().to_string())?;
    let data = config::relative(&file, &settings.file_system_path);
    let snapshots = config.ledger.snapshots.folder(&data);
    let snapshots =
        snapshots.with_context(|| format!("{}: ledger.snapshots.rootDir", file.display()))?;
    let mut options = PeerOptions::new(data, signing.clone(), local_msp.clone());
    options.snapshots_dir = snapshots;
    options.gossip = Some(gossip);
    options.private = settings.gossip.pvt_data.options();
    config.ledger.pvtdata_store.apply(&mut options.private);
    options.total_query_limit = config.ledger.state.total_query_limit;
    options.history = config.ledger.history.enable_history_database;
    options.reconnect = settings.deliveryclient.backoff();
    options.orderer_dial_timeout = settings.deliveryclient.conn_timeout;
    options.orderer_overrides = overrides;
    options.orderer_give_up_after = settings.deliveryclient.reconnect_total_time_threshold;
    options.client_tls = Some(client_tls);
    options.address.clone_from(&settings.address);
    options.contracts = consilium_contracts::built_in();
    options.execute_timeout = config.chaincode.execution();
    let chaincode_listener = chaincode::listen(&file, &config, &mut launch).await?;
    options.launch = launch;
    options.mutual_tls = settings.tls.client_auth_required;
    let concurrency = &settings.limits.concurrency;
    options.endorser_concurrency = Concurrency::most(concurrency.endorser_service);
    options.deliver_concurrency = Concurrency::most(concurrency.deliver_service);
    let peer = Peer::open(options)?;
    let tls = server_tls.clone();
    let roots = Arc::new(RwLock::new(roots));
    let configured = roots.clone();
    peer.on_client_roots(move |channels| {
        let mut all = configured.read().clone();
        all.extend_from_slice(channels);
        if let Err(error) = tls.set_client_roots(&all) {
            tracing::error!(%error, "cannot use the TLS roots of the channels for clients");
        }
    });

    let owner = peer.clone();
    keeper.local_msp(&source, &signing, move |msp| {
        local_msp.replace(msp);
        owner.renew_trust();
        Ok(())
    });
    let (owner, files) = (peer.clone(), &settings.tls);
    let root_files = files
        .client_root_cas
        .files
        .iter()
        .chain([&files.rootcert.file]);
    keeper.roots("TLS roots", root_files.cloned(), move || {
        *roots.write() = tls_roots()?;
        owner.renew_trust();
        Ok(())
    });
    let owner = peer.clone();
    keeper.channels(move || {
        let running = owner.channels().into_iter();
        let configs = running.filter_map(|name| Some((owner.channel(&name)?.config(), name)));
        configs.map(|(config, name)| (name, config)).collect()
    });

    let mut routes = tonic::service::RoutesBuilder::default();
    routes.add_service(peer.endorser_service().into_server());
    routes.add_service(peer.deliver_service());
    routes.add_service(peer.snapshot_service().into_server());
    if let Some(gossip) = peer.gossip_service() {
        routes.add_service(gossip.into_server());
    }
    if settings.discovery.enabled {
        let discovery = Discovery::new(peer.clone(), settings.discovery.options());
        routes.add_service(discovery.service());
    }
    if settings.gateway.enabled {
        let options = GatewayOptions {
            endorsement_timeout: settings.gateway.endorsement_timeout,
            broadcast_timeout: settings.gateway.broadcast_timeout,
            concurrency: Concurrency::most(concurrency.gateway_service),
            ..GatewayOptions::default()
        };
        routes.add_service(Gateway::new(peer.clone(), options).service());
    }
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    routes.add_service(health);

    let listener = consilium_transport::listen(&settings.listen_address)
        .await
        .with_context(|| {
            format!(
                "{}: peer.listenAddress: cannot listen on {}",
                file.display(),
                settings.listen_address
            )
        })?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    if !config.operations.listen_address.is_empty() {
        let listener = consilium_transport::listen(&config.operations.listen_address)
            .await
            .with_context(|| {
                format!(
                    "{}: operations.listenAddress: cannot listen on {}",
                    file.display(),
                    config.operations.listen_address
                )
            })?;
        let operations = Operations {
            metrics,
            log,
            health: check_of(&peer),
            routes: state_route(&peer).merge(chaincodes_route(&peer)),
        };
        tokio::spawn(operations::serve(
            listener,
            operations_tls,
            operations,
            settings.limits.connections.http("operations"),
            super::told(stopped.clone()),
        ));
    }
    tokio::spawn(keep(keeper, stopped.clone()));
    let serving_chaincode =
        chaincode_listener.map(|listener| listener.serve(&peer, stopped.clone()));
    let limits = settings.listener_limits("peer");
    // Scripts wait for this line, and turn on Fabric's logger to see it.
    tracing::info!(
        target: "nodeCmd",
        "Started peer with ID=[{}], network ID=[{}], address=[{}]",
        settings.id,
        settings.network_id,
        settings.address
    );
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
    super::stop_signal().await?;
    tracing::info!("stopping");
    stop.send_replace(true);
    peer.shutdown().await;
    if let Some(serving) = serving_chaincode {
        super::drain(serving).await?;
    }
    super::drain(serving).await
}

/// A peer is well while it can commit on all its channels.
fn check_of(peer: &Arc<Peer>) -> Health {
    let peer = peer.clone();
    Arc::new(move || {
        let failed = |name: String| {
            let channel = peer.channel(&name)?;
            let reason = channel.halted().map(str::to_owned);
            let reason = reason.or_else(|| channel.stalled())?;
            Some(FailedCheck {
                component: name,
                reason,
            })
        };
        peer.channels().into_iter().filter_map(failed).collect()
    })
}

/// TLS of the operations server, if it is enabled.
fn operations_tls(
    file: &path::Path,
    tls: &OperationsTls,
) -> anyhow::Result<Option<Arc<ServerTls>>> {
    if !tls.enabled {
        return Ok(None);
    }
    let certificate = config::read_named(file, "operations.tls.cert.file", &tls.cert.file)?;
    let key = config::read_named(file, "operations.tls.key.file", &tls.key.file)?;
    let identity = TlsIdentity::from_pem(&certificate, &key)
        .with_context(|| format!("{}: operations.tls", file.display()))?;
    let files = &tls.client_root_cas.files;
    let roots = pems(file, "operations.tls.clientRootCAs.files", files)?;
    let tls = operations::server_tls(identity, tls.client_auth_required, &roots)?;
    Ok(Some(tls))
}

/// `GET /chaincodes`: the chaincodes of this peer, and whether they can be called.
fn chaincodes_route(peer: &Arc<Peer>) -> Router {
    let peer = peer.clone();
    let answer = move || {
        let standings = peer.host().standings().into_iter();
        let shown: Vec<_> = standings
            .map(|chaincode| {
                serde_json::json!({
                    "id": chaincode.id, "runs": chaincode.runs, "address": chaincode.address,
                    "state": chaincode.state, "cause": chaincode.cause,
                })
            })
            .collect();
        Json(shown)
    };
    Router::new().route("/chaincodes", get(async move || answer()))
}

/// `GET /channels/{channel}/state`: height and fingerprint of the peer's state, so that operators can
/// compare peers without reading their databases.
fn state_route(peer: &Arc<Peer>) -> Router {
    let peer = peer.clone();
    Router::new().route(
        "/channels/{channel}/state",
        get(async move |Path(channel): Path<String>| {
            let Some(channel) = peer.channel(&channel) else {
                return Err((StatusCode::NOT_FOUND, "channel does not exist".to_owned()));
            };
            let ledger = channel.ledger().clone();
            let (height, fingerprint) =
                tokio::task::spawn_blocking(move || (ledger.height(), ledger.state_fingerprint()))
                    .await
                    .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            let fingerprint = fingerprint
                .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            Ok(Json(serde_json::json!({
                "height": height, "fingerprint": hex::encode(fingerprint),
            })))
        }),
    )
}
