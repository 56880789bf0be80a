//! One connection with a chaincode: it registers, then carries many transactions side by side.

use super::exchange::{Exchange, Limits};
use super::requests;
use crate::host::Host;
use crate::measure;
use crate::outcome::Outcome;
use bytes::Bytes;
use consilium_proto::protos::chaincode_message::Type;
use consilium_proto::protos::{
    ChaincodeAdditionalParams, ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeSpec,
};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use prost::Message;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Messages to a chaincode that wait to be sent, over all its transactions.
pub(crate) const OUTGOING: usize = 256;

/// How long a name may be under which a chaincode registers: package ids, and names with versions, are
/// shorter.
const LONGEST_NAME: usize = 1024;

/// Requests of transactions that are over, or never were, that are refused at the same time. What
/// comes beyond is dropped: whoever sends that many does not read the answers.
const REFUSALS: usize = 256;

/// Bytes of a transaction id and a channel's name, and some to spare.
const LONGEST_NAMES: usize = 1024;

/// A transaction on a stream: channel and transaction id.
type Key = (String, String);

/// Why a call over a stream has no outcome. The texts are Fabric's; clients look for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error("txid: {tx_id}({channel}) exists")]
    Exists { tx_id: String, channel: String },
    #[error("timeout expired while executing transaction")]
    Timeout,
    #[error("chaincode stream terminated")]
    Terminated,
}

/// A connection with a chaincode, whoever has dialled, before anything was said.
pub(crate) struct Link {
    incoming: Incoming,
    outgoing: mpsc::Sender<ChaincodeMessage>,
    terminated: watch::Sender<bool>,
}

type Incoming = BoxStream<'static, Result<ChaincodeMessage, tonic::Status>>;

impl Link {
    pub(crate) fn new(incoming: Incoming, outgoing: mpsc::Sender<ChaincodeMessage>) -> Self {
        Self {
            incoming,
            outgoing,
            terminated: watch::Sender::new(false),
        }
    }

    /// Resolves when the stream that is made of it has ended.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        ended(self.terminated.subscribe())
    }
}

async fn ended(mut terminated: watch::Receiver<bool>) {
    // A dropped sender means that nobody is there any more.
    let _ = terminated.wait_for(|terminated| *terminated).await;
}

/// An established connection with one chaincode.
pub(crate) struct ShimStream {
    ccid: String,
    limits: Limits,
    outgoing: mpsc::Sender<ChaincodeMessage>,
    exchanges: Mutex<HashMap<Key, Arc<Exchange>>>,
    terminated: watch::Sender<bool>,
    refusals: Arc<Semaphore>,
    host: Weak<Host>,
}

impl ShimStream {
    /// Waits for the chaincode to register as `ccid`, answers, and from then on serves its
    /// requests in a task that ends with the stream.
    ///
    /// # Errors
    /// Why the chaincode was not accepted.
    pub(crate) async fn establish(
        ccid: &str,
        link: Link,
        limits: Limits,
        host: Weak<Host>,
    ) -> Result<Arc<Self>, String> {
        let Link {
            mut incoming,
            outgoing,
            terminated,
        } = link;
        let first = match incoming.next().await {
            Some(Ok(message)) => message,
            Some(Err(status)) => return Err(format!("receive failed: {}", status.message())),
            None => return Err("received EOF before registration".to_owned()),
        };
        check_registration(ccid, &first)?;
        let registered = message(Type::Registered, Bytes::new(), "", "");
        let offers = ChaincodeAdditionalParams {
            use_write_batch: limits.write_batch.is_some(),
            max_size_write_batch: limits.write_batch.unwrap_or_default(),
            use_get_multiple_keys: limits.multiple_keys.is_some(),
            max_size_get_multiple_keys: limits.multiple_keys.unwrap_or_default(),
        };
        let ready = message(Type::Ready, offers.encode_to_vec().into(), "", "");
        for answer in [registered, ready] {
            outgoing
                .send(answer)
                .await
                .map_err(|_| "stream closed while registering".to_owned())?;
        }
        let stream = Arc::new(Self {
            ccid: ccid.to_owned(),
            limits,
            outgoing,
            exchanges: Mutex::default(),
            terminated,
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            host,
        });
        tokio::spawn(stream.clone().serve(incoming));
        if let Some(pause) = stream.keepalive() {
            tokio::spawn(stream.clone().keep_alive(pause));
        }
        Ok(stream)
    }

    /// Whether calls can be made over it.
    pub(crate) fn is_open(&self) -> bool {
        !*self.terminated.borrow()
    }

