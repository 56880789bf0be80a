//! What the attackers do, and what they are told, in one line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use consilium_client::Admin;
use consilium_msp::Signer;
use consilium_proto::common::{self, Envelope, HeaderType};
use consilium_proto::consilium::replication::{
    StatusRequest, replication_client::ReplicationClient,
};
use consilium_proto::orderer::{self, atomic_broadcast_client::AtomicBroadcastClient};
use consilium_proto::{discovery, gateway, gossip, protos};
use consilium_protocol::{envelope, proposal};
use consilium_testkit::{NodeOu, Template};
use prost::Message;
use tonic::transport::Channel;

use crate::people::Shown;
use crate::site::{CHANNEL, CROWD, Site, Tampering};
use crate::table::{Attack, Entry};
use crate::{ca, tls, wire};

/// A channel's name that would lead out of any folder.
const OUTSIDE: &str = "../../outside";

/// Tries an attack on an entry point; gives the answer.
pub async fn attempt(site: &Site, entry: Entry, attack: Attack) -> String {
    if entry == Entry::Ca
        && let Some(answer) = ca::attempt(site, attack).await
    {
        return answer;
    }
    if (entry, attack) == (Entry::Operations, Attack::NoCertificate) {
        return unproved(site).await;
    }
    let people = &site.people;
    let (shown, signer): (Option<Shown>, Option<Arc<dyn Signer>>) = match attack {
        Attack::NoCertificate => (Some(Shown::Nothing), None),
        Attack::OtherOrganization => {
            let stranger = people.stranger.signer("stranger", NodeOu::Admin);
            (Some(Shown::OtherOrganization), Some(stranger))
        }
        Attack::Expired => (Some(Shown::Expired), Some(people.expired())),
        Attack::Revoked => {
            let revoked = people.hospital.signer_of(&people.revoked);
            (None, Some(revoked))
        }
        Attack::SelfSigned => (Some(Shown::SelfSigned), Some(people.pretender())),
        Attack::WrongUsage => (Some(Shown::ForServers), Some(people.tls_as_identity())),
        Attack::TamperedToken => (None, Some(Arc::new(Tampering(people.client())))),
        Attack::WrongAffiliation => {
            let template = Template::new("visitor").with_units(&["visitor"]);
            let visitor = people.hospital.ca().issue(&template);
            (None, Some(people.hospital.signer_of(&visitor)))
        }
        Attack::WrongHost => {
            let shown = site.shown(entry, Shown::Good);
            return tls::under_another_name(site.door(entry), shown.as_ref()).await;
        }
        Attack::ReplayedToken => return replayed(site, entry).await,
        Attack::Escalation => return escalation(site, entry).await,
        Attack::PathTraversal => return traversal(site, entry).await,
        Attack::OversizeBody => return wire::oversize(site, entry).await,
        Attack::SlowBody => return wire::slow(site, entry).await,
        Attack::ManyConnections => return crowd(site, entry).await,
    };
    let mut answers = Vec::new();
    if let Some(shown) = shown {
        let shown = site.shown(entry, shown);
        answers.push(tls::greeting(site.door(entry), shown.as_ref()).await);
    }
    // Where nothing is signed, the certificate is all there is.
    let signs = !matches!(
        entry,
        Entry::Participation | Entry::Operations | Entry::Chaincode | Entry::Cluster
    );
    if let Some(signer) = signer
        && signs
    {
        let answer = ask(site, entry, &signer, CHANNEL).await;
        answers.push(format!("signed: {answer}"));
    }
    answers.join("; ")
}

/// A request that members may make, signed by somebody, over a good connection: `OK`, or the refusal.
pub async fn ask(site: &Site, entry: Entry, who: &Arc<dyn Signer>, channel: &str) -> String {
    let (connection, hash) = match site.channel(entry).await {
        Ok(connected) => connected,
        Err(error) => return error,
    };
    ask_over(entry, connection, hash, who, channel, SystemTime::now()).await
}

