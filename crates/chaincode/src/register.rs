//! Where launched chaincode registers: the service `protos.ChaincodeSupport`.

use crate::credentials::Credentials;
use crate::host::Host;
use crate::shim::{Link, OUTGOING, ShimStream, registered_name};
use consilium_proto::protos::ChaincodeMessage;
use consilium_proto::protos::chaincode_support_server::{ChaincodeSupport, ChaincodeSupportServer};
use consilium_transport::{MAX_MESSAGE, client_certificate};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How long a chaincode that has connected may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(10);

/// Launched chaincodes that have not registered yet, by name.
#[derive(Default)]
pub(crate) struct Registrations(Mutex<HashMap<String, oneshot::Sender<Link>>>);

impl Registrations {
    /// Expects `ccid` to register, for as long as what this gives is kept.
    pub(crate) fn expect(self: &Arc<Self>, ccid: &str) -> Expected {
        let (sender, link) = oneshot::channel();
        self.0.lock().insert(ccid.to_owned(), sender);
        Expected {
            ccid: ccid.to_owned(),
            registrations: self.clone(),
            link,
        }
    }

    /// Gives a registered chaincode to whoever has launched it; gives it back if nobody has.
    fn hand_over(&self, name: &str, link: Link) -> Result<(), Link> {
        let expected = self.0.lock().remove(name);
        match expected {
            Some(expected) => expected.send(link),
            None => Err(link),
        }
    }
}

/// A chaincode that is expected to register.
pub(crate) struct Expected {
    ccid: String,
    registrations: Arc<Registrations>,
    link: oneshot::Receiver<Link>,
}

impl Expected {
    /// Its connection, once it is there. Never, if it does not come.
    pub(crate) async fn link(&mut self) -> Link {
        match (&mut self.link).await {
            Ok(link) => link,
            // Somebody else expects it instead.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.link.close();
        let mut registrations = self.registrations.0.lock();
        // Only if nobody else has come to expect it.
        if registrations
            .get(&self.ccid)
            .is_some_and(oneshot::Sender::is_closed)
        {
            registrations.remove(&self.ccid);
        }
    }
}

/// The service, for the listener at `peer.chaincodeListenAddress`.
pub struct Registrar {
    host: Arc<Host>,
    credentials: Option<Arc<Credentials>>,
}

impl Registrar {
    /// The service of `host`; without `credentials` everybody is who he says.
    pub(crate) fn server(
        host: Arc<Host>,
        credentials: Option<Arc<Credentials>>,
    ) -> ChaincodeSupportServer<Self> {
        ChaincodeSupportServer::new(Self { host, credentials })
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Finds out who wants to register, and whether he is the one.
    async fn introduce(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<(String, BoxStream<'static, Result<ChaincodeMessage, Status>>), Status> {
        let certificate = client_certificate(&request);
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(INTRODUCTION, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no registration"))??
            .ok_or_else(|| Status::unknown("received EOF before registration"))?;
        let name = registered_name(&first).map_err(Status::unknown)?;
        if let Some(credentials) = &self.credentials {
            credentials
                .check(&name, certificate.as_deref())
                .map_err(Status::unknown)?;
        }
        let incoming = stream::once(async move { Ok(first) }).chain(incoming);
        Ok((name, incoming.boxed()))
    }

    /// fabric: core/chaincode/handler_registry.go Register
    async fn admit(&self, name: &str, link: Link) -> Result<(), String> {
        if self.host.launches.open(name).is_some() {
            return Err(format!("duplicate chaincodeID: {name}"));
        }
        let Err(link) = self.host.registrations.hand_over(name, link) else {
            return Ok(());
        };
        if !self.host.options.launch.development {
            return Err(format!(
                "peer will not accept external chaincode connection {name} (except in dev mode)"
            ));
        }
        let limits = self.host.limits();
        let host = Arc::downgrade(&self.host);
        let stream = ShimStream::establish(name, link, limits, host).await?;
        if !self.host.launches.adopt(name, stream.clone()) {
            stream.terminate();
            return Err(format!("duplicate chaincodeID: {name}"));
        }
        tracing::info!(ccid = name, "chaincode of a developer has registered");
        Ok(())
    }
}

#[tonic::async_trait]
impl ChaincodeSupport for Registrar {
    type RegisterStream = BoxStream<'static, Result<ChaincodeMessage, Status>>;

    async fn register(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        let refused = |status: Status| {
            tracing::warn!(cause = status.message(), "chaincode may not register");
            status
        };
        let (name, incoming) = self.introduce(request).await.map_err(refused)?;
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let link = Link::new(incoming, outgoing);
        let ended = link.ended();
        self.admit(&name, link)
            .await
            .map_err(|cause| refused(Status::unknown(cause)))?;
        let answers = ReceiverStream::new(messages).map(Ok).take_until(ended);
        Ok(Response::new(answers.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_expected_any_more_is_forgotten() {
        let registrations = Arc::new(Registrations::default());
        let expects = || registrations.0.lock().contains_key("cc:1");
        let first = registrations.expect("cc:1");
        drop(first);
        assert!(!expects());
        let second = registrations.expect("cc:1");
        let third = registrations.expect("cc:1");
        drop(second);
        assert!(expects(), "the third still does");
        drop(third);
        assert!(!expects());
    }
}
