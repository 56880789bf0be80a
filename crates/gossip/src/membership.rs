//! Who is there: the latest alive message and the latest word about each channel of every peer that
//! we know. Pure: time and verified messages come in, answers go out. Bounded.
//! fabric: gossip/discovery/discovery_impl.go, gossip/gossip/gossip_impl.go (disclosurePolicy)

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use consilium_msp::{Identity, SignError, Signer};
use consilium_proto::gossip::{
    AliveMessage, Chaincode, Envelope, GossipMessage, Member as WireMember, PeerTime, Properties,
    StateInfo,
    gossip_message::{Content, Tag},
};

use prost::Message as _;

use crate::{
    directory::{ChannelEntry, Entry},
    wire,
};

/// Peers that are remembered; more are not let in.
const MEMBERS: usize = 4096;
/// Channels that a peer may tell of.
const CHANNELS: usize = 1024;

/// A peer of a channel.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its PKI-ID.
    pub pki_id: Bytes,
    /// Its identity, verified.
    pub identity: Arc<Identity>,
    /// Where to reach it: the internal endpoint if we know it, else the external one.
    pub endpoint: String,
    /// What it tells other organizations; empty if it hides from them.
    pub external_endpoint: String,
    /// Its ledger's height.
    pub height: u64,
    /// Chaincodes that it can run.
    pub chaincodes: Vec<Chaincode>,
}

/// How new a message is: the sender's start, then a number that it counts up.
type Moment = (u64, u64);

struct Known {
    identity: Arc<Identity>,
    alive: Envelope,
    moment: Moment,
    endpoint: String,
    internal_endpoint: Option<String>,
    last_seen: Instant,
    channels: BTreeMap<String, Told>,
}

struct Told {
    moment: Moment,
    properties: Properties,
    envelope: Envelope,
}

/// What became of a message about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is news.
    News,
    /// It says nothing new: a repetition or a replay.
    Stale,
    /// There is no room for one more.
    Full,
    /// It is longer than what is kept of a peer.
    TooLarge,
}

/// The table of members.
pub struct Membership {
    own_msp: String,
    expiration: Duration,
    known: HashMap<Bytes, Known>,
}

impl Membership {
    /// An empty table for a peer of `own_msp`; who is silent for `expiration` counts as dead.
    pub fn new(own_msp: &str, expiration: Duration) -> Self {
        Self {
            own_msp: own_msp.to_owned(),
            expiration,
            known: HashMap::new(),
        }
    }

    /// Whether an alive message says nothing new, so that its signature need not be checked.
    pub fn has_heard(&self, message: &AliveMessage) -> bool {
        let member = message.membership.as_ref();
        member
            .and_then(|member| self.known.get(&member.pki_id))
            .is_some_and(|known| moment(message.timestamp.as_ref()) <= known.moment)
    }

    /// Whether a peer's word about a channel says nothing new.
    pub fn was_told(&self, channel: &str, info: &StateInfo) -> bool {
        let known = self.known.get(&info.pki_id);
        known
            .and_then(|known| known.channels.get(channel))
            .is_some_and(|told| moment(info.timestamp.as_ref()) <= told.moment)
    }

    /// Takes in an alive message whose signature by `identity` was checked.
    pub fn alive(
        &mut self,
        envelope: &Envelope,
        message: &AliveMessage,
        identity: Arc<Identity>,
        now: Instant,
    ) -> Heard {
        let Some(member) = &message.membership else {
            return Heard::Stale;
        };
        if envelope.encoded_len() > wire::SMALL {
            return Heard::TooLarge;
        }
        let moment = moment(message.timestamp.as_ref());
        let internal = (identity.msp_id() == self.own_msp)
            .then(|| wire::internal_endpoint(envelope, &identity))
            .flatten()
            .filter(|endpoint| !endpoint.is_empty());
        if let Some(known) = self.known.get_mut(&member.pki_id) {
            if moment <= known.moment {
                return Heard::Stale;
            }
            known.moment = moment;
            known.last_seen = now;
            known.endpoint.clone_from(&member.endpoint);
            known.alive = wire::copied(envelope);
            known.identity = identity;
            if internal.is_some() {
                known.internal_endpoint = internal;
            }
            return Heard::News;
        }
        if self.known.len() >= MEMBERS {
            return Heard::Full;
        }
        let known = Known {
            identity,
            alive: wire::copied(envelope),
            moment,
            endpoint: member.endpoint.clone(),
            internal_endpoint: internal,
            last_seen: now,
            channels: BTreeMap::new(),
        };
        self.known
            .insert(Bytes::copy_from_slice(&member.pki_id), known);
        Heard::News
    }

