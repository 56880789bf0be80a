//! What the console asks: the channel as the organization's peer sees it, under the caller's identity.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response, Sse, sse},
    routing::{get, post},
};
use bytes::Bytes;
use consilium_client::{BlockAt, Blocks, ClientError, LIFECYCLE, lifecycle_args};
use consilium_fhir::{Action, Identity, LedgerError};
use consilium_msp::dsl;
use consilium_proto::{
    discovery::{self, query},
    lifecycle,
    protos::{ApplicationPolicy, application_policy, collection_config},
};
use consilium_protocol::config::ChannelConfig;
use futures_util::stream;
use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{authenticate::Members, describe, ledger::PeerLedger};
use crate::commands::discover::answer;

/// Blocks on one page.
const PAGE: u64 = 25;

/// What the routes share.
#[derive(Clone)]
pub struct Api {
    /// The peer.
    pub ledger: Arc<PeerLedger>,
    /// Callers.
    pub members: Arc<Members>,
}

/// A refusal: status and a sentence.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"message": self.1}))).into_response()
    }
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Self {
        let status = match &error {
            LedgerError::Refused { status, .. } => u16::try_from(*status)
                .ok()
                .and_then(|status| StatusCode::from_u16(status).ok())
                .filter(|status| status.is_client_error() || status.is_server_error())
                .unwrap_or(StatusCode::BAD_GATEWAY),
            LedgerError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            LedgerError::Denied(_) => StatusCode::FORBIDDEN,
            LedgerError::UnknownTransaction(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_GATEWAY,
        };
        Refused(status, error.to_string())
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        let status = match &error {
            // The peer's system chaincodes answer 500 to what is not there.
            ClientError::Proposal { .. } | ClientError::NotDelivered(_) => StatusCode::NOT_FOUND,
            ClientError::Refused { .. } if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            ClientError::Refused { code, .. } if *code == tonic::Code::PermissionDenied => {
                StatusCode::FORBIDDEN
            }
            _ => StatusCode::BAD_GATEWAY,
        };
        Refused(status, error.to_string())
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Refused(StatusCode::BAD_GATEWAY, format!("{error:#}"))
    }
}

type Answer = Result<Json<Value>, Refused>;

/// The routes below `/api`. Each of them wants a caller.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/session", get(session))
        .route("/consortium", get(consortium))
        .route("/blocks", get(blocks))
        .route("/blocks/{number}", get(one_block))
        .route("/transactions/{id}", get(one_transaction))
        .route("/contracts", get(contracts))
        .route("/live", get(live))
        .route("/evaluate", post(evaluate))
        .fallback(|| async { Refused(StatusCode::NOT_FOUND, "there is no such page".into()) })
        .layer(axum::middleware::from_fn_with_state(
            api.clone(),
            authenticate,
        ))
        .with_state(api)
}

