//! What gossip asks of this peer: whom it believes, where it is, and what to do with private data and
//! blocks.

use std::{
    ops::{Range, RangeInclusive},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use consilium_deliver::BlockSource;
use consilium_gossip::{ChannelView, Host, Offered, Taken};
use consilium_msp::{Identity, MspManager, check_well_formed};
use consilium_proto::{
    gossip::{Payload, PrivatePayload, PvtDataDigest, PvtDataElement},
    msp::SerializedIdentity,
};
use consilium_protocol::config::ChannelConfig;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::{acl::READERS, channel::PeerChannel, peer::Core};

/// The longest identity that is looked at.
const LONGEST: usize = 16 * 1024;

/// The identity, if the own organization vouches for it, or a channel does. What the own MSP says of
/// an identity of its own is final. fabric: internal/peer/gossip/mcs.go getValidatedIdentity,
/// gossip/identity/identity.go Put
fn judge(
    own: &MspManager,
    channels: impl IntoIterator<Item = Arc<ChannelConfig>>,
    serialized: &Bytes,
    now: SystemTime,
) -> Result<Arc<Identity>, String> {
    if serialized.len() > LONGEST {
        return Err("the identity is too long".to_owned());
    }
    let id_bytes = SerializedIdentity::decode(serialized.clone())
        .map_err(|error| error.to_string())?
        .id_bytes;
    // Otherwise one certificate would have as many PKI-IDs as its holder likes.
    if !id_bytes.starts_with(b"-----BEGIN ") {
        return Err("identity is not well formed: it does not begin with a PEM block".to_owned());
    }
    check_well_formed(&id_bytes)
        .map_err(|error| format!("identity is not well formed: {error}"))?;
    let vouched_for = |msps: &MspManager, identity: Arc<Identity>| {
        msps.validate(&identity)
            .map_err(|error| error.to_string())?;
        if is_expired(&identity, now) {
            return Err("gossipping peer identity expired".to_owned());
        }
        Ok(identity)
    };
    let mut refusal = match own.deserialize(serialized) {
        Ok(identity) => return vouched_for(own, identity),
        Err(error) => error.to_string(),
    };
    for config in channels {
        let msps = config.msps();
        let judged = msps
            .deserialize(serialized)
            .map_err(|error| error.to_string());
        match judged.and_then(|identity| vouched_for(msps, identity)) {
            Ok(identity) => return Ok(identity),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// The identity as a channel's MSPs read it, if it may read the channel as one of its application
/// organizations. fabric: internal/peer/gossip/mcs.go VerifyByChannel
fn member(config: &ChannelConfig, serialized: &Bytes) -> Option<Arc<Identity>> {
    let identity = config.msps().deserialize(serialized).ok()?;
    config.msps().validate(&identity).ok()?;
    config.application_org_group(identity.msp_id())?;
    let readers = config.policies().policy(READERS);
    readers
        .evaluate_identities(std::slice::from_ref(&identity))
        .ok()?;
    Some(identity)
}

fn is_expired(identity: &Identity, now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX) > identity.certificate().not_after()
}

impl PeerChannel {
    /// The identity as the channel reads it, if it is a member now. Decisions are remembered until
    /// the configuration changes.
    fn member(&self, serialized: &Bytes, now: SystemTime) -> Option<Arc<Identity>> {
        if serialized.len() > LONGEST {
            return None;
        }
        let config = self.config();
        let members = self.known_members();
        let known = members.get(&(config.sequence(), serialized.clone()));
        let found = known.unwrap_or_else(|| {
            let found = member(&config, serialized);
            // A copy: the identity may be a slice of a message that must not live on with it.
            let key = (config.sequence(), Bytes::copy_from_slice(serialized));
            members.insert(key, found.clone());
            found
        });
        found.filter(|identity| !is_expired(identity, now))
    }
}

fn view(core: &Core, channel: &PeerChannel) -> ChannelView {
    let config = channel.config();
    let anchors = config
        .application_orgs()
        .iter()
        .flat_map(|org| &org.anchor_peers);
    let chaincodes = core.advertised().read().get(channel.name()).cloned();
    ChannelView {
        name: channel.name().to_owned(),
        height: *channel.subscribe_height().borrow(),
        anchors: anchors
            .map(|(host, port)| format!("{host}:{port}"))
            .collect(),
        chaincodes: chaincodes.unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl Host for Core {
    fn judge(&self, serialized: &Bytes) -> Result<Arc<Identity>, String> {
        let channels = self.running().into_iter().map(|channel| channel.config());
        judge(&self.own_msps(), channels, serialized, SystemTime::now())
    }

    fn member(&self, channel: &str, serialized: &Bytes) -> Option<Arc<Identity>> {
        self.channel(channel)?.member(serialized, SystemTime::now())
    }

    fn channel_names(&self) -> Vec<String> {
        let channels = self.running();
        channels
            .iter()
            .map(|channel| channel.name().to_owned())
            .collect()
    }

    fn channels(&self) -> Vec<ChannelView> {
        self.running()
            .iter()
            .map(|channel| view(self, channel))
            .collect()
    }

    fn channel(&self, name: &str) -> Option<ChannelView> {
        Some(view(self, self.channel(name)?.as_ref()))
    }

    async fn private_data(
        &self,
        channel: &str,
        from: &Arc<Identity>,
        payload: PrivatePayload,
    ) -> Result<(), String> {
        let channel = self.channel(channel).ok_or("channel not found")?;
        let (private, from) = (self.private().clone(), from.clone());
        tokio::task::spawn_blocking(move || private.receive(&channel, &from, payload))
            .await
            .map_err(|error| error.to_string())?
    }

    async fn private_request(
        &self,
        channel: &str,
        from: &Arc<Identity>,
        digests: Vec<PvtDataDigest>,
    ) -> Vec<PvtDataElement> {
        let Some(channel) = self.channel(channel) else {
            return Vec::new();
        };
        let started = std::time::Instant::now();
        let (private, from) = (self.private().clone(), from.clone());
        // Given up when whoever awaits this does.
        let in_vain = CancellationToken::new();
        let _guard = in_vain.clone().drop_guard();
        let served = tokio::task::spawn_blocking(move || {
            let served = private.serve(&channel, &from, digests, || in_vain.is_cancelled());
            metrics::histogram!("gossip_privdata_retrieve_duration", "channel" => channel.name().to_owned())
                .record(started.elapsed().as_secs_f64());
            served.unwrap_or_else(|error| {
                tracing::error!(channel = channel.name(), %error, "cannot read private data");
                Vec::new()
            })
        });
        served.await.unwrap_or_default()
    }

    fn stored(&self, channel: &str) -> Option<Range<u64>> {
        let channel = self.channel(channel)?;
        Some(channel.first_block()..channel.height())
    }

    fn next_block(&self, channel: &str) -> Option<u64> {
        Some(self.channel(channel)?.entrance()?.next())
    }

    async fn blocks(
        &self,
        channel: &str,
        numbers: RangeInclusive<u64>,
        bytes: usize,
    ) -> Vec<Payload> {
        let Some(channel) = self.channel(channel) else {
            return Vec::new();
        };
        let reading = tokio::task::spawn_blocking(move || read_blocks(&channel, numbers, bytes));
        reading.await.unwrap_or_default()
    }

    async fn offer_block(&self, channel: &str, from: &Bytes, number: u64, block: Bytes) -> Offered {
        let channel = self.channel(channel);
        match channel.as_ref().and_then(|channel| channel.entrance()) {
            Some(entrance) => entrance.offer(from, number, block).await,
            None => Offered::Closed,
        }
    }

    async fn take_block(&self, channel: &str, number: u64, block: Bytes) -> Taken {
        let channel = self.channel(channel);
        match channel.as_ref().and_then(|channel| channel.entrance()) {
            Some(entrance) => entrance.take(number, block).await,
            None => Taken::Closed,
        }
    }
}

/// Blocks as the ledger has them, at least one and then as many as have so many bytes. Blocks.
fn read_blocks(channel: &PeerChannel, numbers: RangeInclusive<u64>, bytes: usize) -> Vec<Payload> {
    let mut payloads = Vec::new();
    let mut left = bytes;
    for number in numbers {
        let data = match channel.block_bytes(number) {
            Ok(Some(data)) => data,
            Ok(None) => break,
            Err(error) => {
                tracing::error!(
                    channel = channel.name(),
                    block = number,
                    error,
                    "cannot read a block"
                );
                break;
            }
        };
        if !payloads.is_empty() && data.len() > left {
            break;
        }
        left = left.saturating_sub(data.len());
        payloads.push(Payload {
            seq_num: number,
            data,
            private_data: Vec::new(),
        });
    }
    payloads
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_msp::Signer;
    use consilium_testkit::{NodeOu, Organization, Template, network::config};
    use std::time::Duration;

    fn own(organization: &Organization) -> MspManager {
        MspManager::new(vec![organization.msp()]).unwrap()
    }

    /// The same identity with its certificate written in another way.
    fn rewritten(serialized: &Bytes, rewrite: impl Fn(&str) -> String) -> Bytes {
        let mut identity = SerializedIdentity::decode(serialized.clone()).unwrap();
        let pem = std::str::from_utf8(&identity.id_bytes).unwrap();
        identity.id_bytes = rewrite(pem).into();
        identity.encode_to_vec().into()
    }

    #[test]
    fn an_identity_is_believed_in_one_form_and_while_it_is_valid() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let own = own(&organization);
        let template = Template::new("peer0").with_units(&["peer"]);
        let until = template.not_after as u64;
        let signer = organization.signer_of(&organization.ca().issue(&template));
        let judge = |serialized: &Bytes, now: u64| {
            let now = UNIX_EPOCH + Duration::from_secs(now);
            super::judge(&own, [], serialized, now).map(|_| ())
        };
        let good = signer.serialized();
        assert_eq!(judge(good, until), Ok(()));
        assert_eq!(
            judge(good, until + 1),
            Err("gossipping peer identity expired".to_owned())
        );
        for (what, bad) in [
            ("before", rewritten(good, |pem| format!("text\n{pem}"))),
            ("after", rewritten(good, |pem| format!("{pem}text"))),
            (
                "type",
                rewritten(good, |pem| pem.replace("CERTIFICATE", "X")),
            ),
            (
                "long",
                rewritten(good, |pem| pem.to_owned() + &" ".repeat(LONGEST)),
            ),
        ] {
            judge(&bad, until).expect_err(what);
        }
    }

    #[test]
    fn the_own_msp_has_the_last_word_about_its_own_identities() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let credential = organization.issue("peer0", NodeOu::Peer);
        let signer = organization.signer_of(&credential);
        let channel = config("c", &[&organization]);
        let identity = organization.msp().deserialize(signer.serialized()).unwrap();
        let revoked = {
            let serial = identity.certificate().serial().to_vec();
            let list = organization.ca().revocation_list(&[&serial], true);
            let mut msp = organization.msp_config();
            msp.revocation_list.push(list.into());
            consilium_msp::Msp::new(&msp, organization.msp().version()).unwrap()
        };
        let now = SystemTime::now();
        let judge = |own: &MspManager| {
            super::judge(own, [channel.clone()], signer.serialized(), now).map(|_| ())
        };
        assert_eq!(judge(&own(&organization)), Ok(()));
        judge(&MspManager::new(vec![Arc::new(revoked)]).unwrap()).expect_err("revoked");
        // Another organization's peer asks the channel.
        let other = Organization::new("Org2MSP", "org2.example.com");
        assert_eq!(judge(&own(&other)), Ok(()));
    }

    #[test]
    fn a_name_alone_makes_nobody_a_member() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let namesake = Organization::new("Org1MSP", "org1.example.com");
        let stranger = Organization::new("Org2MSP", "org2.example.com");
        let config = config("c", &[&organization]);
        for (organization, unit, expected) in [
            (&organization, NodeOu::Peer, true),
            (&organization, NodeOu::Orderer, false),
            (&namesake, NodeOu::Peer, false),
            (&stranger, NodeOu::Peer, false),
        ] {
            let signer = organization.signer("peer0", unit);
            let found = member(&config, signer.serialized());
            assert_eq!(
                found.is_some(),
                expected,
                "{} {unit:?}",
                organization.msp_id()
            );
        }
    }
}