    /// Takes in what a known peer says of a channel; its signature was checked.
    pub fn told(&mut self, channel: &str, envelope: &Envelope, info: &StateInfo) -> Heard {
        let Some(known) = self.known.get_mut(&info.pki_id) else {
            return Heard::Stale;
        };
        if envelope.encoded_len() > wire::SMALL {
            return Heard::TooLarge;
        }
        let moment = moment(info.timestamp.as_ref());
        match known.channels.get(channel) {
            Some(told) if moment <= told.moment => return Heard::Stale,
            None if known.channels.len() >= CHANNELS => return Heard::Full,
            _ => {}
        }
        let mut properties = info.properties.clone().unwrap_or_default();
        for chaincode in &mut properties.chaincodes {
            chaincode.metadata = Bytes::copy_from_slice(&chaincode.metadata);
        }
        let told = Told {
            moment,
            properties,
            envelope: wire::copied(envelope),
        };
        known.channels.insert(channel.to_owned(), told);
        Heard::News
    }

    /// The identity behind a PKI-ID, if it was heard of.
    pub fn identity(&self, pki_id: &[u8]) -> Option<Arc<Identity>> {
        Some(self.known.get(pki_id)?.identity.clone())
    }

    /// Whether a peer was heard of lately.
    pub fn is_alive(&self, pki_id: &[u8], now: Instant) -> bool {
        self.known
            .get(pki_id)
            .is_some_and(|known| self.lives(known, now))
    }

    fn lives(&self, known: &Known, now: Instant) -> bool {
        now.saturating_duration_since(known.last_seen) < self.expiration
    }

    /// Living peers and where to reach them.
    pub fn living(&self, now: Instant) -> Vec<(Bytes, String)> {
        let living = self
            .known
            .iter()
            .filter(|(_, known)| self.lives(known, now));
        living
            .map(|(id, known)| (id.clone(), known.reachable_at().to_owned()))
            .collect()
    }

    /// Living peers that said something of a channel and have not left it. Whether it still counts
    /// them among its members is not known here.
    pub fn of_channel(&self, channel: &str, now: Instant) -> Vec<Member> {
        let mut members: Vec<Member> = self
            .telling(channel, now)
            .map(|(id, known, told)| Member {
                pki_id: id.clone(),
                identity: known.identity.clone(),
                endpoint: known.reachable_at().to_owned(),
                external_endpoint: known.endpoint.clone(),
                height: told.properties.ledger_height,
                chaincodes: told.properties.chaincodes.clone(),
            })
            .collect();
        members.sort_by(|a, b| a.pki_id.cmp(&b.pki_id));
        members
    }

    /// The same in their own signed words.
    pub fn channel_entries(
        &self,
        channel: &str,
        now: Instant,
    ) -> Vec<(Arc<Identity>, ChannelEntry)> {
        self.telling(channel, now)
            .map(|(id, known, told)| {
                let entry = ChannelEntry {
                    pki_id: id.clone(),
                    state_info: told.envelope.clone(),
                    properties: told.properties.clone(),
                };
                (known.identity.clone(), entry)
            })
            .collect()
    }

