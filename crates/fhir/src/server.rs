//! One request from end to end: who asks, what for, is it in scope, then the interaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use tracing::Instrument;

use crate::identity::Action;
use crate::outcome::{Refusal, Refused};
use crate::request::{Answer, Request};
use crate::turns::Turns;
use crate::{
    Authenticator, Identity, Interaction, Ledger, LedgerError, Pseudonyms, Store, Vault, capability,
};

/// Attempts of a transaction that another one came before.
const ATTEMPTS: usize = 3;

/// An organization whose records are kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custodian {
    /// Who confirms that a key was released: `hc.role` `records` or `dpo`.
    pub key_service: Identity,
}

/// What a deployment decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The public address, without a slash at the end: `https://hospital.example/fhir`.
    pub base: String,
    /// By MSP id, the organizations whose documents are in the store. One at a hospital; several
    /// only where one machine plays a whole consortium.
    pub custodians: BTreeMap<String, Custodian>,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// Where bearer tokens come from, as a URL; `metadata` says so.
    pub token_endpoint: Option<String>,
}

/// The FHIR server.
#[derive(Clone)]
pub struct Fhir {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub ledger: Arc<dyn Ledger>,
    pub vault: Arc<dyn Vault>,
    pub store: Arc<Store>,
    pub authenticator: Arc<dyn Authenticator>,
    pub pseudonyms: Arc<dyn Pseudonyms>,
    pub settings: Settings,
    pub turns: Turns,
}

impl Fhir {
    /// Puts the parts together. Call [`Fhir::recover`] before serving.
    pub fn new(
        settings: Settings,
        ledger: Arc<dyn Ledger>,
        vault: Arc<dyn Vault>,
        store: Arc<Store>,
        authenticator: Arc<dyn Authenticator>,
        pseudonyms: Arc<dyn Pseudonyms>,
    ) -> Self {
        Fhir {
            inner: Arc::new(Inner {
                ledger,
                vault,
                store,
                authenticator,
                pseudonyms,
                settings,
                turns: Turns::default(),
            }),
        }
    }

    /// The routes, to be nested under the path of [`Settings::base`].
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }
}

async fn serve(State(fhir): State<Fhir>, request: axum::extract::Request) -> Response {
    // A task of its own, which goes on when the caller hangs up: what is on its way to the ledger
    // is settled in the store all the same.
    let served = tokio::spawn(async move { fhir.inner.serve(request).await }.in_current_span());
    let answer = match served.await {
        Ok(answer) => answer,
        Err(error) => Err(Refusal::internal("the request", error)),
    };
    answer.unwrap_or_else(|refusal| refusal.into_response())
}

impl Inner {
    async fn serve(&self, request: axum::extract::Request) -> Refused<Response> {
        let (parts, body) = request.into_parts();
        let interaction = Interaction::parse(&parts.method, parts.uri.path())?;
        let mut query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        let caller = if interaction == Interaction::Capabilities {
            Identity::default()
        } else {
            self.authenticator
                .authenticate(&parts)
                .await
                .map_err(|error| {
                    Refusal::new(
                        StatusCode::UNAUTHORIZED,
                        "login",
                        "LOGIN",
                        format!(
                            "{error}: send a bearer token, or connect with a client certificate"
                        ),
                    )
                })?
        };
        let body = to_bytes(body, self.settings.max_body).await.map_err(|_| {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-costly",
                "TOO_LARGE",
                format!("a body has at most {} bytes", self.settings.max_body),
            )
        })?;
        if parts.uri.path().ends_with("/_search") {
            query.extend(pairs(&body));
        }
        let request = Request {
            caller,
            query,
            headers: parts.headers,
            body,
        };
        request.accepts_json()?;
        let answer = self.answer(&request, interaction).await?;
        Ok(answer.into_http(&request, &self.settings.base))
    }

    /// Answers one interaction, also those inside a batch.
    pub fn answer<'a>(
        &'a self,
        request: &'a Request,
        interaction: Interaction,
    ) -> BoxFuture<'a, Refused<Answer>> {
        async move {
            in_scope(&request.caller, &interaction)?;
            match interaction {
                Interaction::Capabilities => Ok(Answer::ok(capability::statement(&self.settings))),
                Interaction::Bundle => self.bundle(request).await,
                Interaction::Create(kind) => self.create(request, &kind).await,
                Interaction::Read(kind, id) => self.read(request, &kind, &id).await,
                Interaction::Vread(kind, id, version) => {
                    self.vread(request, &kind, &id, version).await
                }
                Interaction::Update(kind, id) => self.update(request, &kind, &id).await,
                Interaction::Search(kind) => self.search(request, &kind).await,
                Interaction::History(kind, id) => self.history(request, &kind, &id).await,
                Interaction::Operation {
                    kind,
                    id,
                    name,
                    posted,
                } => {
                    self.operation(request, &kind, id.as_deref(), &name, posted)
                        .await
                }
            }
        }
        .boxed()
    }

    /// Submits, and again when another transaction came first.
    pub async fn submit(
        &self,
        caller: &Identity,
        call: crate::Call,
    ) -> Result<crate::Committed, LedgerError> {
        let mut attempt = 1;
        loop {
            match self.ledger.submit(caller, call.clone()).await {
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }

    /// Asks, and reads the answer as JSON.
    pub async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        caller: &Identity,
        call: crate::Call,
    ) -> Refused<T> {
        let function = call.function;
        let payload = self.ledger.evaluate(caller, call).await?;
        serde_json::from_slice(&payload)
            .map_err(|error| Refusal::internal(&format!("reading the answer of {function}"), error))
    }
}

/// A query's or a form's pairs.
pub(crate) fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn in_scope(caller: &Identity, interaction: &Interaction) -> Refused<()> {
    let (action, kind) = match interaction {
        // Each entry of a bundle is judged by itself.
        Interaction::Capabilities | Interaction::Bundle => return Ok(()),
        Interaction::Create(kind) => (Action::Create, kind),
        Interaction::Read(kind, _)
        | Interaction::Vread(kind, _, _)
        | Interaction::History(kind, _) => (Action::Read, kind),
        Interaction::Update(kind, _) => (Action::Update, kind),
        Interaction::Search(kind) => (Action::Search, kind),
        Interaction::Operation {
            kind, posted, name, ..
        } => match name.as_str() {
            "erase" => (Action::Delete, kind),
            "trace" | "verify" | "verify-integrity" | "everything" => (Action::Read, kind),
            "import" => return require_scope(caller, Action::Create, "*"),
            "match" | "accounting" => (Action::Search, kind),
            _ if *posted => (Action::Create, kind),
            _ => (Action::Read, kind),
        },
    };
    require_scope(caller, action, kind)
}

/// Refuses what the token does not cover.
pub(crate) fn require_scope(caller: &Identity, action: Action, kind: &str) -> Refused<()> {
    if caller.may(action, kind) {
        return Ok(());
    }
    Err(Refusal::forbidden(
        "SCOPE",
        format!("none of your token's scopes lets you {action:?} {kind}"),
    ))
}
