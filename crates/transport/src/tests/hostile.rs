//! Callers that do not play by the rules.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// Reads until the other side closes; fails if it does not.
async fn closes(mut stream: impl AsyncRead + Unpin) {
    let mut rest = Vec::new();
    // An error is a reset, which is a way of closing.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the server closes the connection");
}

#[tokio::test]
async fn bytes_that_are_not_tls_close_their_connection_only() {
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::Require, &[authority.root()]);
    let server = Server::start(Some(tls)).await;
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 4096],
        vec![0xff; 100_000],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        // A record header that promises more than TLS allows.
        vec![0x16, 0x03, 0x01, 0xff, 0xff, 0x01],
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may close while we are still writing.
        let _ = stream.write_all(&garbage).await;
        closes(stream).await;
    }
    let client = authority.client(Some(authority.local()));
    call(&server.endpoint(), Some(client)).await.unwrap();
}

#[tokio::test]
async fn slow_handshakes_delay_nobody_and_are_ended() {
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::None, &[]);
    let server = Server::start_at("127.0.0.1:0", Some(tls), Duration::from_millis(1500)).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    call(&server.endpoint(), Some(authority.client(None)))
        .await
        .unwrap();
    for stream in silent {
        closes(stream).await;
    }
}

#[tokio::test]
async fn callers_that_say_nothing_after_the_handshake_are_ended() {
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::None, &[]);
    for tls in [Some(tls), None] {
        let encrypted = tls.is_some();
        let server = Server::start_at("127.0.0.1:0", tls, Duration::from_millis(500)).await;
        for beginning in ["", "PRI * HT"] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            if !encrypted {
                stream.write_all(beginning.as_bytes()).await.unwrap();
                closes(stream).await;
                continue;
            }
            let connector = tokio_rustls::TlsConnector::from(authority.client(None).config());
            let name = "localhost".try_into().unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            closes(stream).await;
        }
    }
}

#[tokio::test]
async fn no_session_ticket_is_handed_out() {
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::None, &[]);
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = crate::incoming(listener, Some(tls));
    let mut config = (*authority.client(None).config()).clone();
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    for _ in 0..2 {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let mut client = connector.connect(name, stream).await.unwrap();
        let mut accepted = connections.accept().await.unwrap();
        accepted.write_all(b"x").await.unwrap();
        accepted.flush().await.unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).await.unwrap();
        let session = client.get_ref().1;
        assert_eq!(session.tls13_tickets_received(), 0);
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn dropping_the_stream_closes_the_port() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(crate::incoming(listener, None));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_ok() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the port stays open"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_named() {
    let error = listen("256.0.0.1:1").await.unwrap_err();
    assert!(error.to_string().contains("256.0.0.1:1"), "{error}");
    let taken = listen(":0").await.unwrap();
    let address = format!("0.0.0.0:{}", taken.local_addr().unwrap().port());
    assert!(listen(&address).await.is_err());
}

#[tokio::test]
async fn thousands_of_callers_that_say_nothing_keep_nobody_from_a_handshake() {
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::None, &[]);
    let server = Server::start(Some(tls)).await;
    let mut silent = Vec::new();
    for _ in 0..2_000 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Their time is not over yet: `silent` would have been closed otherwise.
    call(&server.endpoint(), Some(authority.client(None)))
        .await
        .unwrap();
    let last = silent.pop().unwrap();
    let closed = last.try_read(&mut [0]);
    assert_eq!(
        closed.unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "still open"
    );
}

/// A client's first message with a version, one cipher suite, and what modern servers ask for besides.
fn client_hello(version: u16, suite: u16) -> Vec<u8> {
    let extensions = [
        // signature_algorithms: ECDSA with P-256 and SHA-256
        &[0, 13, 0, 4, 0, 2, 4, 3][..],
        // supported_groups: P-256
        &[0, 10, 0, 4, 0, 2, 0, 23],
        // ec_point_formats: uncompressed
        &[0, 11, 0, 2, 1, 0],
        // extended_master_secret
        &[0, 23, 0, 0],
    ]
    .concat();
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &[0, 0, 2],
        &suite.to_be_bytes(),
        &[1, 0],
        &u16::try_from(extensions.len()).unwrap().to_be_bytes(),
        &extensions,
    ]
    .concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let handshake = [&[1, 0], &length[..], &body].concat();
    let length = u16::try_from(handshake.len()).unwrap().to_be_bytes();
    [&[0x16, 3, 1], &length[..], &handshake].concat()
}

#[tokio::test]
async fn old_versions_and_weak_suites_are_refused() {
    const HANDSHAKE: u8 = 0x16;
    const ALERT: u8 = 0x15;
    let authority = Authority::new("root");
    let tls = server_tls(authority.local(), ClientAuth::None, &[]);
    let server = Server::start(Some(tls)).await;
    for (version, suite, answer) in [
        // ECDHE with AES-128-GCM over TLS 1.2 is what Fabric's clients offer.
        (0x0303, 0xc02b, HANDSHAKE),
        (0x0302, 0xc009, ALERT), // TLS 1.1
        (0x0301, 0xc009, ALERT), // TLS 1.0
        (0x0303, 0x009c, ALERT), // no forward secrecy: RSA with AES-128-GCM
        (0x0303, 0xc009, ALERT), // CBC
        (0x0303, 0x000a, ALERT), // 3DES
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(&client_hello(version, suite))
            .await
            .unwrap();
        let mut kind = [0];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut kind)).await;
        read.expect("an answer").unwrap();
        assert_eq!(kind, [answer], "{version:#x} {suite:#x}");
    }
}
