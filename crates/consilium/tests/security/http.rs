//! HTTP/1.1 by hand: requests as no library would send them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consilium_msp::Signer;
use consilium_testkit::Credential;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tls::{self, Door};

const PATIENCE: Duration = Duration::from_secs(50);

/// An answer: its status, and its body.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Sends bytes and reads until the other side closes.
pub async fn exchange(
    door: &Door,
    shown: Option<&Credential>,
    request: &[u8],
) -> Result<Answer, String> {
    let mut stream = tls::connect(door, shown, "localhost")
        .await
        .map_err(|error| error.to_string())?;
    // A server may answer, and close, before it has all.
    let _ = stream.write_all(request).await;
    let _ = stream.flush().await;
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await;
    let outcome = read.map_err(|_| "no end".to_owned())?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    match (status, outcome) {
        (Some(status), _) => Ok(Answer {
            status,
            body: body.to_owned(),
        }),
        (None, Ok(_)) => Err("closed".to_owned()),
        (None, Err(error)) => Err(error.to_string()),
    }
}

/// A request line, headers and a body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if method != "GET" {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// Fabric CA's token for a request.
pub fn token(
    signer: &dyn Signer,
    certificate: &str,
    method: &str,
    uri: &str,
    body: &[u8],
) -> String {
    let certificate = STANDARD.encode(certificate);
    let signed = format!(
        "{method}.{}.{}.{certificate}",
        STANDARD.encode(uri),
        STANDARD.encode(body)
    );
    let signature = signer.sign(signed.as_bytes()).expect("a signature");
    format!("{certificate}.{}", STANDARD.encode(signature))
}
