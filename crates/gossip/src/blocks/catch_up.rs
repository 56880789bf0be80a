//! A peer that is behind asks others for what it misses, range by range, until nobody is ahead.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use consilium_proto::gossip::{
    Payload, RemoteStateRequest,
    gossip_message::{Content, Tag},
};
use rand::Rng as _;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    ChannelBlocks, SILENT, Taken,
    transfer::{self, Candidate},
};
use crate::{
    exchange::ExchangeError,
    membership::Member,
    node::{Gossip, Host},
};

/// Answers that may be awaited at once, of all channels: each may be large.
pub(crate) const AT_ONCE: usize = 2;

pub(super) async fn run(gossip: Weak<Gossip>, blocks: Arc<ChannelBlocks>, period: Duration) {
    // A period of zero would be no pause at all.
    let mut ticks = interval(period.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(gossip) = gossip.upgrade() else {
            return;
        };
        gossip.catch_up(&blocks).await;
    }
}

impl Gossip {
    async fn catch_up(&self, blocks: &ChannelBlocks) {
        let channel = blocks.name.as_str();
        let options = &self.options.blocks;
        let mut tried = BTreeSet::new();
        let mut taken = 0;
        loop {
            let Some(host) = self.host.upgrade() else {
                return;
            };
            let Some(next) = host.next_block(channel) else {
                return;
            };
            let mut members = self.members(channel);
            let now = Instant::now();
            members.retain(|member| {
                let id = &member.pki_id;
                !blocks.is_passed_over(id) && !blocks.silent.lock().has(id, now)
            });
            let candidates: Vec<_> = members.iter().map(candidate).collect();
            let pick = |of| rand::rng().random_range(0..of);
            let asking = transfer::ask(next, &candidates, options.batch, &tried, pick);
            let Some(ask) = asking.filter(|_| tried.len() <= options.retries) else {
                if !tried.is_empty() {
                    tracing::warn!(
                        channel,
                        next,
                        "nobody sends the blocks that are missing here"
                    );
                } else if taken > 0 {
                    tracing::info!(channel, next, taken, "caught up with blocks of other peers");
                }
                return;
            };
            let member = &members[ask.candidate];
            let asked = {
                // Never closed.
                let _turn = self.transfers.acquire().await;
                self.request_blocks(channel, member, ask.from, ask.to).await
            };
            let payloads = match asked {
                Ok(payloads) => transfer::in_order(payloads, ask.from, ask.to),
                Err(error) => {
                    let endpoint = &member.endpoint;
                    tracing::debug!(channel, endpoint, %error, "a peer sends no blocks");
                    Vec::new()
                }
            };
            if payloads.is_empty() {
                let now = Instant::now();
                blocks.silent.lock().note(&member.pki_id, SILENT, now);
                tried.insert(member.pki_id.clone());
                continue;
            }
            match self
                .take_all(host.as_ref(), channel, member, payloads)
                .await
            {
                Some(0) => {
                    tried.insert(member.pki_id.clone());
                }
                Some(new) => {
                    taken += new;
                    tried.clear();
                }
                None => return,
            }
        }
    }

    /// How many of the blocks were good, if the channel takes any.
    async fn take_all(
        &self,
        host: &dyn Host,
        channel: &str,
        member: &Member,
        payloads: Vec<Payload>,
    ) -> Option<usize> {
        let mut good = 0;
        for payload in payloads {
            match host
                .take_block(channel, payload.seq_num, payload.data)
                .await
            {
                Taken::New | Taken::Known => good += 1,
                Taken::Refused(reason) => {
                    self.blame(channel, &member.pki_id, &reason);
                    break;
                }
                Taken::Closed => return None,
            }
        }
        Some(good)
    }

    async fn request_blocks(
        &self,
        channel: &str,
        member: &Member,
        from: u64,
        to: u64,
    ) -> Result<Vec<Payload>, ExchangeError> {
        let request = Content::StateRequest(RemoteStateRequest {
            start_seq_num: from,
            end_seq_num: to,
        });
        let patience = self.options.blocks.response_timeout;
        let asking = self.ask(Tag::ChanOrOrg, channel, member, request, patience);
        match asking.await? {
            Content::StateResponse(response) => Ok(response.payloads),
            _ => Err(ExchangeError::Refused("answered something else".to_owned())),
        }
    }
}

fn candidate(member: &Member) -> Candidate {
    Candidate {
        pki_id: member.pki_id.clone(),
        height: member.height,
    }
}