async fn ask_over(
    entry: Entry,
    connection: Channel,
    hash: Bytes,
    signer: &Arc<dyn Signer>,
    channel: &str,
    time: SystemTime,
) -> String {
    let who = signer.as_ref();
    match entry {
        Entry::Endorser => {
            let args = [b"GetChainInfo", channel.as_bytes()];
            endorse(connection, propose(who, channel, "qscc", &args, time).0).await
        }
        Entry::Gateway => {
            let args = [b"GetChainInfo", channel.as_bytes()];
            let (proposed, transaction_id) = propose(who, channel, "qscc", &args, time);
            let request = gateway::EvaluateRequest {
                transaction_id,
                channel_id: channel.to_owned(),
                proposed_transaction: Some(proposed),
                target_organizations: Vec::new(),
            };
            let mut client = gateway::gateway_client::GatewayClient::new(connection);
            told(client.evaluate(request).await.map(drop))
        }
        Entry::Deliver => {
            let request = tokio_stream::once(seek(who, channel, hash, time));
            let mut client = protos::deliver_client::DeliverClient::new(connection);
            let answer = match client.deliver(request).await {
                Ok(stream) => stream.into_inner().message().await,
                Err(status) => Err(status),
            };
            match answer {
                Err(status) => refused(&status),
                Ok(answer) => match answer.and_then(|answer| answer.r#type) {
                    Some(protos::deliver_response::Type::Block(_)) => "OK".to_owned(),
                    Some(protos::deliver_response::Type::Status(status)) => status_name(status),
                    _ => "closed".to_owned(),
                },
            }
        }
        Entry::Discovery => {
            let query = discovery::query::Query::ConfigQuery(discovery::ConfigQuery {});
            discover(connection, who, hash, channel, query).await
        }
        Entry::Gossip => introduce(connection, who, hash).await,
        Entry::Broadcast => {
            let spec = envelope::HeaderSpec::new(
                HeaderType::EndorserTransaction,
                channel,
                envelope::timestamp(time),
            );
            let message = envelope::create_signed(spec, Bytes::from_static(b"anything"), who);
            broadcast(connection, message.expect("signed")).await
        }
        Entry::Cluster => {
            let mut client = ReplicationClient::new(connection);
            let request = StatusRequest {
                channel: channel.to_owned(),
                node: 0,
            };
            told(client.status(request).await.map(drop))
        }
        Entry::Package => {
            let admin = Admin::new(connection, signer.clone());
            match admin.install(package("label", "notes", b"{}")).await {
                Ok(_) => "OK".to_owned(),
                // Nobody builds it, but it was looked at.
                Err(error) => brief(&error.to_string()),
            }
        }
        Entry::Participation | Entry::Operations | Entry::Ca | Entry::Chaincode => {
            unreachable!("nothing is signed there")
        }
    }
}

/// A signed proposal, and its transaction's id.
fn propose(
    who: &dyn Signer,
    channel: &str,
    chaincode: &str,
    args: &[&[u8]],
    time: SystemTime,
) -> (protos::SignedProposal, String) {
    let new = proposal::NewProposal {
        channel,
        chaincode,
        args: args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect(),
        transient: BTreeMap::new(),
        is_init: false,
        timestamp: envelope::timestamp(time),
    };
    proposal::create(new, who).expect("signed")
}

async fn endorse(connection: Channel, proposed: protos::SignedProposal) -> String {
    let mut client = protos::endorser_client::EndorserClient::new(connection);
    match client.process_proposal(proposed).await {
        Err(status) => refused(&status),
        Ok(answer) => {
            let response = answer.into_inner().response.unwrap_or_default();
            match response.status {
                200 => "OK".to_owned(),
                status => brief(&format!("{status} {}", response.message)),
            }
        }
    }
}

