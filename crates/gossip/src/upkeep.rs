//! What a peer does without being asked: it says that it lives, tells its heights, and looks for
//! peers that it is not connected to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use rand::seq::{IndexedRandom, SliceRandom};
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
    let mut questions = every(options.request_state_info_interval);
    let mut dials = every(options.reconnect_interval.min(options.alive_interval));
    let mut told = BTreeMap::new();
    let mut dialled = Dialled::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = alive.tick() => {
                if let Some(gossip) = gossip.upgrade() { gossip.say_alive(); }
            }
            _ = heights.tick() => {
                if let Some(gossip) = gossip.upgrade() { gossip.publish_heights(&mut told); }
            }
            _ = questions.tick() => {
                if let Some(gossip) = gossip.upgrade() { gossip.ask_for_heights(); }
            }
            _ = dials.tick() => {
                if let Some(gossip) = gossip.upgrade() { gossip.look_for_peers(&mut dialled); }
            }
        }
        if gossip.strong_count() == 0 {
            return;
        }
    }
}

/// When endpoints were dialled.
#[derive(Default)]
struct Dialled(HashMap<String, Instant>);

impl Dialled {
    /// Those to dial now: new ones at once, others when `interval` has passed; not too many.
    fn due(&mut self, endpoints: Vec<String>, interval: Duration, now: Instant) -> Vec<String> {
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= interval;
        self.0.retain(|_, at| !is_over(at));
        let mut due = Vec::new();
        for endpoint in endpoints {
            if due.len() == DIALS {
                break;
            }
            if !self.0.contains_key(&endpoint) {
                self.0.insert(endpoint.clone(), now);
                due.push(endpoint);
            }
        }
        due
    }
}

/// Endpoints that somebody whom we believe has named, then what peers say of themselves in random
/// order, so that many false ones do not keep us from the others. Each once.
fn in_order(named: Vec<String>, mut told: Vec<String>) -> Vec<String> {
    told.shuffle(&mut rand::rng());
    let mut seen = HashSet::new();
    let mut endpoints = named;
    endpoints.extend(told);
    endpoints.retain(|endpoint| seen.insert(endpoint.clone()));
    endpoints
}

impl Gossip {
    fn say_alive(&self) {
        self.renew_identity();
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
                let identity = connection.peer.identity.serialized();
                if host.member(&view.name, identity).is_some() {
                    connection.try_send(envelope.clone());
                }
            }
        }
    }

    /// Asks some peers for the heights that they know: what they told us may have got lost.
    fn ask_for_heights(&self) {
        let connections = self.connections.all();
        let some = connections.choose_multiple(&mut rand::rng(), self.options.blocks.pull_peers);
        for connection in some {
            self.ask_heights(connection);
        }
    }

    /// Dials bootstrap peers, anchor peers and known peers that there is no stream to. What a peer
    /// says of its endpoint does not count as being connected to that: it might be another's.
    fn look_for_peers(self: &Arc<Self>, dialled: &mut Dialled) {
        let known = self.membership.lock().living(Instant::now());
        let strangers = known
            .into_iter()
            .filter(|(pki_id, _)| self.connections.to(pki_id).is_none())
            .map(|(_, endpoint)| endpoint);
        let mut named = self.options.bootstrap.clone();
        if let Some(host) = self.host.upgrade() {
            named.extend(host.channels().into_iter().flat_map(|view| view.anchors));
        }
        let own = [&self.options.endpoint, &self.options.external_endpoint];
        let is_wanted = |endpoint: &String| {
            !endpoint.is_empty() && !own.contains(&endpoint) && !self.connections.reaches(endpoint)
        };
        let mut endpoints = in_order(named, strangers.collect());
        endpoints.retain(is_wanted);
        let wanted = dialled.due(endpoints, self.options.reconnect_interval, Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_endpoints_come_first_and_none_too_often() {
        let told: Vec<String> = (0..200).map(|number| format!("told:{number}")).collect();
        let named = vec!["z:1".to_owned(), "y:1".to_owned(), "z:1".to_owned()];
        let order = in_order(named.clone(), [&told[..], &named[..1]].concat());
        assert_eq!((order.len(), &order[..2]), (202, &named[..2]));
        assert_ne!(order[2..], told[..], "shuffled");

        let mut dialled = Dialled::default();
        let (interval, now) = (Duration::from_secs(25), Instant::now());
        let first = dialled.due(order.clone(), interval, now);
        assert_eq!(first, order[..DIALS]);
        let second = dialled.due(order.clone(), interval, now + interval / 2);
        assert_eq!(second, order[DIALS..2 * DIALS]);
        let third = dialled.due(order[..10].to_vec(), interval, now + interval);
        assert_eq!(third, order[..10]);
    }
}
