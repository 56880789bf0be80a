//! Who calls: by a bearer token, or by the certificate of the connection.

use std::sync::Arc;

use consilium_contracts::Caller;
use consilium_fhir::{Authenticator, Identity, Unauthenticated};
use consilium_transport::ClientCertificate;
use futures_util::future::{BoxFuture, FutureExt};
use http::{header::AUTHORIZATION, request::Parts};

use super::{
    scopes,
    tokens::Tokens,
    wallet::{Member, Wallet},
};

/// Header with the purpose of use, for callers without a token.
const PURPOSE: &str = "x-purpose-of-use";

/// Finds callers in a wallet.
pub struct Members {
    wallet: Arc<Wallet>,
    tokens: Arc<Tokens>,
}

impl Members {
    /// Of a wallet, with the tokens that this gateway issues.
    pub fn new(wallet: Arc<Wallet>, tokens: Arc<Tokens>) -> Self {
        Self { wallet, tokens }
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// [`Unauthenticated`] says what to show instead.
    pub fn identify(&self, request: &Parts) -> Result<Identity, Unauthenticated> {
        let purpose = request
            .headers
            .get(PURPOSE)
            .and_then(|value| value.to_str().ok());
        if let Some(header) = request.headers.get(AUTHORIZATION) {
            let token = header
                .to_str()
                .ok()
                .and_then(|text| text.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .map(|(_, token)| token.trim())
                .ok_or_else(|| refused("Authorization has to be `Bearer TOKEN`"))?;
            let claims = self
                .tokens
                .check(token)
                .ok_or_else(|| refused("the token has expired or is not from this gateway"))?;
            let member = self.member(&claims.sub)?;
            let mut identity = identity_of(&member, Some(&claims.scope));
            let stated = (!claims.purpose_of_use.is_empty()).then_some(claims.purpose_of_use);
            identity.purpose = stated.or_else(|| purpose.map(str::to_owned));
            return Ok(identity);
        }
        let shown = request
            .extensions
            .get::<ClientCertificate>()
            .and_then(|ClientCertificate(certificate)| certificate.as_ref());
        let Some(certificate) = shown else {
            return Err(refused(
                "show a bearer token from /oauth2/token, or connect with the certificate of an \
                 identity that this gateway knows",
            ));
        };
        let member = self.wallet.holder(certificate).map_err(internal)?;
        let member =
            member.ok_or_else(|| refused("this gateway has no identity with that certificate"))?;
        let mut identity = identity_of(&member, None);
        identity.purpose = purpose.map(str::to_owned);
        Ok(identity)
    }

    fn member(&self, name: &str) -> Result<Arc<Member>, Unauthenticated> {
        let member = self.wallet.member(name).map_err(internal)?;
        member.ok_or_else(|| refused("the identity of this token is gone"))
    }
}

impl Authenticator for Members {
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
    ) -> BoxFuture<'a, Result<Identity, Unauthenticated>> {
        async move { self.identify(request) }.boxed()
    }
}

/// What a certificate says, within the scopes of a token if there is one.
pub fn identity_of(member: &Member, token: Option<&str>) -> Identity {
    let caller: &Caller = &member.caller;
    let attribute = |name: &str| caller.attribute(name).map(str::to_owned);
    let bound = caller.attribute("hc.scope");
    let scopes = match token {
        // The bound may have become narrower since the token was issued.
        Some(wanted) => Some(scopes::granted(wanted, bound)),
        None => bound.map(str::to_owned),
    };
    Identity {
        name: member.name.clone(),
        msp: caller.msp_id().to_owned(),
        role: attribute("hc.role"),
        sid: attribute("hc.sid"),
        pid: attribute("hc.pid"),
        scopes: scopes.map(|scopes| {
            scopes
                .split_ascii_whitespace()
                .filter_map(|scope| scope.parse().ok())
                .collect()
        }),
        launch_patient: None,
        purpose: None,
    }
}

fn refused(reason: &str) -> Unauthenticated {
    Unauthenticated(reason.to_owned())
}

fn internal(error: anyhow::Error) -> Unauthenticated {
    tracing::warn!(error = %format!("{error:#}"), "an identity of the wallet cannot be used");
    Unauthenticated(format!("the identity cannot be used: {error:#}"))
}