fn seek(who: &dyn Signer, channel: &str, hash: Bytes, time: SystemTime) -> Envelope {
    let newest = || orderer::SeekPosition {
        r#type: Some(orderer::seek_position::Type::Newest(orderer::SeekNewest {})),
    };
    let seek = orderer::SeekInfo {
        start: Some(newest()),
        stop: Some(newest()),
        ..orderer::SeekInfo::default()
    };
    envelope::seek(channel, seek, who, envelope::timestamp(time), hash).expect("signed")
}

async fn discover(
    connection: Channel,
    who: &dyn Signer,
    hash: Bytes,
    channel: &str,
    query: discovery::query::Query,
) -> String {
    let request = discovery::Request {
        authentication: Some(discovery::AuthInfo {
            client_identity: who.serialized().clone(),
            client_tls_cert_hash: hash,
        }),
        queries: vec![discovery::Query {
            channel: channel.to_owned(),
            query: Some(query),
        }],
    };
    let payload = Bytes::from(request.encode_to_vec());
    let signature = who.sign(&payload).expect("signed");
    let mut client = discovery::discovery_client::DiscoveryClient::new(connection);
    let asked = client.discover(discovery::SignedRequest { payload, signature });
    match asked.await {
        Err(status) => refused(&status),
        Ok(answer) => match answer.into_inner().results.pop().and_then(|one| one.result) {
            Some(discovery::query_result::Result::Error(error)) => brief(&error.content),
            Some(_) => "OK".to_owned(),
            None => "nothing".to_owned(),
        },
    }
}

/// Says who one is, as peers do, and waits: whoever is not believed is shut out.
async fn introduce(connection: Channel, who: &dyn Signer, hash: Bytes) -> String {
    let hash = <[u8; 32]>::try_from(&hash[..]).ok();
    let hello = consilium_gossip::handshake::introduce(who, hash).expect("signed");
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    sender.try_send(hello).expect("room");
    let mut client = gossip::gossip_client::GossipClient::new(connection);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut stream = match client.gossip_stream(requests).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return refused(&status),
    };
    // The peer says who it is in any case; then it has judged, or asks for more.
    let mut said = 0;
    loop {
        match tokio::time::timeout(Duration::from_millis(1500), stream.message()).await {
            Err(_) => return "OK".to_owned(),
            Ok(Ok(Some(_))) if said < 3 => said += 1,
            Ok(Ok(Some(_))) => return "OK".to_owned(),
            Ok(Ok(None)) => return "closed".to_owned(),
            Ok(Err(status)) => return refused(&status),
        }
    }
}

async fn broadcast(connection: Channel, message: Envelope) -> String {
    let mut client = AtomicBroadcastClient::new(connection);
    let answer = match client.broadcast(tokio_stream::once(message)).await {
        Ok(stream) => stream.into_inner().message().await,
        Err(status) => Err(status),
    };
    match answer {
        Err(status) => refused(&status),
        Ok(None) => "closed".to_owned(),
        Ok(Some(answer)) if answer.status == common::Status::Success as i32 => "OK".to_owned(),
        Ok(Some(answer)) => {
            let status = status_name(answer.status);
            brief(&format!("{status}: {}", answer.info))
        }
    }
}

/// Operations without a certificate.
async fn unproved(site: &Site) -> String {
    let mut answers = Vec::new();
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/logspec"),
        ("PUT", "/logspec"),
        ("GET", "/chaincodes"),
        ("GET", "/channels/health/state"),
        ("GET", "/healthz"),
    ] {
        let request = crate::http::request(method, path, &[], b"{}");
        let answer = crate::http::exchange(site.door(Entry::Operations), None, &request).await;
        let answer = answer.map_or_else(|error| error, |answer| answer.status.to_string());
        answers.push(format!("{method} {path}: {answer}"));
    }
    answers.join(", ")
}

