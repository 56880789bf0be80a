//! Blocks of a channel between peers: who of the organization pulls from the ordering service, what it
//! pushes to the others, what they ask for.
//!
//! Within an organization new blocks are pushed ([`push`]) and the latest ones pulled ([`pull`],
//! `rounds.rs`); a peer that is behind asks any member of the channel for ranges ([`transfer`],
//! `catch_up.rs`), which `serve.rs` answers. Nothing that comes is believed: the host checks each block
//! as it checks those of orderers. fabric: gossip/state, gossip/gossip/channel, gossip/election

mod catch_up;
pub mod pull;
mod push;
mod rounds;
mod serve;
pub mod transfer;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use consilium_proto::gossip::{
    Envelope, LeadershipMessage,
    gossip_message::{Content, Tag},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    connections::Connection,
    election::{Act, Election, Said},
    membership::Member,
    node::Gossip,
    options::Leadership,
    wire,
};
pub(crate) use catch_up::AT_ONCE;
use pull::Pull;
use transfer::PassedOver;

/// How long a peer is passed over that brought a bad block.
const BAD: Duration = Duration::from_secs(5 * 60);
/// How long one that did not send what it said to have.
const SILENT: Duration = Duration::from_secs(30);

/// What became of a block that a peer pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is good as far as can be told before its turn, and waits for that.
    New,
    /// It is there already.
    Known,
    /// There is no room for it before those below it are there.
    TooFar,
    /// It is a bad one.
    Refused(String),
    /// It is not signed as blocks have to be now; a configuration that is not here yet may allow it.
    Doubtful(String),
    /// The channel takes no blocks.
    Closed,
}

/// What became of a block that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way into the ledger.
    New,
    /// It was there already.
    Known,
    /// It is a bad one, or not the next.
    Refused(String),
    /// The channel takes no blocks.
    Closed,
}

/// A channel's blocks as this peer exchanges them.
pub(crate) struct ChannelBlocks {
    pub(crate) name: String,
    leads: watch::Sender<bool>,
    election: Option<Mutex<Election>>,
    /// The election is due earlier than it was.
    hurry: Notify,
    /// How new the latest word about leadership is, by PKI-ID of members.
    words: Mutex<HashMap<Bytes, (u64, u64)>>,
    pull: Mutex<Pull>,
    /// Who brought a bad block.
    passed_over: Mutex<PassedOver>,
    /// Who did not send what it said to have.
    silent: Mutex<PassedOver>,
}

impl ChannelBlocks {
    /// Whether this peer pulls from the ordering service now.
    fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    fn is_passed_over(&self, peer: &Bytes) -> bool {
        self.passed_over.lock().has(peer, Instant::now())
    }

    /// This peer stands for election under another PKI-ID from now on.
    pub(crate) fn rename(&self, pki_id: &Bytes) {
        if let Some(election) = &self.election {
            election.lock().rename(pki_id.clone());
        }
    }
}

