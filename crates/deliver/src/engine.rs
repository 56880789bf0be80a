//! The stream itself: seek envelopes in, frames out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use consilium_proto::common::{Envelope, Status};
use consilium_proto::orderer::seek_info::{SeekBehavior, SeekErrorResponse};
use consilium_protocol::config::ChannelConfig;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::access::Access;
use crate::frame::Frame;
use crate::metering::{CountClosed, Labels};
use crate::positions::{self, Extent, Span};
use crate::render::{BlockReply, Render};
use crate::request::{self, SeekRequest, TlsBinding};
use crate::source::{BlockSource, Sources};

/// The policy that a reader must satisfy, as a path, chosen from the configuration in force.
pub type PolicyChooser = Arc<dyn Fn(&ChannelConfig) -> String + Send + Sync>;

/// Responses of one call, in order.
pub type FrameStream = ReceiverStream<Result<Frame, tonic::Status>>;

/// Frames that wait for the client; one more read is in progress behind them.
const BUFFERED_FRAMES: usize = 4;

/// Blocks read in one go while a client catches up, by count and by bytes.
const READ_AHEAD_BLOCKS: u64 = 16;
const READ_AHEAD_BYTES: usize = 1 << 20;

/// How often a stream that waits for a block looks whether consensus is still healthy.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);

/// How a node serves Deliver.
#[derive(Clone)]
pub struct Options {
    /// Who may read.
    pub policy: PolicyChooser,
    /// Accepted distance between a request's timestamp and the clock; Fabric's default is 15 min.
    pub time_window: Duration,
    /// Whether requests are bound to their connection's certificate.
    pub tls: TlsBinding,
    /// Whether an expired creator certificate ends the stream.
    pub check_expiration: bool,
    /// Whether filtered blocks are sent; a label of the metrics.
    pub filtered: bool,
}

impl Options {
    /// A time window of 15 minutes, no TLS binding, expiry checked.
    pub fn new(policy: PolicyChooser) -> Self {
        Self {
            policy,
            time_window: Duration::from_secs(15 * 60),
            tls: TlsBinding::default(),
            check_expiration: true,
            filtered: false,
        }
    }
}

