//! An organization's door over HTTP: the FHIR surface, tokens, and the console.
//!
//! It stands in front of the organization's peer and signs with the identities of its wallet, as an
//! application of the organization would. `fhir` is the surface itself (the crate `consilium-fhir`);
//! here is what it needs from outside: the ledger, who calls, TLS, files.

mod api;
mod authenticate;
mod console;
mod describe;
mod ledger;
mod scopes;
mod surface;
#[cfg(test)]
mod tests;
mod tokens;
mod vault;
mod wallet;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use axum::{
    Form, Json, Router,
    extract::{State, rejection::FormRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use consilium_fhir::{Fhir, Import};
use consilium_transport::{ClientAuth, ClientTls, HttpLimits, ServerTls, TlsIdentity};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    certificates::{Keeper, Purpose},
    cli::GatewayImport,
    config::{self, Certificates, GatewayConfig},
    node, telemetry,
};
pub use vault::make_secret;

use authenticate::{Members, identity_of};
use ledger::PeerLedger;
use tokens::{Refusal, TokenRequest, Tokens};
use wallet::Wallet;

/// `consilium gateway start`: runs until SIGTERM.
///
/// # Errors
/// The configuration is wrong, a file is missing, the peer cannot be reached, or the address is taken.
pub async fn start(file: &Path) -> anyhow::Result<()> {
    telemetry::init("info")?;
    let settings: GatewayConfig = config::read(file)?;
    let Parts {
        wallet,
        ledger,
        tokens,
        members,
        fhir,
    } = Parts::open(file, &settings)?;
    // As a service, because `nest` leaves out `/fhir/`, where many clients post bundles.
    let app = Router::new()
        .nest_service("/fhir", fhir.router())
        .nest("/api", api::router(api::Api { ledger, members }))
        .merge(oauth(&settings.external_url, wallet, tokens))
        .merge(console::router());

    let identity = TlsIdentity::from_pem(
        &config::read_named(file, "tls.cert", &settings.tls.cert)?,
        &config::read_named(file, "tls.key", &settings.tls.key)?,
    )?;
    let roots = node::pems(file, "tls.clientRootCAs", &settings.tls.client_root_cas)?;
    let auth = match roots.is_empty() {
        true => ClientAuth::None,
        false => ClientAuth::Verify,
    };
    let tls = ServerTls::new(identity, auth, &roots)?;
    let recovering = tokio::spawn(recover(fhir));
    let listener = consilium_transport::listen(&settings.listen_address)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen_address))?;
    tracing::info!(address = %listener.local_addr()?, url = settings.external_url, "Listening on https");
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(node::keep(keeper(file, &settings, &tls)?, stopped));
    consilium_transport::serve_http_with(
        listener,
        Some(tls),
        app,
        HttpLimits::named("gateway"),
        async {
            let _ = node::stop_signal().await;
        },
    )
    .await?;
    recovering.abort();
    stop.send_replace(true);
    keeping.await?;
    tracing::info!("stopped");
    Ok(())
}

/// What a gateway consists of.
struct Parts {
    wallet: Arc<Wallet>,
    ledger: Arc<PeerLedger>,
    tokens: Arc<Tokens>,
    members: Arc<Members>,
    fhir: Fhir,
}

impl Parts {
    fn open(file: &Path, settings: &GatewayConfig) -> anyhow::Result<Self> {
        let at = |path: &Path| config::relative(file, path);
        let wallet = Arc::new(Wallet::open(&at(&settings.wallet), &settings.msp_id)?);
        let ledger = Arc::new(connect(file, settings, wallet.clone())?);
        let endpoint = token_endpoint(&settings.external_url);
        let tokens = Arc::new(Tokens::new(&settings.external_url, &endpoint)?);
        let members = Arc::new(Members::new(wallet.clone(), tokens.clone()));
        let fhir = surface::open(
            &at(&settings.data),
            settings,
            &at(&settings.pseudonym_key),
            ledger.clone(),
            &wallet,
            members.clone(),
        )?;
        Ok(Self {
            wallet,
            ledger,
            tokens,
            members,
            fhir,
        })
    }
}

/// `consilium gateway import`: registers resources from files of NDJSON, with a bar. After an
/// interruption the same command goes on where the last transaction ended.
///
/// # Errors
/// The configuration or a file is wrong, nobody of that name is in the wallet, or the ledger fails.
pub async fn import(args: &GatewayImport) -> anyhow::Result<()> {
    let settings: GatewayConfig = config::read(&args.config)?;
    let Parts { wallet, fhir, .. } = Parts::open(&args.config, &settings)?;
    let member = wallet
        .member(&args.user)?
        .with_context(|| format!("the wallet has no identity {}", args.user))?;
    let import = Import {
        job: args.job.clone(),
        caller: identity_of(&member, None),
        batch: args.batch,
    };
    let mut lines = 0;
    for path in &args.files {
        lines += count_lines(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let bar = ProgressBar::new(lines).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} lines, {per_sec}, {eta} left, {msg}")
            .context("the bar's template")?,
    );
    let sources = args
        .files
        .iter()
        .map(File::open)
        .collect::<Result<Vec<_>, _>>()?;
    // A line ends with its file, whatever the file's last byte is.
    let source = sources.into_iter().fold(
        Box::new(std::io::empty()) as Box<dyn BufRead + Send>,
        |before, file| Box::new(before.chain(BufReader::new(file))),
    );
    let begun = fhir.progress(&import)?;
    bar.set_position(begun.lines);
    bar.reset_eta();
    let done = fhir
        .import(
            &import,
            source,
            |progress| {
                bar.set_position(progress.lines);
                bar.set_message(format!("{} refused", progress.refused));
            },
            |line, issues| {
                let first = issues.first().map_or("", |issue| issue.sentence.as_str());
                bar.println(format!("line {line} is refused: {first}"));
            },
        )
        .await?;
    bar.finish_and_clear();
    println!(
        "{} resources are on the ledger, {} of {} lines were refused",
        done.stored, done.refused, done.lines
    );
    Ok(())
}