    /// Resolves when it has ended.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        ended(self.terminated.subscribe())
    }

    fn keepalive(&self) -> Option<Duration> {
        self.host.upgrade()?.options.launch.keepalive
    }

    /// Says that the peer is there, for proxies that end silent connections.
    /// fabric: core/chaincode/handler.go ProcessStream
    async fn keep_alive(self: Arc<Self>, pause: Duration) {
        let ended = self.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                () = &mut ended => return,
                () = tokio::time::sleep(pause) => {
                    // A chaincode that has much to read knows that the peer is there.
                    let _ = self.outgoing.try_send(message(Type::Keepalive, Bytes::new(), "", ""));
                }
            }
        }
    }

    /// Ends the stream; calls under way fail.
    pub(crate) fn terminate(&self) {
        self.terminated.send_replace(true);
    }

    /// Sends a call and waits for the chaincode's final word, at most for `patience`.
    pub(crate) async fn execute(
        &self,
        exchange: Arc<Exchange>,
        finished: oneshot::Receiver<Outcome>,
        input: &ChaincodeInput,
        patience: Duration,
    ) -> Result<Outcome, ExecuteError> {
        let session = exchange.session.clone();
        let key = (session.channel.clone(), session.tx_id.clone());
        let _entry = Entry::new(self, key, exchange.clone())?;
        let kind = if exchange.is_init {
            Type::Init
        } else {
            Type::Transaction
        };
        let payload = input.encode_to_vec().into();
        let call = ChaincodeMessage {
            proposal: Some((*session.signed).clone()),
            ..message(kind, payload, &session.channel, &session.tx_id)
        };
        let mut terminated = self.terminated.subscribe();
        let exchanged = async {
            tokio::select! {
                biased;
                sent = self.outgoing.send(call) => sent.map_err(|_| ExecuteError::Terminated)?,
                _ = terminated.wait_for(|terminated| *terminated) => return Err(ExecuteError::Terminated),
            }
            tokio::select! {
                // What arrived before the stream broke still counts.
                biased;
                outcome = finished => outcome.map_err(|_| ExecuteError::Terminated),
                _ = terminated.wait_for(|terminated| *terminated) => Err(ExecuteError::Terminated),
            }
        };
        tokio::time::timeout(patience, exchanged)
            .await
            .unwrap_or(Err(ExecuteError::Timeout))
    }

    async fn serve(self: Arc<Self>, mut incoming: Incoming) {
        let mut terminated = self.terminated.subscribe();
        loop {
            let next = tokio::select! {
                next = incoming.next() => next,
                _ = terminated.wait_for(|terminated| *terminated) => break,
            };
            match next {
                Some(Ok(message)) => {
                    if let Err(cause) = self.receive(message) {
                        tracing::error!(
                            ccid = self.ccid,
                            cause,
                            "error handling message, ending stream"
                        );
                        break;
                    }
                }
                Some(Err(status)) => {
                    tracing::warn!(ccid = self.ccid, %status, "chaincode stream failed");
                    break;
                }
                None => {
                    tracing::info!(ccid = self.ccid, "chaincode ended its stream");
                    break;
                }
            }
        }
        self.terminate();
    }

    /// Takes one message in. Never waits: one slow transaction must not hold up the others.
    fn receive(self: &Arc<Self>, message: ChaincodeMessage) -> Result<(), String> {
        let kind = message.r#type();
        if kind == Type::Keepalive {
            return Ok(());
        }
        let key = (message.channel_id.clone(), message.txid.clone());
        let exchange = self.exchanges.lock().get(&key).cloned();
        match kind {
            Type::Completed | Type::Error => {
                let Some(exchange) = exchange else {
                    tracing::debug!(
                        ccid = self.ccid,
                        tx = message.txid,
                        "final word of a finished transaction"
                    );
                    return Ok(());
                };
                match Outcome::from_message(message, &exchange.chaincode) {
                    Ok(outcome) => exchange.finish(outcome),
                    Err(error) => {
                        let tx_id = &exchange.session.tx_id;
                        exchange.finish(Outcome::Failed(
                            format!(
                                "failed to unmarshal response for transaction {tx_id}: {error}"
                            )
                            .into(),
                        ));
                    }
                }
                Ok(())
            }
            Type::InvokeChaincode => self.begin(exchange, message, kind),
            kind if requests::is_ledger_request(kind) => self.begin(exchange, message, kind),
            other => Err(format!(
                "[{}] Fabric side handler cannot handle message ({}) while in ready state",
                message.txid,
                other.as_str_name()
            )),
        }
    }

    /// Starts answering a request in its own task.
    fn begin(
        self: &Arc<Self>,
        exchange: Option<Arc<Exchange>>,
        request: ChaincodeMessage,
        kind: Type,
    ) -> Result<(), String> {
        let Some(exchange) = exchange else {
            // Names no transaction can have are not repeated either.
            let named = request.txid.len() + request.channel_id.len() <= LONGEST_NAMES;
            let permit = self.refusals.clone().try_acquire_owned().ok();
            let Some(permit) = permit.filter(|_| named) else {
                tracing::debug!(ccid = self.ccid, "dropping a request of no transaction");
                return Ok(());
            };
            let (channel, tx_id) = (&request.channel_id, &request.txid);
            let reply = failed(kind, channel, tx_id, "no ledger context");
            let stream = self.clone();
            tokio::spawn(async move {
                stream.reply(reply).await;
                drop(permit);
            });
            return Ok(());
        };
        if !exchange.begin_request() {
            tracing::warn!(
                ccid = self.ccid,
                tx = request.txid,
                request = kind.as_str_name(),
                "dropping a request made while another one of its transaction is under way"
            );
            return Ok(());
        }
        tokio::spawn(self.clone().carry_out(exchange, request, kind));
        Ok(())
    }

    async fn carry_out(
        self: Arc<Self>,
        exchange: Arc<Exchange>,
        request: ChaincodeMessage,
        kind: Type,
    ) {
        let started = Instant::now();
        let measured = measure::Request {
            kind: kind.as_str_name(),
            channel: request.channel_id.clone(),
            chaincode: exchange.chaincode.clone(),
        };
        measured.received();
        let ChaincodeMessage {
            channel_id,
            txid,
            payload,
            ..
        } = request;
        let answer = if kind == Type::InvokeChaincode {
            self.call(&exchange, payload).await
        } else {
            let exchange = exchange.clone();
            let limits = self.limits;
            tokio::task::spawn_blocking(move || requests::answer(&exchange, &limits, kind, payload))
                .await
                .map_err(|error| error.to_string())
                .and_then(|answer| answer.map_err(|error| error.to_string()))
        };
        // The slot must be free before the chaincode can know the answer.
        exchange.end_request();
        measured.completed(started.elapsed(), answer.is_ok());
        let reply = match answer {
            Ok(payload) => message(Type::Response, payload, &channel_id, &txid),
            Err(cause) => failed(kind, &channel_id, &txid, &cause),
        };
        self.reply(reply).await;
    }

    /// Calls another chaincode on behalf of the one on this stream.
    async fn call(&self, exchange: &Arc<Exchange>, payload: Bytes) -> Result<Bytes, String> {
        let spec =
            ChaincodeSpec::decode(payload).map_err(|error| format!("unmarshal failed: {error}"))?;
        let target = spec
            .chaincode_id
            .map(|id: ChaincodeId| id.name)
            .unwrap_or_default();
        let host = self.host.upgrade().ok_or("the peer is shutting down")?;
        let session = &exchange.session;
        let outcome = host
            .call(session, &target, spec.input.unwrap_or_default())
            .await?;
        Ok(outcome.encode_to_vec().into())
    }

    async fn reply(&self, reply: ChaincodeMessage) {
        if self.outgoing.send(reply).await.is_err() {
            self.terminate();
        }
    }
}