    fn telling<'a>(
        &'a self,
        channel: &'a str,
        now: Instant,
    ) -> impl Iterator<Item = (&'a Bytes, &'a Known, &'a Told)> {
        self.known
            .iter()
            .filter(move |(_, known)| self.lives(known, now))
            .filter_map(move |(id, known)| Some((id, known, known.channels.get(channel)?)))
            .filter(|(_, _, told)| !told.properties.left_channel)
    }

    /// Everybody who was heard of, with the alive message of those who live and show themselves to
    /// other organizations.
    pub fn entries(&self, now: Instant) -> Vec<Entry> {
        self.known
            .iter()
            .map(|(id, known)| {
                let shown = self.lives(known, now) && !known.endpoint.is_empty();
                Entry {
                    pki_id: id.clone(),
                    msp_id: known.identity.msp_id().to_owned(),
                    identity: known.identity.serialized().clone(),
                    alive: shown.then(|| Envelope {
                        secret_envelope: None,
                        ..known.alive.clone()
                    }),
                }
            })
            .collect()
    }

    /// What peers say of a channel, in their own signed words.
    pub fn state_infos(&self, channel: &str, now: Instant) -> Vec<(Arc<Identity>, Envelope)> {
        let living = self.known.values().filter(|known| self.lives(known, now));
        living
            .filter_map(|known| {
                let told = known.channels.get(channel)?;
                Some((known.identity.clone(), told.envelope.clone()))
            })
            .collect()
    }

    /// The alive messages that a peer may hear: those of our organization and of its own; across
    /// organizations only if both sides show an external endpoint, and never the internal one.
    pub fn disclosed_to(
        &self,
        msp_id: &str,
        external_endpoint: &str,
        now: Instant,
    ) -> Vec<Envelope> {
        let living = self.known.values().filter(|known| self.lives(known, now));
        living
            .filter(|known| {
                let of = known.identity.msp_id();
                let is_ours = of == self.own_msp;
                let is_theirs = of == msp_id;
                is_theirs || is_ours && !known.endpoint.is_empty() && !external_endpoint.is_empty()
            })
            .map(|known| {
                let mut envelope = known.alive.clone();
                if msp_id != self.own_msp {
                    envelope.secret_envelope = None;
                }
                envelope
            })
            .collect()
    }

    /// Forgets who has been silent for long.
    pub fn forget(&mut self, now: Instant) {
        let limit = self.expiration * 20;
        self.known
            .retain(|_, known| now.saturating_duration_since(known.last_seen) < limit);
    }
}

impl Known {
    fn reachable_at(&self) -> &str {
        self.internal_endpoint.as_deref().unwrap_or(&self.endpoint)
    }
}

fn moment(time: Option<&PeerTime>) -> Moment {
    time.map_or((0, 0), |time| (time.inc_num, time.seq_num))
}

/// The own alive message.
///
/// # Errors
/// The signer's.
pub fn alive_message(
    signer: &dyn Signer,
    external_endpoint: &str,
    internal_endpoint: &str,
    time: PeerTime,
) -> Result<Envelope, SignError> {
    let identity = signer.serialized().clone();
    let alive = AliveMessage {
        membership: Some(WireMember {
            endpoint: external_endpoint.to_owned(),
            metadata: Bytes::new(),
            pki_id: wire::pki_id(&identity).unwrap_or_default(),
        }),
        timestamp: Some(time),
        // Always, so that whoever hears of us can check our words at once.
        identity,
    };
    let message = wire::message(Tag::Empty, "", 0, Content::AliveMsg(alive));
    let mut envelope = wire::signed(&message, signer)?;
    envelope.secret_envelope = Some(wire::secret_endpoint(internal_endpoint, signer)?);
    Ok(envelope)
}