impl Gossip {
    /// Begins to exchange a channel's blocks. The answer says whether this peer is to pull them from the
    /// ordering service, now and later.
    pub fn join(&self, channel: &str) -> watch::Receiver<bool> {
        let mut channels = self.channels.lock();
        if let Some(known) = channels.get(channel) {
            return known.leads.subscribe();
        }
        let (leads, election) = match self.options.leadership {
            Leadership::Static(leads) => (leads, None),
            Leadership::Elected(times) => {
                let now = Instant::now();
                let election = Election::new(self.pki_id(), times, 0, now);
                (false, Some(Mutex::new(election)))
            }
        };
        let joined = Arc::new(ChannelBlocks {
            name: channel.to_owned(),
            leads: watch::Sender::new(leads),
            election,
            hurry: Notify::new(),
            words: Mutex::default(),
            pull: Mutex::default(),
            passed_over: Mutex::default(),
            silent: Mutex::default(),
        });
        channels.insert(channel.to_owned(), joined.clone());
        drop(channels);
        report(&joined);
        let options = &self.options.blocks;
        if leads {
            tracing::debug!(channel, "this peer pulls blocks from the ordering service");
        } else if joined.election.is_none() && !options.transfer {
            tracing::warn!(
                channel,
                "this peer gets blocks from its organization's peers alone, and cannot ask for those it missed: set peer.gossip.state.enabled to true"
            );
        }
        let mut tasks = self.tasks.lock();
        let mut start = |task: futures_util::future::BoxFuture<'static, ()>| {
            let stop = self.stop.clone();
            tasks.push(self.runtime.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = task => {}
                }
            }));
        };
        if joined.election.is_some() {
            start(Box::pin(elect(self.me.clone(), joined.clone())));
        }
        start(Box::pin(rounds::run(
            self.me.clone(),
            joined.clone(),
            *options,
        )));
        if options.transfer {
            let period = options.check_interval;
            start(Box::pin(catch_up::run(
                self.me.clone(),
                joined.clone(),
                period,
            )));
        }
        joined.leads.subscribe()
    }

    /// How far ahead of the ledger a pushed block may be.
    pub fn block_buffer(&self) -> u64 {
        self.options.blocks.buffer.max(1)
    }

    pub(crate) fn blocks_of(&self, channel: &str) -> Option<Arc<ChannelBlocks>> {
        self.channels.lock().get(channel).cloned()
    }

    /// Living peers of the own organization in a channel, without this one.
    pub(crate) fn own_members(&self, channel: &str) -> Vec<Member> {
        let own = self.options.signer.msp_id();
        let mut members = self.members(channel);
        members.retain(|member| member.identity.msp_id() == own);
        members
    }

    /// Whether a stream's other end is such a peer; it may have been silent.
    fn is_own_member(&self, channel: &str, connection: &Connection) -> bool {
        let identity = connection.peer.identity.serialized();
        let host = self.host.upgrade();
        let member = host.and_then(|host| host.member(channel, identity));
        member.is_some_and(|member| member.msp_id() == self.options.signer.msp_id())
    }

    /// A block that a peer brought turned out to be a bad one.
    pub fn blame(&self, channel: &str, peer: &Bytes, reason: &str) {
        let known = self.membership.lock().identity(peer);
        tracing::warn!(
            channel,
            from = known.as_ref().map_or("", |identity| identity.msp_id()),
            peer = hex(peer),
            reason = wire::brief(reason),
            "refused a block that a peer brought; it is passed over for a while"
        );
        if let Some(blocks) = self.blocks_of(channel) {
            blocks.passed_over.lock().note(peer, BAD, Instant::now());
        }
    }

    /// Lets another peer of the organization lead a channel, as this one cannot reach the ordering
    /// service. Without effect where leaders are not elected.
    pub fn give_up_lead(&self, channel: &str) {
        if let Some(blocks) = self.blocks_of(channel) {
            self.act(&blocks, Election::give_up);
        }
    }

    /// Does what the election wants after `change`.
    fn act(&self, blocks: &ChannelBlocks, change: impl FnOnce(&mut Election, Instant) -> Vec<Act>) {
        let Some(election) = &blocks.election else {
            return;
        };
        let acts = {
            let mut election = election.lock();
            let due = election.due();
            let acts = change(&mut election, Instant::now());
            // Under the lock, so that the last change is the last one told.
            blocks.leads.send_if_modified(|leads| {
                let changed = *leads != election.leads();
                *leads = election.leads();
                changed
            });
            if election.due() < due {
                blocks.hurry.notify_one();
            }
            acts
        };
        for act in acts {
            match act {
                Act::Lead(leads) => {
                    tracing::info!(
                        channel = blocks.name,
                        leads,
                        "who pulls blocks from the ordering service for this organization has changed"
                    );
                    report(blocks);
                }
                Act::Say(said) => self.say(&blocks.name, said),
            }
        }
    }

    /// Tells all of the organization in a channel.
    fn say(&self, channel: &str, said: Said) {
        let own = self.own_identity();
        let word = LeadershipMessage {
            pki_id: own.pki_id,
            timestamp: Some(self.now()),
            is_declaration: said == Said::Declaration,
        };
        let message = wire::message(Tag::ChanAndOrg, channel, 0, Content::LeadershipMsg(word));
        let envelope = match wire::signed(&message, own.signer.as_ref()) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!(%error, "cannot sign a leadership message");
                return;
            }
        };
        for member in self.own_members(channel) {
            if let Some(connection) = self.connections.to(&member.pki_id) {
                connection.try_send(envelope.clone());
            }
        }
    }

    /// Takes in what a peer of the organization says about leadership. fabric:
    /// gossip/gossip/channel/channel.go HandleMessage
    pub(crate) fn hear_leadership(
        &self,
        connection: &Connection,
        channel: &str,
        envelope: &Envelope,
        word: &LeadershipMessage,
    ) {
        let Some(blocks) = self.blocks_of(channel) else {
            return;
        };
        if blocks.election.is_none() || !self.is_own_member(channel, connection) {
            return;
        }
        let members = self.own_members(channel);
        let Some(member) = members.iter().find(|member| member.pki_id == word.pki_id) else {
            return;
        };
        let time = word.timestamp.as_ref();
        let moment = time.map_or((0, 0), |time| (time.inc_num, time.seq_num));
        let is_news = |words: &HashMap<Bytes, (u64, u64)>| {
            words
                .get(&member.pki_id)
                .is_none_or(|known| moment > *known)
        };
        if !is_news(&blocks.words.lock()) || wire::verify(envelope, &member.identity).is_err() {
            return;
        }
        {
            let mut words = blocks.words.lock();
            if !is_news(&words) {
                return;
            }
            words.retain(|id, _| members.iter().any(|member| member.pki_id == *id));
            words.insert(member.pki_id.clone(), moment);
        }
        let said = if word.is_declaration {
            Said::Declaration
        } else {
            Said::Proposal
        };
        self.act(&blocks, |election, now| {
            election.hear(&member.pki_id, said, now)
        });
    }
}

async fn elect(gossip: Weak<Gossip>, blocks: Arc<ChannelBlocks>) {
    let Some(election) = &blocks.election else {
        return;
    };
    loop {
        let due = election.lock().due();
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = blocks.hurry.notified() => continue,
        }
        let Some(gossip) = gossip.upgrade() else {
            return;
        };
        let peers = gossip.own_members(&blocks.name).len();
        gossip.act(&blocks, |election, now| election.tick(peers, now));
        report(&blocks);
    }
}

fn report(blocks: &ChannelBlocks) {
    let leads = f64::from(u8::from(blocks.leads()));
    metrics::gauge!("gossip_leader_election_leader", "channel" => blocks.name.clone()).set(leads);
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(8);
    shown.map(|byte| format!("{byte:02x}")).collect()
}