/// A call's place among those under way, freed however the call ends.
struct Entry<'a> {
    stream: &'a ShimStream,
    key: Key,
}

impl<'a> Entry<'a> {
    fn new(
        stream: &'a ShimStream,
        key: Key,
        exchange: Arc<Exchange>,
    ) -> Result<Self, ExecuteError> {
        let mut exchanges = stream.exchanges.lock();
        if exchanges.contains_key(&key) {
            let (channel, tx_id) = key;
            return Err(ExecuteError::Exists { tx_id, channel });
        }
        exchanges.insert(key.clone(), exchange);
        Ok(Self { stream, key })
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.stream.exchanges.lock().remove(&self.key);
    }
}

/// The name under which a chaincode's first message registers.
pub(crate) fn registered_name(first: &ChaincodeMessage) -> Result<String, String> {
    if first.r#type() != Type::Register {
        return Err(format!(
            "[{}] Fabric side handler cannot handle message ({}) while in created state",
            first.txid,
            first.r#type().as_str_name()
        ));
    }
    let id = ChaincodeId::decode(first.payload.clone())
        .map_err(|error| format!("error unmarshalling registration: {error}"))?;
    if id.name.is_empty() {
        return Err("error in handling register chaincode, chaincodeID is empty".to_owned());
    }
    if id.name.len() > LONGEST_NAME {
        return Err(format!(
            "error in handling register chaincode, chaincodeID is longer than {LONGEST_NAME} bytes"
        ));
    }
    Ok(id.name)
}

pub(super) fn check_registration(ccid: &str, first: &ChaincodeMessage) -> Result<(), String> {
    let name = registered_name(first)?;
    if name != ccid {
        return Err(format!(
            "peer will not accept external chaincode connection {name} (except in dev mode)"
        ));
    }
    Ok(())
}

fn message(kind: Type, payload: Bytes, channel: &str, tx_id: &str) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload,
        txid: tx_id.to_owned(),
        channel_id: channel.to_owned(),
        ..ChaincodeMessage::default()
    }
}

fn failed(kind: Type, channel: &str, tx_id: &str, cause: &str) -> ChaincodeMessage {
    let text = format!(
        "{} failed: transaction ID: {tx_id}: {cause}",
        kind.as_str_name()
    );
    message(Type::Error, text.into(), channel, tx_id)
}

#[cfg(test)]
mod tests;