/// The own word about a channel.
///
/// # Errors
/// The signer's.
pub fn state_info(
    signer: &dyn Signer,
    channel: &str,
    properties: Properties,
    time: PeerTime,
) -> Result<Envelope, SignError> {
    let pki_id = wire::pki_id(signer.serialized()).unwrap_or_default();
    let info = StateInfo {
        timestamp: Some(time),
        channel_mac: wire::channel_mac(&pki_id, channel),
        pki_id,
        properties: Some(properties),
    };
    // The channel is named by its MAC alone: this travels through peers that are not in it.
    let message: GossipMessage = wire::message(Tag::ChanOrOrg, "", 0, Content::StateInfo(info));
    wire::signed(&message, signer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_testkit::{NodeOu, Organization};

    const EXPIRATION: Duration = Duration::from_secs(25);

    struct Peer {
        signer: Arc<consilium_msp::SoftwareSigner>,
        identity: Arc<Identity>,
        id: Bytes,
    }

    fn peer(organization: &Organization, name: &str) -> Peer {
        let signer = organization.signer(name, NodeOu::Peer);
        let identity = Arc::new(organization.msp().deserialize(signer.serialized()).unwrap());
        let id = wire::pki_id(signer.serialized()).unwrap();
        Peer {
            signer,
            identity,
            id,
        }
    }

    impl Peer {
        fn says(&self, table: &mut Membership, external: &str, at: Moment, now: Instant) -> Heard {
            let time = PeerTime {
                inc_num: at.0,
                seq_num: at.1,
            };
            let envelope = alive_message(self.signer.as_ref(), external, "inside:1", time).unwrap();
            let Some(Content::AliveMsg(alive)) = wire::open(&envelope).unwrap().content else {
                panic!("an alive message")
            };
            table.alive(&envelope, &alive, self.identity.clone(), now)
        }

        fn tells(&self, table: &mut Membership, height: u64, at: Moment) -> Heard {
            let time = PeerTime {
                inc_num: at.0,
                seq_num: at.1,
            };
            let properties = Properties {
                ledger_height: height,
                ..Default::default()
            };
            let envelope = state_info(self.signer.as_ref(), "c", properties, time).unwrap();
            let Some(Content::StateInfo(info)) = wire::open(&envelope).unwrap().content else {
                panic!("state info")
            };
            assert_eq!(info.channel_mac, wire::channel_mac(&self.id, "c"));
            table.told("c", &envelope, &info)
        }
    }

    #[test]
    fn only_news_counts_and_silence_is_death() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let one = peer(&organization, "peer1");
        let mut table = Membership::new("Org1MSP", EXPIRATION);
        let start = Instant::now();
        for (at, heard) in [
            ((5, 1), Heard::News),
            ((5, 1), Heard::Stale),
            ((5, 2), Heard::News),
            ((4, 9), Heard::Stale),
            ((6, 1), Heard::News),
        ] {
            assert_eq!(one.says(&mut table, "", at, start), heard, "{at:?}");
        }
        assert_eq!(one.tells(&mut table, 7, (6, 1)), Heard::News);
        assert_eq!(one.tells(&mut table, 3, (6, 1)), Heard::Stale);
        let members = table.of_channel("c", start);
        assert_eq!((members.len(), members[0].height), (1, 7));
        assert_eq!(members[0].endpoint, "inside:1");
        assert!(table.of_channel("d", start).is_empty());
        let late = start + EXPIRATION;
        assert!(table.of_channel("c", late).is_empty());
        assert!(!table.is_alive(&one.id, late));
        assert_eq!(one.says(&mut table, "", (6, 2), late), Heard::News);
        assert!(table.is_alive(&one.id, late));
    }

    #[test]
    fn what_is_known_already_needs_no_look_and_what_is_long_is_not_kept() {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let one = peer(&organization, "peer1");
        let mut table = Membership::new("Org1MSP", EXPIRATION);
        let now = Instant::now();
        let says = |seq_num| AliveMessage {
            membership: Some(WireMember {
                pki_id: one.id.clone(),
                ..Default::default()
            }),
            timestamp: Some(PeerTime {
                inc_num: 5,
                seq_num,
            }),
            ..Default::default()
        };
        let tells = |seq_num| StateInfo {
            pki_id: one.id.clone(),
            timestamp: Some(PeerTime {
                inc_num: 5,
                seq_num,
            }),
            ..Default::default()
        };
        assert!(!table.has_heard(&says(1)));
        one.says(&mut table, "", (5, 1), now);
        one.tells(&mut table, 7, (5, 1));
        for (seq_num, known) in [(1, true), (2, false)] {
            assert_eq!(table.has_heard(&says(seq_num)), known);
            assert_eq!(table.was_told("c", &tells(seq_num)), known);
        }
        assert!(!table.was_told("d", &tells(1)));

        let long = "x".repeat(wire::SMALL);
        assert_eq!(one.says(&mut table, &long, (5, 2), now), Heard::TooLarge);
        let envelope = Envelope {
            payload: long.into(),
            ..Default::default()
        };
        assert_eq!(table.told("c", &envelope, &tells(2)), Heard::TooLarge);
    }

    #[test]
    fn the_directory_has_what_clients_may_see() {
        let ours = Organization::new("Org1MSP", "org1.example.com");
        let mut table = Membership::new("Org1MSP", EXPIRATION);
        let start = Instant::now();
        let [hidden, shown, silent] = ["hidden", "shown", "silent"].map(|name| peer(&ours, name));
        hidden.says(&mut table, "", (1, 1), start);
        silent.says(&mut table, "outside:1", (1, 1), start);
        let late = start + EXPIRATION;
        shown.says(&mut table, "outside:2", (1, 1), late);
        for (at, alive) in [
            (start, vec![&shown.id, &silent.id]),
            (late, vec![&shown.id]),
        ] {
            let mut entries = table.entries(at);
            entries.sort_by_key(|entry| entry.alive.is_none());
            assert_eq!(entries.len(), 3);
            let mut found: Vec<_> = entries
                .iter()
                .filter(|entry| entry.alive.is_some())
                .map(|entry| &entry.pki_id)
                .collect();
            found.sort();
            let mut alive = alive;
            alive.sort();
            assert_eq!(found, alive);
            for entry in &entries {
                assert_eq!(wire::pki_id(&entry.identity).as_ref(), Some(&entry.pki_id));
                let secret = entry
                    .alive
                    .as_ref()
                    .map(|alive| alive.secret_envelope.is_some());
                assert_ne!(secret, Some(true), "internal endpoints stay inside");
            }
        }
        shown.tells(&mut table, 7, (1, 1));
        silent.tells(&mut table, 9, (1, 1));
        let told = table.channel_entries("c", late);
        assert_eq!(told.len(), 1, "the dead are not listed");
        let (identity, entry) = &told[0];
        assert_eq!(
            (&entry.pki_id, entry.properties.ledger_height),
            (&shown.id, 7)
        );
        assert_eq!(identity.serialized(), shown.identity.serialized());
        assert!(wire::verify(&entry.state_info, &shown.identity).is_ok());
        assert!(table.channel_entries("d", late).is_empty());
    }

    #[test]
    fn others_hear_only_of_those_who_show_themselves() {
        let ours = Organization::new("Org1MSP", "org1.example.com");
        let theirs = Organization::new("Org2MSP", "org2.example.com");
        let mut table = Membership::new("Org1MSP", EXPIRATION);
        let now = Instant::now();
        peer(&ours, "hidden").says(&mut table, "", (1, 1), now);
        peer(&ours, "shown").says(&mut table, "outside:1", (1, 1), now);
        peer(&theirs, "hidden").says(&mut table, "", (1, 1), now);
        peer(&theirs, "shown").says(&mut table, "outside:2", (1, 1), now);
        for (msp_id, endpoint, count) in [
            ("Org1MSP", "", 2),
            ("Org2MSP", "outside:3", 3),
            ("Org2MSP", "", 2),
            ("Org3MSP", "outside:3", 1),
            ("Org3MSP", "", 0),
        ] {
            let told = table.disclosed_to(msp_id, endpoint, now);
            assert_eq!(told.len(), count, "{msp_id} at {endpoint:?}");
            let secrets = told
                .iter()
                .any(|envelope| envelope.secret_envelope.is_some());
            assert_eq!(secrets, msp_id == "Org1MSP", "{msp_id}");
        }
        // The internal endpoint of another organization's peer is not ours to use.
        let two = peer(&theirs, "two");
        two.says(&mut table, "outside:4", (1, 1), now);
        let reachable = table.living(now);
        assert!(reachable.contains(&(two.id, "outside:4".to_owned())));
    }
}