/// Finds the caller, who is an extension of the request from here on.
async fn authenticate(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match api.members.identify(&parts) {
        Ok(identity) => {
            parts.extensions.insert(identity);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(reason) => Refused(StatusCode::UNAUTHORIZED, reason.to_string()).into_response(),
    }
}

type Caller = axum::Extension<Identity>;

async fn session(State(api): State<Api>, axum::Extension(caller): Caller) -> Answer {
    Ok(Json(json!({
        "name": caller.name, "msp": caller.msp, "role": caller.role, "sid": caller.sid,
        "channel": api.ledger.channel(),
    })))
}

async fn consortium(State(api): State<Api>, axum::Extension(caller): Caller) -> Answer {
    let channel = api.ledger.channel();
    let peer = api.ledger.peer(&caller)?;
    let (config, info) = tokio::try_join!(peer.channel_config(channel), peer.chain_info(channel))?;
    let asked = discovery::Query {
        channel: channel.to_owned(),
        query: Some(query::Query::PeerQuery(
            discovery::PeerMembershipQuery::default(),
        )),
    };
    let answered = api.ledger.discovery(&caller)?.ask(asked).await?;
    let answered = answered.result.context("the peer answered nothing")?;
    let peers = answer::channel_peers(answered)?.into_iter().map(|peer| {
        json!({
            "endpoint": peer.endpoint, "msp": peer.msp_id, "height": peer.ledger_height,
            "contracts": peer.chaincodes.unwrap_or_default(),
        })
    });
    let config = ChannelConfig::new(channel, config).context("the channel's configuration")?;
    let organizations = config.application_orgs().iter().map(|organization| {
        let msp = config.msps().msp(&organization.msp_id);
        let ends = msp
            .iter()
            .flat_map(|msp| msp.authorities())
            .map(|root| root.not_after());
        json!({"msp": organization.msp_id, "rootsUntil": ends.min()})
    });
    let orderers = config.orderer_orgs().iter().flat_map(|organization| {
        let msp = &organization.msp_id;
        { organization.endpoints.iter() }
            .map(move |endpoint| json!({"endpoint": endpoint, "msp": msp}))
    });
    Ok(Json(json!({
        "channel": channel,
        "height": info.height,
        "organizations": organizations.collect::<Vec<_>>(),
        "peers": peers.collect::<Vec<_>>(),
        "orderers": orderers.collect::<Vec<_>>(),
    })))
}

#[derive(Deserialize)]
struct Before {
    before: Option<u64>,
}

async fn blocks(
    State(api): State<Api>,
    axum::Extension(caller): Caller,
    Query(Before { before }): Query<Before>,
) -> Answer {
    let channel = api.ledger.channel();
    let peer = api.ledger.peer(&caller)?;
    let height = peer.chain_info(channel).await?.height;
    let end = before.unwrap_or(height).min(height);
    let numbers = (end.saturating_sub(PAGE)..end).rev();
    let held =
        futures_util::future::try_join_all(numbers.map(|number| peer.block(channel, number)));
    let summaries: Vec<_> = held.await?.iter().map(describe::summary).collect();
    Ok(Json(json!({"height": height, "blocks": summaries})))
}

async fn one_block(
    State(api): State<Api>,
    axum::Extension(caller): Caller,
    Path(number): Path<u64>,
) -> Answer {
    let peer = api.ledger.peer(&caller)?;
    let held = peer.block(api.ledger.channel(), number).await?;
    Ok(Json(describe::block(&held)))
}

async fn one_transaction(
    State(api): State<Api>,
    axum::Extension(caller): Caller,
    Path(id): Path<String>,
) -> Answer {
    let peer = api.ledger.peer(&caller)?;
    let held = peer.block_of(api.ledger.channel(), &id).await?;
    describe::transaction(&held, &id).map(Json).ok_or_else(|| {
        Refused(
            StatusCode::NOT_FOUND,
            format!("{id} is no contract's transaction"),
        )
    })
}

async fn contracts(State(api): State<Api>, axum::Extension(caller): Caller) -> Answer {
    let args = lifecycle_args(
        "QueryChaincodeDefinitions",
        &lifecycle::QueryChaincodeDefinitionsArgs {},
    );
    let peer = api.ledger.peer(&caller)?;
    let found = peer.query(api.ledger.channel(), LIFECYCLE, args).await?;
    let found = lifecycle::QueryChaincodeDefinitionsResult::decode(found)
        .context("the peer's answer is malformed")?;
    let all = found.chaincode_definitions.iter().map(|one| {
        let collections = one.collections.iter().flat_map(|package| &package.config);
        let configs = collections.filter_map(|collection| collection.payload.as_ref());
        let names =
            configs.map(|collection_config::Payload::StaticCollectionConfig(config)| &config.name);
        json!({
            "name": one.name, "version": one.version, "sequence": one.sequence,
            "policy": policy(&one.validation_parameter), "collections": names.collect::<Vec<_>>(),
        })
    });
    Ok(Json(json!({"contracts": all.collect::<Vec<_>>()})))
}

fn policy(encoded: &Bytes) -> String {
    match ApplicationPolicy::decode(encoded.clone()).map(|policy| policy.r#type) {
        Ok(Some(application_policy::Type::SignaturePolicy(policy))) => dsl::describe(&policy),
        Ok(Some(application_policy::Type::ChannelConfigPolicyReference(name))) => name,
        Ok(None) | Err(_) => String::new(),
    }
}

/// New blocks as they are committed, each a summary, until the caller goes.
async fn live(
    State(api): State<Api>,
    axum::Extension(caller): Caller,
) -> Result<Sse<impl stream::Stream<Item = Result<sse::Event, Infallible>>>, Refused> {
    let channel = api.ledger.channel().to_owned();
    let height = api.ledger.peer(&caller)?.chain_info(&channel).await?.height;
    let source = api.ledger.blocks(&caller)?;
    let events = stream::unfold(
        (source, channel, height),
        |(source, channel, number)| async move {
            let held = match Blocks::get(&source, &channel, BlockAt::Number(number)).await {
                Ok(held) => held,
                // The caller connects again.
                Err(error) => {
                    tracing::debug!(%error, number, "a console's blocks end");
                    return None;
                }
            };
            let mut summary = describe::summary(&held);
            let seen = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            summary["seen"] = json!(seen.as_secs_f64());
            let event = sse::Event::default().data(summary.to_string());
            Some((Ok(event), (source, channel, number + 1)))
        },
    );
    Ok(Sse::new(events).keep_alive(sse::KeepAlive::default()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    contract: String,
    function: String,
    args: Value,
}

/// A question to one of the health contracts. Tokens that are narrowed to types cannot ask, since a
/// contract's answers are not of one type.
async fn evaluate(
    State(api): State<Api>,
    axum::Extension(caller): Caller,
    question: Result<Json<Question>, axum::extract::rejection::JsonRejection>,
) -> Answer {
    let Json(question) = question.map_err(|error| Refused(error.status(), error.body_text()))?;
    if !caller.may(Action::Read, "*") {
        return Err(Refused(
            StatusCode::FORBIDDEN,
            "the token needs the scope user/*.r".into(),
        ));
    }
    let Question {
        contract,
        function,
        args,
    } = question;
    let call = consilium_client::Call::new(&contract, &function, [args.to_string()]);
    let payload = api.ledger.ask(&caller, call).await?;
    let answer = serde_json::from_slice(&payload).context("the contract's answer is no JSON")?;
    Ok(Json(answer))
}