/// Something that was right at another time or place.
async fn replayed(site: &Site, entry: Entry) -> String {
    let client: Arc<dyn Signer> = site.people.client();
    let (connection, hash) = match site.channel(entry).await {
        Ok(connected) => connected,
        Err(error) => return error,
    };
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    // What was signed for the connection of another certificate.
    let other = Bytes::from_static(&[7; 32]);
    match entry {
        Entry::Endorser | Entry::Gateway => {
            let answer = ask_over(entry, connection, hash, &client, CHANNEL, hour_ago).await;
            let known = answer.split(" timestamp ").next().unwrap_or_default();
            format!("an hour old: {known}")
        }
        Entry::Deliver => {
            let old = ask_over(entry, connection.clone(), hash, &client, CHANNEL, hour_ago);
            let old = old.await;
            let now = SystemTime::now();
            let foreign = ask_over(entry, connection, other, &client, CHANNEL, now).await;
            format!("an hour old: {old}; of another connection: {foreign}")
        }
        Entry::Discovery | Entry::Gossip => {
            let now = SystemTime::now();
            let foreign = ask_over(entry, connection, other, &client, CHANNEL, now).await;
            format!("of another connection: {foreign}")
        }
        _ => unreachable!("nothing to replay"),
    }
}

/// A member whose certificate claims what only administrators are.
async fn escalation(site: &Site, entry: Entry) -> String {
    let attributes = br#"{"attrs":{"hf.Registrar.Roles":"*","hf.Type":"admin","role":"admin"}}"#;
    let template = Template {
        extensions: vec![("1.2.3.4.5.6.7.8.1", false, attributes.to_vec())],
        ..Template::new("climber").with_units(&["client"])
    };
    let climber: Arc<dyn Signer> = site
        .people
        .hospital
        .signer_of(&site.people.hospital.ca().issue(&template));
    let now = SystemTime::now();
    match entry {
        Entry::Cluster => {
            // A member of the orderer's organization, which is no consenter.
            let credential = site
                .shown(Entry::Broadcast, Shown::Good)
                .expect("a certificate");
            match site.channel_as(entry, &credential).await {
                Ok((connection, hash)) => {
                    ask_over(entry, connection, hash, &climber, CHANNEL, now).await
                }
                Err(error) => error,
            }
        }
        Entry::Package => ask(site, entry, &climber, "").await,
        Entry::Participation | Entry::Operations => {
            // The node's own organization's administrator is no operator.
            let organization = match entry {
                Entry::Participation => &site.people.ordering,
                _ => &site.people.hospital,
            };
            tls::greeting(site.door(entry), Some(&organization.tls(&["admin"]))).await
        }
        _ => {
            let (connection, hash) = match site.channel(entry).await {
                Ok(connected) => connected,
                Err(error) => return error,
            };
            match entry {
                Entry::Endorser => {
                    let args: [&[u8]; 1] = [b"JoinBySnapshotStatus"];
                    endorse(
                        connection,
                        propose(climber.as_ref(), "", "cscc", &args, now).0,
                    )
                    .await
                }
                Entry::Gateway => {
                    let (proposed, transaction_id) = propose(
                        climber.as_ref(),
                        CHANNEL,
                        "cscc",
                        &[b"JoinBySnapshotStatus"],
                        now,
                    );
                    let request = gateway::EvaluateRequest {
                        transaction_id,
                        channel_id: CHANNEL.to_owned(),
                        proposed_transaction: Some(proposed),
                        target_organizations: Vec::new(),
                    };
                    let mut client = gateway::gateway_client::GatewayClient::new(connection);
                    told(client.evaluate(request).await.map(drop))
                }
                Entry::Discovery => {
                    let query = discovery::query::Query::LocalPeers(discovery::LocalPeerQuery {});
                    discover(connection, climber.as_ref(), hash, "", query).await
                }
                _ => unreachable!("no more to be had"),
            }
        }
    }
}

