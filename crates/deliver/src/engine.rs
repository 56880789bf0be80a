//! The stream itself: seek envelopes in, frames out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use consilium_proto::common::{Envelope, Status};
use consilium_protocol::config::ChannelConfig;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::access::Access;
use crate::expiry::Expiry;
use crate::feed::{Feed, Feeds};
use crate::frame::Frame;
use crate::metering::{Metered, OpenStream};
use crate::positions::{self, Extent, Span};
use crate::recent::RecentBlock;
use crate::render::{BlockReply, Render};
use crate::request::{self, SeekRequest, TlsBinding};

/// The policy that a reader must satisfy, as a path, chosen from the configuration in force.
pub type PolicyChooser = Arc<dyn Fn(&ChannelConfig) -> String + Send + Sync>;

/// Responses of one call, in order.
pub type FrameStream = ReceiverStream<Result<Frame, tonic::Status>>;

/// Frames that wait for the client; one more read is in progress behind them.
const BUFFERED_FRAMES: usize = 4;

/// Blocks read in one go while a client catches up, by count and by bytes.
const READ_AHEAD_BLOCKS: u64 = 16;
const READ_AHEAD_BYTES: usize = 1 << 20;

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
}

impl Options {
    /// A time window of 15 minutes, no TLS binding, expiry checked.
    pub fn new(policy: PolicyChooser) -> Self {
        Self {
            policy,
            time_window: Duration::from_secs(15 * 60),
            tls: TlsBinding::default(),
            check_expiration: true,
        }
    }
}

