//! Callers that would cost more than the limits of a listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use consilium_transport::{CallShape, GrpcLimits, grpc_server_within, incoming_within, listen};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

/// No step of any test takes longer on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

const UNARY: CallShape = CallShape {
    requests_stream: false,
    answers_stream: false,
};
const STREAM: CallShape = CallShape {
    requests_stream: true,
    answers_stream: true,
};

/// The calls that servers of these tests know.
fn calls() -> [(String, CallShape); 2] {
    [
        ("/test.Answers/Large".to_owned(), UNARY),
        ("/test.Answers/Endless".to_owned(), STREAM),
    ]
}

/// Waits for the end of a request, then answers with a large message, or without end.
#[derive(Clone)]
struct Answers;

const LARGE: usize = 8 << 20;

impl NamedService for Answers {
    const NAME: &'static str = "test.Answers";
}

impl Service<http::Request<Body>> for Answers {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        use http_body_util::BodyExt as _;
        Box::pin(async move {
            let endless = request.uri().path().ends_with("Endless");
            let mut asked = request.into_body();
            while let Some(frame) = asked.frame().await {
                match frame {
                    Err(status) => return Ok(status.into_http()),
                    Ok(_) if endless => break,
                    Ok(_) => {}
                }
            }
            let piece = Bytes::from(vec![7; LARGE]);
            let body = if endless {
                let pieces = futures_util::stream::repeat_with(move || {
                    Ok::<_, Infallible>(http_body::Frame::data(piece.clone()))
                });
                Body::new(http_body_util::StreamBody::new(pieces))
            } else {
                Body::new(http_body_util::Full::new(piece))
            };
            Ok(http::Response::new(body))
        })
    }
}

/// A caller over HTTP/2 that does as it is told.
struct Caller {
    client: h2::client::SendRequest<Bytes>,
    /// Ends when the connection does.
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Caller {
    async fn new(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let client = client.ready().await.unwrap();
        Self {
            client,
            connection: tokio::spawn(connection),
        }
    }

    /// Begins a call with these bytes as the beginning of its body.
    fn call(&mut self, path: &str, body: &[u8], end: bool) -> Call {
        let request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (answer, mut stream) = self.client.send_request(request, false).unwrap();
        stream.send_data(Bytes::copy_from_slice(body), end).unwrap();
        Call { answer, stream }
    }
}

struct Call {
    answer: h2::client::ResponseFuture,
    stream: h2::SendStream<Bytes>,
}

impl Call {
    /// The answer's status.
    async fn status(self) -> tonic::Code {
        let answer = tokio::time::timeout(PATIENCE, self.answer).await;
        let answer = answer.expect("an answer in time").unwrap();
        let status = Status::from_header_map(answer.headers());
        status.expect("a status without messages").code()
    }
}

/// A server, until it is dropped.
struct Server {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(change: impl FnOnce(&mut GrpcLimits)) -> Server {
    let mut limits = GrpcLimits::named("test");
    change(&mut limits);
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = incoming_within(listener, None, &limits.connections);
    let mut server = grpc_server_within(&limits, calls());
    let task = tokio::spawn(async move {
        let serving = server.add_service(Answers).serve_with_incoming(connections);
        serving.await.unwrap();
    });
    Server { address, task }
}

/// Calls from another address of this machine.
async fn connect_from(address: &str, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(format!("{address}:0").parse().unwrap())
        .unwrap();
    let server = format!("127.0.0.1:{port}").parse().unwrap();
    socket.connect(server).await.unwrap()
}

/// Whether the server keeps a connection long enough to agree on HTTP/2.
async fn is_kept(stream: TcpStream) -> Option<TcpStream> {
    let mut stream = stream;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.ok()?;
    let mut settings = [0; 9];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut settings)).await;
    read.expect("settings, or the end").ok()?;
    Some(stream)
}

