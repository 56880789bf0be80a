//! What a peer does without being asked: it says that it lives, tells its heights, and looks for
//! peers that it is not connected to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Instant,
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::node::Gossip;

/// Endpoints dialled at once at most.
const DIALS: usize = 64;

pub(crate) async fn run(gossip: Weak<Gossip>, stop: CancellationToken) {
    let Some(options) = gossip.upgrade().map(|gossip| gossip.options.clone()) else {
        return;
    };
    let every = |period| {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let mut alive = every(options.alive_interval);
    let mut heights = every(options.state_info_interval);
    let mut dials = every(options.reconnect_interval.min(options.alive_interval));
    let mut told = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = alive.tick() => {
                if let Some(gossip) = gossip.upgrade() { gossip.say_alive(); }
            }
            _ = heights.tick() => {
                if let Some(gossip) = gossip.upgrade() { gossip.publish_heights(&mut told); }
            }
            _ = dials.tick() => {
                if let Some(gossip) = gossip.upgrade() { gossip.look_for_peers(); }
            }
        }
        if gossip.strong_count() == 0 {
            return;
        }
    }
}

impl Gossip {
    fn say_alive(&self) {
        let now = Instant::now();
        self.membership.lock().forget(now);
        for connection in self.connections.all() {
            let msp_id = connection.peer.identity.msp_id();
            // The request carries the alive message, and its answer those of others.
            if let Some(request) = self.membership_request(msp_id) {
                connection.try_send(request);
            }
        }
        let Some(host) = self.host.upgrade() else {
            return;
        };
        for view in host.channels() {
            let known = self.members(&view.name).len();
            metrics::gauge!("gossip_membership_total_peers_known", "channel" => view.name)
                .set(known as f64);
        }
    }

    /// Tells heights that have changed, and all of them now and then, as messages may get lost.
    fn publish_heights(&self, told: &mut BTreeMap<String, (u64, u32)>) {
        let Some(host) = self.host.upgrade() else {
            return;
        };
        let connections = self.connections.all();
        for view in host.channels() {
            let (height, age) = told.entry(view.name.clone()).or_insert((u64::MAX, 0));
            *age += 1;
            if *height == view.height && *age < 4 {
                continue;
            }
            (*height, *age) = (view.height, 0);
            let Some(envelope) = self.state_info(&view) else {
                continue;
            };
            for connection in &connections {
                let msp_id = connection.peer.identity.msp_id();
                if view.organizations.iter().any(|id| id == msp_id) {
                    connection.try_send(envelope.clone());
                }
            }
        }
    }

    /// Dials bootstrap peers, anchor peers and known peers that there is no stream to.
    fn look_for_peers(self: &Arc<Self>) {
        let mut endpoints = BTreeSet::new();
        let known = self.membership.lock().living(Instant::now());
        let mut reached = BTreeSet::new();
        for (pki_id, endpoint) in known {
            if self.connections.to(&pki_id).is_some() {
                reached.insert(endpoint);
            } else {
                endpoints.insert(endpoint);
            }
        }
        endpoints.extend(self.options.bootstrap.iter().cloned());
        if let Some(host) = self.host.upgrade() {
            for view in host.channels() {
                endpoints.extend(view.anchors);
            }
        }
        let own = [&self.options.endpoint, &self.options.external_endpoint];
        let wanted = endpoints
            .into_iter()
            .filter(|endpoint| {
                !endpoint.is_empty()
                    && !own.contains(&endpoint)
                    && !reached.contains(endpoint)
                    && !self.connections.reaches(endpoint)
            })
            .take(DIALS);
        for endpoint in wanted {
            let lock = self.connections.dialling(&endpoint);
            // Somebody dials it already.
            if lock.try_lock().is_err() {
                continue;
            }
            drop(lock);
            let gossip = self.clone();
            self.runtime.spawn(async move {
                if let Err(reason) = gossip.connect(&endpoint, None).await {
                    tracing::debug!(endpoint, reason, "cannot reach a peer");
                }
            });
        }
    }
}