/// Serves one call: for every seek envelope its blocks and then a status, until a status other
/// than SUCCESS, the end of the requests, or the client's leaving. At most a few frames are held.
pub fn serve<S>(
    requests: S,
    feeds: Arc<Feeds>,
    options: Options,
    render: Arc<dyn Render>,
) -> FrameStream
where
    S: Stream<Item = Result<Envelope, tonic::Status>> + Send + 'static,
{
    let (frames, receiver) = mpsc::channel(BUFFERED_FRAMES);
    let open = OpenStream::count();
    tokio::spawn(async move {
        let _open = open;
        let mut requests = std::pin::pin!(requests);
        let session = Session {
            feeds,
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
    feeds: Arc<Feeds>,
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
        let Some(feed) = self.feeds.feed(&request.channel) else {
            // Clients ask again and again for channels that are still to come.
            tracing::debug!(
                channel = request.channel,
                "deliver request for an unknown channel"
            );
            return Ok(Status::NotFound);
        };
        let metered = Metered::received(&request.channel, self.render.data_type());
        if let Err(error) = request.parse_seek() {
            tracing::warn!(channel = request.channel, %error, "deliver request refused");
            return Ok(Status::BadRequest);
        }
        let access = Access::new(&request.signed, self.options.check_expiration);
        let mut stream = SeekStream {
            session: self,
            strict: !request.wants_best_effort(),
            request: Arc::new(request),
            feed,
            access: Some(access),
            metered: &metered,
        };
        let outcome = stream.run().await;
        metered.completed(matches!(outcome, Ok(Status::Success)));
        outcome
    }
}

/// One accepted seek.
struct SeekStream<'a> {
    session: &'a Session,
    request: Arc<SeekRequest>,
    feed: Arc<Feed>,
    /// Present except while a check runs on another thread.
    access: Option<Access>,
    strict: bool,
    metered: &'a Metered,
}

/// Why there is no response for a block.
enum Unanswered {
    /// It cannot be read.
    Read(String),
    /// It was read, and no response can be made of it.
    Render(String),
}

impl SeekStream<'_> {
    async fn run(&mut self) -> Result<Status, Gone> {
        let source = self.feed.source().clone();
        if self.strict
            && let Err(reason) = source.healthy()
        {
            let channel = &self.request.channel;
            tracing::warn!(channel, reason, "deliver refused: not healthy");
            return Ok(Status::ServiceUnavailable);
        }
        if let Err(status) = self.check_access().await {
            return Ok(status);
        }
        let extent = Extent {
            first: source.first_block(),
            height: source.height(),
        };
        match positions::resolve(&self.request.seek, extent) {
            Ok(span) => self.send(span).await,
            Err(status) => Ok(status),
        }
    }

    async fn send(&mut self, span: Span) -> Result<Status, Gone> {
        let mut moments = self.feed.moments();
        let mut expiry = Expiry::at(self.access.as_ref().and_then(Access::expires));
        let mut number = span.start;
        // Responses that were made together, from `number` on.
        let mut ahead = VecDeque::new();
        loop {
            let moment = moments.borrow_and_update().clone();
            if self.strict
                && moment.sick.is_some()
                && let Err(reason) = self.feed.source().healthy()
            {
                let channel = &self.request.channel;
                tracing::warn!(channel, reason, "deliver stream aborted");
                return Ok(Status::ServiceUnavailable);
            }
            // Who waits is told of new blocks once they lie in memory; who does not wait wants to
            // know what there is now.
            let height = if self.request.fails_if_not_ready() {
                self.feed.source().height()
            } else {
                moment.height
            };
            if number >= height {
                if self.request.fails_if_not_ready() {
                    return Ok(Status::NotFound);
                }
                // Whatever ended the wait may have ended the right to read.
                if let Err(status) = self.check_access().await {
                    return Ok(status);
                }
                tokio::select! {
                    changed = moments.changed() => if changed.is_err() {
                        return Ok(Status::ServiceUnavailable);
                    },
                    () = expiry.rings() => {}
                    () = self.session.frames.closed() => return Err(Gone),
                }
                continue;
            }
            let frame = match self.respond(number, height, span, &mut ahead).await {
                Ok(frame) => frame,
                Err(status) => return Ok(status),
            };
            if let Err(status) = self.check_access().await {
                return Ok(status);
            }
            let sent = self.session.frames.send(Ok(frame)).await;
            sent.map_err(|_| Gone)?;
            self.metered.sent();
            if number == span.stop {
                return Ok(Status::Success);
            }
            // The height bounds block numbers, so this cannot wrap.
            number += 1;
        }
    }

    /// The response for block `number`, which exists.
    async fn respond(
        &self,
        number: u64,
        height: u64,
        span: Span,
        ahead: &mut VecDeque<Frame>,
    ) -> Result<Frame, Status> {
        if let Some(frame) = ahead.pop_front() {
            return Ok(frame);
        }
        let outcome = if let Some(block) = self.feed.recent(number) {
            self.render(number, &block).await
        } else {
            let mut count = height - number;
            if span.stop >= number {
                count = count.min((span.stop - number).saturating_add(1));
            }
            let read = self.read(number, count.min(READ_AHEAD_BLOCKS)).await;
            read.and_then(|frames| {
                *ahead = frames;
                let first = ahead.pop_front();
                first.ok_or_else(|| Unanswered::Read("the block is missing".to_owned()))
            })
        };
        let channel = &self.request.channel;
        outcome.map_err(|why| match why {
            // fabric: common/ledger/blockledger/fileledger/impl.go Next
            Unanswered::Read(error) => {
                tracing::error!(channel, number, error, "cannot read block");
                Status::ServiceUnavailable
            }
            Unanswered::Render(error) => {
                tracing::error!(channel, number, error, "cannot make a response of block");
                Status::InternalServerError
            }
        })
    }

    /// The response for a block in memory; made once for all streams where that is possible.
    async fn render(&self, number: u64, block: &RecentBlock) -> Result<Frame, Unanswered> {
        let render = &self.session.render;
        let made = if render.is_instant(&self.request) {
            let source = &**self.feed.source();
            render.block(BlockReply {
                source,
                request: &self.request,
                number,
                block: block.bytes.clone(),
            })
        } else if render.is_shared() {
            let kind = (render.data_type(), self.request.wants_headers());
            let response = block.response(kind);
            let make = || self.render_elsewhere(number, block.bytes.clone());
            response.get_or_init(make).await.clone()
        } else {
            self.render_elsewhere(number, block.bytes.clone()).await
        };
        made.map_err(Unanswered::Render)
    }

    /// Makes a response on another thread.
    async fn render_elsewhere(&self, number: u64, block: Bytes) -> Result<Frame, String> {
        let (source, request) = (self.feed.source().clone(), self.request.clone());
        let render = self.session.render.clone();
        let made = tokio::task::spawn_blocking(move || {
            render.block(BlockReply {
                source: &*source,
                request: &request,
                number,
                block,
            })
        });
        made.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Responses for up to `count` blocks from `number` on, and no more than the read-ahead allows.
    async fn read(&self, number: u64, count: u64) -> Result<VecDeque<Frame>, Unanswered> {
        let (source, request) = (self.feed.source().clone(), self.request.clone());
        let render = self.session.render.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut frames = VecDeque::new();
            let mut size = 0;
            for number in number..number.saturating_add(count) {
                let block = match source.block_bytes(number) {
                    Ok(Some(block)) => block,
                    // As for what cannot be rendered, below.
                    Err(error) if frames.is_empty() => return Err(Unanswered::Read(error)),
                    Ok(None) | Err(_) => break,
                };
                size += block.len();
                let reply = BlockReply {
                    source: &*source,
                    request: &request,
                    number,
                    block,
                };
                match render.block(reply) {
                    Ok(frame) => frames.push_back(frame),
                    // Those before it are sent; then it is tried again, and the stream ends.
                    Err(_) if !frames.is_empty() => break,
                    Err(error) => return Err(Unanswered::Render(error)),
                }
                if size >= READ_AHEAD_BYTES {
                    break;
                }
            }
            Ok(frames)
        });
        let failed = |error: tokio::task::JoinError| Err(Unanswered::Read(error.to_string()));
        read.await.unwrap_or_else(failed)
    }

    async fn check_access(&mut self) -> Result<(), Status> {
        // Lost only if an earlier check panicked; then nobody gets in.
        let Some(mut access) = self.access.take() else {
            return Err(Status::Forbidden);
        };
        let now = SystemTime::now();
        // Most checks compare two numbers; only a new configuration costs a signature.
        let (source, policy) = (self.feed.source(), &self.session.options.policy);
        let outcome = if access.is_current(&**source) {
            let outcome = access.check(&**source, &self.request.signed, policy, now);
            self.access = Some(access);
            outcome
        } else {
            let (source, policy) = (source.clone(), policy.clone());
            let request = self.request.clone();
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