#[tokio::test]
async fn callers_beyond_the_limits_are_turned_away_and_room_is_given_back() {
    let server = start(|limits| {
        limits.connections.per_address = 2;
        limits.connections.total = 3;
    })
    .await;
    let port = server.address.port();
    let caller = async |address: &str| is_kept(connect_from(address, port).await).await;
    let first = caller("127.0.0.1").await.expect("the first");
    let _second = caller("127.0.0.1").await.expect("the second");
    assert!(
        caller("127.0.0.1").await.is_none(),
        "too many of one address"
    );
    let _third = caller("127.0.0.2").await.expect("another address");
    assert!(caller("127.0.0.3").await.is_none(), "too many in all");
    drop(first);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while caller("127.0.0.3").await.is_none() {
        assert!(tokio::time::Instant::now() < deadline, "no room again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn messages_that_are_too_large_are_refused_before_they_arrive() {
    let server = start(|limits| limits.message_bytes = 1000).await;
    let mut caller = Caller::new(&server).await;
    for path in ["/test.Answers/Large", "/test.Answers/Endless"] {
        let prefix = [&[0], &1001_u32.to_be_bytes()[..]].concat();
        let status = caller.call(path, &prefix, false).status().await;
        assert_eq!(status, tonic::Code::ResourceExhausted, "{path}");
    }
}

#[tokio::test]
async fn requests_that_stop_arriving_are_refused_but_streams_may_be_silent() {
    let server = start(|limits| limits.request_pause = Duration::from_millis(300)).await;
    let mut caller = Caller::new(&server).await;
    let whole = [0, 0, 0, 0, 1, 7];
    let late = tonic::Code::DeadlineExceeded;
    // What is open stays open: the beginnings of an endless answer come.
    let endless = caller.call("/test.Answers/Endless", &whole, false);
    for (path, sent) in [
        ("/test.Answers/Large", &[][..]),
        ("/test.Answers/Large", &whole[..3]),
        ("/test.Answers/Large", &whole[..5]),
        // The message is there, but not the end of the only request.
        ("/test.Answers/Large", &whole[..]),
        ("/test.Answers/Endless", &[][..]),
    ] {
        let status = caller.call(path, sent, false).status().await;
        assert_eq!(status, late, "{path} {sent:?}");
    }
    let answer = tokio::time::timeout(PATIENCE, endless.answer).await;
    assert!(answer.expect("an answer").is_ok());
    drop(endless.stream);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_its_connection() {
    let server = start(|limits| limits.connections.stall = Duration::from_millis(500)).await;
    // Without this caller's word the server may send no more than a window.
    let mut idle = Caller::new(&server).await;
    let call = idle.call("/test.Answers/Large", &[0, 0, 0, 0, 0], true);
    let answer = tokio::time::timeout(PATIENCE, call.answer).await;
    let mut body = answer.expect("an answer").unwrap().into_body();
    let ended = tokio::time::timeout(PATIENCE, idle.connection).await;
    // An error is a reset, which is a way of ending.
    let _ = ended.expect("the connection ends").unwrap();
    let mut taken = 0;
    while let Some(Ok(piece)) = body.data().await {
        taken += piece.len();
    }
    assert!(taken < LARGE, "{taken}");
    // One that takes it slowly gets all of it.
    let mut slow = Caller::new(&server).await;
    let call = slow.call("/test.Answers/Large", &[0, 0, 0, 0, 0], true);
    let mut body = call.answer.await.unwrap().into_body();
    let mut taken = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        taken += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(taken, LARGE);
}

#[tokio::test]
async fn a_caller_that_does_not_read_gives_its_place_back() {
    let server = start(|limits| {
        limits.connections.stall = Duration::from_millis(500);
        limits.connections.total = 1;
    })
    .await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let headers = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        // Settings: windows of streams as large as they can be; then the connection's.
        &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0, 0],
        // HEADERS: POST, http, the path, not indexed.
        &[0, 0, 25, 1, 4, 0, 0, 0, 1, 0x83, 0x86, 0x04, 21],
        b"/test.Answers/Endless",
        &[0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
    ]
    .concat();
    stream.write_all(&headers).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let port = server.address.port();
    while is_kept(connect_from("127.0.0.1", port).await)
        .await
        .is_none()
    {
        assert!(tokio::time::Instant::now() < deadline, "no room again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn callers_that_ping_too_often_are_disconnected() {
    let server = start(|limits| {
        limits.connections.min_ping_interval = Some(Duration::from_secs(60));
    })
    .await;
    let ping = b"\0\0\x08\x06\0\0\0\0\0pingping";
    for (pings, kept) in [(3, true), (4, false)] {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let mut stream = is_kept(stream).await.unwrap();
        for _ in 0..pings {
            stream.write_all(ping).await.unwrap();
        }
        if kept {
            // What follows is answered: a setting, acknowledged.
            let settings = b"\0\0\0\x04\0\0\0\0\0";
            stream.write_all(settings).await.unwrap();
            let mut answers = vec![0; pings * (9 + 8)];
            stream.read_exact(&mut answers).await.unwrap();
        } else {
            let mut rest = Vec::new();
            let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
            // An error is a reset.
            let _ = end.expect("the server ends the connection");
        }
    }
}

#[tokio::test]
async fn callers_that_ask_too_often_are_told_so() {
    let server = start(|limits| limits.connections.requests_per_second = Some(2)).await;
    let mut caller = Caller::new(&server).await;
    for number in 0.. {
        assert!(number < 1000, "never refused");
        let call = caller.call("/test.Answers/Large", &[0, 0, 0, 0, 0], true);
        let answer = call.answer.await.unwrap();
        if let Some(status) = Status::from_header_map(answer.headers()) {
            assert_eq!(status.code(), tonic::Code::ResourceExhausted);
            assert!(number >= 2, "too early");
            break;
        }
    }
}