/// Serves one call: for every seek envelope its blocks and then a status, until a status other
/// than SUCCESS, the end of the requests, or the client's leaving. At most a few frames are held.
pub fn serve<S>(
    requests: S,
    sources: Arc<dyn Sources>,
    options: Options,
    render: Arc<dyn Render>,
) -> FrameStream
where
    S: Stream<Item = Result<Envelope, tonic::Status>> + Send + 'static,
{
    let (frames, receiver) = mpsc::channel(BUFFERED_FRAMES);
    metrics::counter!("deliver_streams_opened").increment(1);
    tokio::spawn(async move {
        let _closed = CountClosed;
        let mut requests = std::pin::pin!(requests);
        let session = Session {
            sources,
            options,
            render,
            frames,
        };
        loop {
            let request = tokio::select! {
                request = requests.next() => request,
                () = session.frames.closed() => return,
            };
            let envelope = match request {
                None => return,
                Some(Ok(envelope)) => envelope,
                Some(Err(error)) => {
                    let _ = session.frames.send(Err(error)).await;
                    return;
                }
            };
            let Ok(status) = session.answer(&envelope).await else {
                return;
            };
            let sent = session.frames.send(Ok(Frame::status(status))).await;
            if sent.is_err() || status != Status::Success {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// The client went away: nothing is left to say.
struct Gone;

struct Session {
    sources: Arc<dyn Sources>,
    options: Options,
    render: Arc<dyn Render>,
    frames: mpsc::Sender<Result<Frame, tonic::Status>>,
}

impl Session {
    async fn answer(&self, envelope: &Envelope) -> Result<Status, Gone> {
        let now = SystemTime::now();
        let opened = request::open(envelope, &self.options.tls, self.options.time_window, now);
        let mut request = match opened {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%error, "deliver request refused");
                return Ok(Status::BadRequest);
            }
        };
        let Some(source) = self.sources.source(&request.channel) else {
            tracing::debug!(
                channel = request.channel,
                "deliver request for an unknown channel"
            );
            return Ok(Status::NotFound);
        };
        if let Err(error) = request.parse_seek() {
            tracing::warn!(channel = request.channel, %error, "deliver request refused");
            return Ok(Status::BadRequest);
        }
        let strict = request.seek.error_response != SeekErrorResponse::BestEffort as i32;
        if strict && let Err(reason) = source.healthy() {
            tracing::warn!(
                channel = request.channel,
                reason,
                "deliver refused: not healthy"
            );
            return Ok(Status::ServiceUnavailable);
        }
        let labels = Labels::new(&request, self.options.filtered);
        labels.received();
        let outcome = self.stream(request, source, strict, &labels).await;
        labels.completed(matches!(outcome, Ok(Status::Success)));
        outcome
    }

    async fn stream(
        &self,
        request: SeekRequest,
        source: Arc<dyn BlockSource>,
        strict: bool,
        labels: &Labels,
    ) -> Result<Status, Gone> {
        let access = Access::new(&request.signed, self.options.check_expiration);
        let mut stream = SeekStream {
            session: self,
            request: Arc::new(request),
            source,
            access: Some(access),
            strict,
            labels,
        };
        if let Err(status) = stream.check_access().await {
            return Ok(status);
        }
        let extent = Extent {
            first: stream.source.first_block(),
            height: stream.source.height(),
        };
        match positions::resolve(&stream.request.seek, extent) {
            Ok(span) => stream.send(span).await,
            Err(status) => Ok(status),
        }
    }
}

/// One accepted seek.
struct SeekStream<'a> {
    session: &'a Session,
    request: Arc<SeekRequest>,
    source: Arc<dyn BlockSource>,
    /// Present except while a check runs on another thread.
    access: Option<Access>,
    strict: bool,
    labels: &'a Labels,
}

impl SeekStream<'_> {
    async fn send(&mut self, span: Span) -> Result<Status, Gone> {
        let mut heights = self.source.subscribe();
        let fail_if_not_ready = self.request.seek.behavior == SeekBehavior::FailIfNotReady as i32;
        let mut number = span.start;
        loop {
            if self.strict
                && let Err(reason) = self.source.healthy()
            {
                tracing::warn!(
                    channel = self.request.channel,
                    reason,
                    "deliver stream aborted"
                );
                return Ok(Status::ServiceUnavailable);
            }
            let height = self.source.height();
            if number >= height {
                if fail_if_not_ready {
                    return Ok(Status::NotFound);
                }
                tokio::select! {
                    changed = heights.changed() => if changed.is_err() {
                        return Ok(Status::ServiceUnavailable);
                    },
                    () = tokio::time::sleep(HEALTH_INTERVAL) => {}
                    () = self.session.frames.closed() => return Err(Gone),
                }
                continue;
            }
            let mut ahead = height - number;
            if span.stop >= number {
                ahead = ahead.min((span.stop - number).saturating_add(1));
            }
            let frames = match self.read(number, ahead.min(READ_AHEAD_BLOCKS)).await {
                Ok(frames) => frames,
                Err(status) => return Ok(status),
            };
            for frame in frames {
                if let Err(status) = self.check_access().await {
                    return Ok(status);
                }
                self.session
                    .frames
                    .send(Ok(frame))
                    .await
                    .map_err(|_| Gone)?;
                self.labels.sent();
                if number == span.stop {
                    return Ok(Status::Success);
                }
                // The height bounds block numbers, so this cannot wrap.
                number += 1;
            }
        }
    }

    /// Responses for up to `count` blocks from `number` on: at least one, and no more than the
    /// read-ahead allows.
    async fn read(&self, number: u64, count: u64) -> Result<Vec<Frame>, Status> {
        let (source, request) = (self.source.clone(), self.request.clone());
        let render = self.session.render.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut frames = Vec::new();
            let mut size = 0;
            for number in number..number.saturating_add(count) {
                let Some(block) = source.block_bytes(number)? else {
                    break;
                };
                size += block.len();
                let source = &*source;
                let reply = BlockReply {
                    source,
                    request: &request,
                    number,
                    block,
                };
                frames.push(render.block(reply)?);
                if size >= READ_AHEAD_BYTES {
                    break;
                }
            }
            Ok::<_, String>(frames)
        });
        let outcome = read.await.unwrap_or_else(|error| Err(error.to_string()));
        match outcome {
            Ok(frames) if frames.is_empty() => {
                tracing::error!(channel = self.request.channel, number, "block is missing");
                Err(Status::NotFound)
            }
            Ok(frames) => Ok(frames),
            Err(error) => {
                tracing::error!(
                    channel = self.request.channel,
                    number,
                    error,
                    "cannot read block"
                );
                Err(Status::InternalServerError)
            }
        }
    }

    async fn check_access(&mut self) -> Result<(), Status> {
        // Lost only if an earlier check panicked; then nobody gets in.
        let Some(mut access) = self.access.take() else {
            return Err(Status::Forbidden);
        };
        let now = SystemTime::now();
        // Most checks compare two numbers; only a new configuration costs a signature.
        let outcome = if access.is_current(&*self.source) {
            let outcome = access.check(
                &*self.source,
                &self.request.signed,
                &self.session.options.policy,
                now,
            );
            self.access = Some(access);
            outcome
        } else {
            let (source, request) = (self.source.clone(), self.request.clone());
            let policy = self.session.options.policy.clone();
            let check = tokio::task::spawn_blocking(move || {
                let outcome = access.check(&*source, &request.signed, &policy, now);
                (access, outcome)
            });
            match check.await {
                Ok((access, outcome)) => {
                    self.access = Some(access);
                    outcome
                }
                Err(error) => Err(error.to_string()),
            }
        };
        outcome.map_err(|reason| {
            tracing::warn!(channel = self.request.channel, reason, "deliver forbidden");
            Status::Forbidden
        })
    }
}
