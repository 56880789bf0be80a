//! Peers in their own signed words, this one included, for those who pass them on to clients.
//! fabric: discovery/support/gossip/support.go

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use consilium_proto::gossip::{Envelope, Properties};

use crate::node::{ChannelView, Gossip};
use crate::own_identity::OwnIdentity;

/// A peer that was heard of.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its PKI-ID.
    pub pki_id: Bytes,
    /// MSP id of its organization.
    pub msp_id: String,
    /// Its identity as it goes over the wire, verified when it was heard of.
    pub identity: Bytes,
    /// Its signed alive message without the internal endpoint; `None` if it is silent or hides from
    /// other organizations.
    pub alive: Option<Envelope>,
}

/// What a living peer says of a channel.
#[derive(Clone, Debug)]
pub struct ChannelEntry {
    /// Its PKI-ID.
    pub pki_id: Bytes,
    /// Its signed state info.
    pub state_info: Envelope,
    /// What is in it.
    pub properties: Properties,
}

/// The own messages as last signed, so that not every question costs a signature.
#[derive(Default)]
pub(crate) struct Own {
    alive: Option<(Instant, Envelope)>,
    channels: BTreeMap<String, (Properties, Envelope)>,
}

impl Own {
    fn alive(&self, period: Duration) -> Option<Envelope> {
        let (signed, envelope) = self.alive.as_ref()?;
        (signed.elapsed() < period).then(|| envelope.clone())
    }

    fn channel(&self, view: &ChannelView) -> Option<ChannelMessage> {
        let (properties, envelope) = self.channels.get(&view.name)?;
        let is_true =
            properties.ledger_height == view.height && properties.chaincodes == view.chaincodes;
        is_true.then(|| (properties.clone(), envelope.clone()))
    }
}

type ChannelMessage = (Properties, Envelope);

impl Gossip {
    /// The peers that were heard of, and this one.
    pub fn directory(&self) -> Vec<Entry> {
        let mut entries = self.membership.lock().entries(Instant::now());
        let OwnIdentity { signer, pki_id, .. } = self.own_identity();
        let shown = !self.options.external_endpoint.is_empty();
        entries.push(Entry {
            pki_id,
            msp_id: signer.msp_id().to_owned(),
            identity: signer.serialized().clone(),
            alive: shown.then(|| self.own_alive()).flatten(),
        });
        entries
    }

    /// What the living members of a channel say of it, and this peer; nothing if this one is not in it.
    pub fn directory_of(&self, channel: &str) -> Vec<ChannelEntry> {
        let host = self.host.upgrade();
        let Some((host, view)) = host.and_then(|host| {
            let view = host.channel(channel)?;
            Some((host, view))
        }) else {
            return Vec::new();
        };
        let told = {
            let table = self.membership.lock();
            table.channel_entries(channel, Instant::now())
        };
        let told = told.into_iter().filter(|(identity, _)| {
            let serialized = identity.serialized();
            host.member(channel, serialized).is_some()
        });
        let mut entries: Vec<_> = told.map(|(_, entry)| entry).collect();
        let own = self.own_state(&view);
        entries.extend(own.map(|(properties, state_info)| ChannelEntry {
            pki_id: self.pki_id(),
            state_info,
            properties,
        }));
        entries
    }

    fn own_alive(&self) -> Option<Envelope> {
        let period = self.options.alive_interval;
        let known = self.own.lock().alive(period);
        if known.is_some() {
            return known;
        }
        // As for an organization that is not ours: without the internal endpoint.
        let envelope = self.alive("")?;
        self.own.lock().alive = Some((Instant::now(), envelope.clone()));
        Some(envelope)
    }

    fn own_state(&self, view: &ChannelView) -> Option<ChannelMessage> {
        let known = self.own.lock().channel(view);
        if known.is_some() {
            return known;
        }
        let envelope = self.state_info(view)?;
        let properties = view.properties();
        let message = (properties, envelope);
        let mut own = self.own.lock();
        own.channels.insert(view.name.clone(), message.clone());
        Some(message)
    }
}