/// Names that lead out of folders.
async fn traversal(site: &Site, entry: Entry) -> String {
    let paths: &[&str] = match entry {
        Entry::Participation => &[
            "/participation/v1/channels/..%2F..%2Foutside",
            "/participation/v1/channels/../../../etc/passwd",
        ],
        Entry::Operations => &["/../../etc/passwd", "/channels/..%2F..%2Foutside/state"],
        Entry::Package => return traversing_package(site).await,
        _ => {
            let client: Arc<dyn Signer> = site.people.client();
            return ask(site, entry, &client, OUTSIDE).await;
        }
    };
    let shown = site.shown(entry, Shown::Good);
    let mut answers = Vec::new();
    for path in paths {
        let request = crate::http::request("GET", path, &[], b"");
        answers.push(
            match crate::http::exchange(site.door(entry), shown.as_ref(), &request).await {
                Ok(answer) => format!("{} {}", answer.status, answer.body.trim())
                    .trim()
                    .to_owned(),
                Err(error) => error,
            },
        );
    }
    answers.join("; ")
}

async fn traversing_package(site: &Site) -> String {
    let (connection, _) = match site.channel(Entry::Package).await {
        Ok(connected) => connected,
        Err(error) => return error,
    };
    let admin = Admin::new(connection, site.people.admin());
    let mut answers = Vec::new();
    for (label, name) in [("../label", "code.tar.gz"), ("label", "../code.tar.gz")] {
        let answer = match admin.install(package(label, name, b"{}")).await {
            Ok(_) => "OK".to_owned(),
            Err(error) => brief(&error.to_string()),
        };
        answers.push(answer);
    }
    let outside = site.path("label").exists() || site.path("peer/label").exists();
    assert!(!outside, "a file came out of its folder");
    answers.join("; ")
}

/// A package with a label and one more file.
fn package(label: &str, name: &str, content: &[u8]) -> Bytes {
    let metadata = format!(r#"{{"type":"golang","label":"{label}","path":"x"}}"#);
    let mut archive = Vec::new();
    for (name, content) in [("metadata.json", metadata.as_bytes()), (name, content)] {
        archive.extend(wire::tar_entry(name, content));
    }
    archive.extend([0; 1024]);
    wire::gzip(&archive).into()
}

/// Ten thousand connections from one address that say nothing. Meanwhile others are served.
async fn crowd(site: &Site, entry: Entry) -> String {
    let door = site.door(entry);
    // An address of its own for each crowd, so that none meets what another left.
    let from = SocketAddr::from(([127, 0, 0, 10 + entry as u8], 0));
    let crowd = tls::crowd(from, door.address, CROWD).await;
    let began = Instant::now();
    let served = match site.serves(entry).await {
        Ok(()) => "others are served".to_owned(),
        Err(reason) => format!("others are not served: {reason}"),
    };
    let took = began.elapsed();
    // Whoever was turned away, or had its time, reads the end; whoever was not, nothing yet.
    let still = |stream: &&tokio::net::TcpStream| {
        let read = stream.try_read(&mut [0]);
        matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let kept = crowd.iter().filter(still).count();
    println!(
        "{entry}: {kept} of {} are kept; served in {took:?}",
        crowd.len()
    );
    match kept <= site.most_of_one_address(entry) {
        true => format!("no more are kept than one address may have; {served}"),
        false => format!("{kept} are kept; {served}"),
    }
}

fn told(outcome: Result<(), tonic::Status>) -> String {
    match outcome {
        Ok(()) => "OK".to_owned(),
        Err(status) => refused(&status),
    }
}

fn refused(status: &tonic::Status) -> String {
    brief(&format!("{:?}: {}", status.code(), status.message()))
}

fn status_name(status: i32) -> String {
    common::Status::try_from(status).map_or_else(
        |_| status.to_string(),
        |status| status.as_str_name().to_owned(),
    )
}

/// What changes from run to run is left out.
pub fn brief(text: &str) -> String {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown = String::new();
    for word in text.split_inclusive([' ', '/']) {
        let hex = word.trim_matches(|c: char| !c.is_ascii_hexdigit());
        let variable = hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit());
        shown.push_str(if variable { "… " } else { word });
    }
    let shown = shown.trim().to_owned();
    let end = shown
        .char_indices()
        .nth(220)
        .map_or(shown.len(), |(end, _)| end);
    shown[..end].to_owned()
}