/// Lines of a file, the last one also without its end.
fn count_lines(path: &Path) -> std::io::Result<u64> {
    let mut source = BufReader::new(File::open(path)?);
    let (mut lines, mut last) = (0, b'\n');
    loop {
        let piece = source.fill_buf()?;
        let Some(end) = piece.last() else {
            return Ok(lines + u64::from(last != b'\n'));
        };
        last = *end;
        lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = piece.len();
        source.consume(length);
    }
}

/// Where tokens come from.
fn token_endpoint(url: &str) -> String {
    format!("{url}/oauth2/token")
}

/// Settles what a crash left between the store and the ledger, as soon as the peer answers.
async fn recover(fhir: Fhir) {
    loop {
        match fhir.recover().await {
            Ok((0, 0)) => return,
            Ok((settled, discarded)) => {
                tracing::info!(
                    settled,
                    discarded,
                    "documents that were under way are settled"
                );
                return;
            }
            Err(refusal) => {
                tracing::warn!(
                    ?refusal,
                    "the ledger does not say yet how documents under way ended"
                );
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    }
}

/// The connection to the organization's peer.
fn connect(
    file: &Path,
    settings: &GatewayConfig,
    wallet: Arc<Wallet>,
) -> anyhow::Result<PeerLedger> {
    let peer = &settings.peer;
    let root = config::read_named(file, "peer.rootCert", &peer.root_cert)?;
    let own = match (&peer.client_cert, &peer.client_key) {
        (Some(certificate), Some(key)) => Some(TlsIdentity::from_pem(
            &config::read_named(file, "peer.clientCert", certificate)?,
            &config::read_named(file, "peer.clientKey", key)?,
        )?),
        _ => None,
    };
    let tls = ClientTls::new(own, &[Bytes::from(root)])?;
    let hash = tls
        .identity_hash()
        .map_or_else(Bytes::new, |hash| hash.to_vec().into());
    // The peer may start after its gateway, and come back after it was away.
    let connection =
        consilium_transport::connect_lazy(&peer.address, Some(tls), Duration::from_secs(5));
    Ok(PeerLedger::new(connection, hash, &settings.channel, wallet))
}

/// Takes up the listener's certificate when its files change.
fn keeper(file: &Path, settings: &GatewayConfig, tls: &Arc<ServerTls>) -> anyhow::Result<Keeper> {
    let mut keeper = Keeper::new(file, &Certificates::default());
    let shown = tls.clone();
    keeper.tls(
        Purpose::Server,
        "tls.cert",
        &settings.tls.cert,
        &settings.tls.key,
        move |identity| Ok(shown.set_identity(identity)?),
    )?;
    Ok(keeper)
}

/// What the token endpoint needs.
#[derive(Clone)]
struct Issuing {
    wallet: Arc<Wallet>,
    tokens: Arc<Tokens>,
}

/// The token endpoint, and where to find it (SMART App Launch 2, `.well-known/smart-configuration`).
fn oauth(url: &str, wallet: Arc<Wallet>, tokens: Arc<Tokens>) -> Router {
    let configuration = json!({
        "issuer": url,
        "token_endpoint": token_endpoint(url),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["patient/*.rs", "user/*.cruds", "system/*.cruds"],
        "capabilities": ["client-confidential-asymmetric", "permission-v2", "permission-v1"],
    });
    Router::new()
        .route(
            "/fhir/.well-known/smart-configuration",
            get(move || async move { Json(configuration) }),
        )
        .route("/oauth2/token", post(token))
        .with_state(Issuing { wallet, tokens })
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, Json(self)).into_response()
    }
}

async fn token(
    State(issuing): State<Issuing>,
    request: Result<Form<TokenRequest>, FormRejection>,
) -> Result<Response, Refusal> {
    let Form(request) = request.map_err(|error| Refusal {
        error: "invalid_request",
        error_description: error.body_text(),
    })?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let member = |name: &str| issuing.wallet.member(name).ok().flatten();
    let answer = issuing.tokens.exchange(
        &request,
        now.as_secs(),
        |name| Some(member(name)?.signer.certificate().clone()),
        |name, wanted| {
            member(name).map_or_else(String::new, |member| {
                scopes::granted(wanted, member.caller.attribute("hc.scope"))
            })
        },
    )?;
    // RFC 6749 §5.1: tokens are not kept by anybody on the way.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}
