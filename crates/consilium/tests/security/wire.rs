//! Bodies that are too large or do not come, over HTTP/2 and HTTP/1.1, and archives by hand.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use consilium_transport::MAX_MESSAGE;
use tonic::Status;

use crate::attempts::brief;
use crate::http;
use crate::people::Shown;
use crate::site::Site;
use crate::table::Entry;
use crate::tls;

const PATIENCE: Duration = Duration::from_secs(50);

/// The call of an entry point that takes messages.
fn call(entry: Entry) -> Option<&'static str> {
    Some(match entry {
        Entry::Endorser | Entry::Package => "/protos.Endorser/ProcessProposal",
        Entry::Gateway => "/gateway.Gateway/Evaluate",
        Entry::Deliver => "/protos.Deliver/Deliver",
        Entry::Discovery => "/discovery.Discovery/Discover",
        Entry::Gossip => "/gossip.Gossip/GossipStream",
        Entry::Broadcast => "/orderer.AtomicBroadcast/Broadcast",
        Entry::Cluster => "/consilium.replication.Replication/Append",
        Entry::Participation | Entry::Operations | Entry::Ca | Entry::Chaincode => return None,
    })
}

/// A body larger than any that is taken, announced and not sent.
pub async fn oversize(site: &Site, entry: Entry) -> String {
    match call(entry) {
        Some(path) => {
            let length = u32::try_from(MAX_MESSAGE + 1).expect("a length");
            let prefix = [&[0], &length.to_be_bytes()[..]].concat();
            answer(site, entry, path, &prefix).await
        }
        None => {
            let path = path(entry);
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                 content-length: 1000000000\r\n\r\n"
            );
            rest(site, entry, request.as_bytes()).await
        }
    }
}

/// A body that begins and does not go on.
pub async fn slow(site: &Site, entry: Entry) -> String {
    match call(entry) {
        Some(path) => answer(site, entry, path, &[0, 0, 0, 1, 0, 7]).await,
        None => {
            let path = path(entry);
            let method = if entry == Entry::Operations {
                "PUT"
            } else {
                "POST"
            };
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                 content-type: multipart/form-data; boundary=b\r\ncontent-length: 1000\r\n\r\n--b"
            );
            rest(site, entry, request.as_bytes()).await
        }
    }
}

fn path(entry: Entry) -> &'static str {
    match entry {
        Entry::Participation => "/participation/v1/channels",
        Entry::Operations => "/logspec",
        _ => "/enroll",
    }
}

async fn rest(site: &Site, entry: Entry, request: &[u8]) -> String {
    let shown = site.shown(entry, Shown::Good);
    match http::exchange(site.door(entry), shown.as_ref(), request).await {
        // Fabric CA's JSON is judged by its own tests.
        Ok(answer) if entry == Entry::Ca => answer.status.to_string(),
        Ok(answer) => brief(&format!("{} {}", answer.status, answer.body)),
        Err(error) => error,
    }
}

/// What is answered to a call whose body begins with these bytes and has no end.
async fn answer(site: &Site, entry: Entry, path: &str, beginning: &[u8]) -> String {
    let (door, shown) = (site.door(entry), site.shown(entry, Shown::Good));
    let stream = match tls::connect(door, shown.as_ref(), "localhost").await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    let (client, connection) = match h2::client::handshake(stream).await {
        Ok(pair) => pair,
        Err(error) => return error.to_string(),
    };
    tokio::spawn(connection);
    let request = ::http::Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let mut client = client.ready().await.expect("a connection");
    let (answer, mut stream) = client.send_request(request, false).expect("a stream");
    stream
        .send_data(Bytes::copy_from_slice(beginning), false)
        .expect("a window");
    let told = async {
        let answer = answer.await.map_err(|error| error.to_string())?;
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return Ok(status);
        }
        let mut body = answer.into_body();
        while let Some(piece) = body.data().await {
            let length = piece.map_err(|error| error.to_string())?.len();
            let _ = body.flow_control().release_capacity(length);
        }
        let trailers = body.trailers().await.map_err(|error| error.to_string())?;
        let status = trailers.and_then(|trailers| Status::from_header_map(&trailers));
        status.ok_or_else(|| "closed".to_owned())
    };
    match tokio::time::timeout(PATIENCE, told).await {
        Err(_) => "no answer".to_owned(),
        Ok(Err(error)) => brief(&error),
        Ok(Ok(status)) if status.code() == tonic::Code::Ok => "the stream ends".to_owned(),
        Ok(Ok(status)) => brief(&format!("{:?}: {}", status.code(), status.message())),
    }
}

/// An entry of a tar archive with any name whatever.
pub fn tar_entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = content.len().next_multiple_of(512) - content.len();
    [&header[..], content, &vec![0; padding]].concat()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}
