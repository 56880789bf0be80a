//! The HTTP server: certificates in requests, limits, and ending well.

use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::{ClientCertificate, HttpLimits, serve_http, serve_http_with};

/// A running HTTP server that can be told to end.
struct HttpServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(tls: Option<Arc<ServerTls>>, app: Router, limits: Option<HttpLimits>) -> HttpServer {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(async move {
        match limits {
            Some(limits) => serve_http_with(listener, tls, app, limits, shutdown).await,
            None => serve_http(listener, tls, app, shutdown).await,
        }
    });
    HttpServer {
        address,
        stop,
        task,
    }
}

fn app() -> Router {
    let whoami = |Extension(ClientCertificate(leaf)): Extension<ClientCertificate>| async move {
        leaf.map_or_else(|| "nobody".to_owned(), hex::encode)
    };
    let length = |body: Bytes| async move { body.len().to_string() };
    Router::new()
        .route("/whoami", get(whoami))
        .route("/length", post(length))
}

/// Sends bytes and reads the whole answer, until the server closes.
async fn exchange<S>(mut stream: S, request: &[u8]) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the server answers and closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_carry_the_certificate_of_their_caller() {
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::Request, &[]);
    let server = start(Some(tls), app(), None).await;
    let identity = authority.local();
    let leaf = hex::encode(identity.leaf_der());
    for (identity, expected) in [(Some(identity), leaf.as_str()), (None, "nobody")] {
        let mut config = (*authority.client(identity).config()).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(server.address).await.unwrap();
        let stream = connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        let request = b"GET /whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = exchange(stream, request).await;
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn callers_that_send_too_much_or_too_slowly_are_turned_away() {
    let limits = HttpLimits {
        header_bytes: 8 * 1024,
        body_bytes: 1000,
        header_timeout: Duration::from_millis(500),
        body_pause: Duration::from_millis(500),
        ..HttpLimits::default()
    };
    let server = start(None, app(), Some(limits)).await;
    let post = "POST /length HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let long_header = format!("{post}x: {}\r\n\r\n", "y".repeat(20_000));
    let chunk = format!("7d0\r\n{}\r\n0\r\n\r\n", "z".repeat(2000));
    let cases = [
        (
            format!("{post}content-length: 3\r\n\r\nabc"),
            Some(" 200 OK"),
        ),
        (
            format!("{post}content-length: 1001\r\n\r\nabc"),
            Some(" 413 Payload Too Large"),
        ),
        (
            format!("{post}transfer-encoding: chunked\r\n\r\n{chunk}"),
            Some(" 413 "),
        ),
        (long_header, Some(" 431 ")),
        // The body stops arriving: refused, and the connection ends.
        (
            format!("{post}content-length: 900\r\n\r\nabc"),
            Some(" 400 "),
        ),
        // The header stops arriving: the connection ends.
        (post.to_owned(), None),
        (String::new(), None),
        // The beginning of what could become HTTP/2.
        ("PRI * HT".into(), None),
    ];
    for (number, (request, expected)) in cases.into_iter().enumerate() {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let answer = exchange(stream, request.as_bytes()).await;
        let first = answer.lines().next().unwrap_or_default();
        match expected {
            Some(expected) => assert!(first.contains(expected), "case {number}: {first}"),
            None => assert!(!first.contains(" 200"), "case {number}: {first}"),
        }
    }
}

#[tokio::test]
async fn shutdown_lets_requests_under_way_finish_and_takes_no_new_ones() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (arrived, go) = (arrived.clone(), go.clone());
        move || {
            let (arrived, go) = (arrived.clone(), go.clone());
            async move {
                arrived.notify_one();
                go.notified().await;
                "finished"
            }
        }
    };
    let server = start(None, Router::new().route("/slow", get(slow)), None).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let under_way =
        tokio::spawn(
            async move { exchange(stream, b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await },
        );
    arrived.notified().await;
    server.stop.send(()).unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while TcpStream::connect(server.address).await.is_ok() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the port stays open"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    go.notify_one();
    let answer = under_way.await.unwrap();
    assert!(answer.ends_with("finished"), "{answer}");
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn requests_that_never_end_are_cut_when_the_drain_time_is_over() {
    let arrived = Arc::new(Notify::new());
    let endless = {
        let arrived = arrived.clone();
        move || {
            let arrived = arrived.clone();
            async move {
                arrived.notify_one();
                std::future::pending::<()>().await;
            }
        }
    };
    let limits = HttpLimits {
        drain: Duration::from_millis(200),
        ..HttpLimits::default()
    };
    let app = Router::new().route("/endless", get(endless));
    let server = start(None, app, Some(limits)).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let under_way =
        tokio::spawn(
            async move { exchange(stream, b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await },
        );
    arrived.notified().await;
    server.stop.send(()).unwrap();
    let ended = tokio::time::timeout(PATIENCE, server.task).await;
    ended.expect("the server ends").unwrap().unwrap();
    assert_eq!(under_way.await.unwrap(), "");
}

#[tokio::test]
async fn bodies_that_trickle_are_given_up() {
    let limits = HttpLimits {
        body_pause: Duration::from_millis(400),
        ..HttpLimits::default()
    };
    let server = start(None, app(), Some(limits)).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut answer, mut request) = stream.into_split();
    let header =
        b"POST /length HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n";
    request.write_all(header).await.unwrap();
    let trickle = tokio::spawn(async move {
        while request.write_all(b"z").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, answer.read_to_end(&mut text)).await;
    let _ = read.expect("the server answers and closes");
    trickle.abort();
    let text = String::from_utf8_lossy(&text);
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
}

#[tokio::test]
async fn requests_beyond_the_rate_are_answered_429() {
    let mut limits = HttpLimits::named("test");
    limits.connections.requests_per_second = Some(1);
    let server = start(None, app(), Some(limits)).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        answers.push(exchange(stream, request).await);
    }
    assert!(answers[0].starts_with("HTTP/1.1 200 "), "{answers:?}");
    assert!(answers[1].starts_with("HTTP/1.1 429 "), "{answers:?}");
}
