//! What gossip asks of this peer: whom it believes, where it is, and what to do with private data.

use std::sync::Arc;

use bytes::Bytes;
use consilium_gossip::{ChannelView, Host, RemotePeer};
use consilium_msp::Identity;
use consilium_proto::gossip::{PrivatePayload, PvtDataDigest, PvtDataElement};

use crate::peer::Core;

#[tonic::async_trait]
impl Host for Core {
    fn judge(&self, serialized: &Bytes) -> Result<Arc<Identity>, String> {
        let local = &self.options().local_msp;
        let mut refusal = match local.deserialize(serialized) {
            Ok(identity) => match local.validate(&identity) {
                Ok(()) => return Ok(Arc::new(identity)),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        for channel in self.running() {
            let config = channel.config();
            let judged = config.msps().deserialize(serialized).and_then(|identity| {
                config.msps().validate(&identity)?;
                Ok(identity)
            });
            match judged {
                Ok(identity) => return Ok(identity),
                Err(error) => refusal = error.to_string(),
            }
        }
        Err(refusal)
    }

    fn channels(&self) -> Vec<ChannelView> {
        let advertised = self.advertised().read();
        self.running()
            .iter()
            .map(|channel| {
                let config = channel.config();
                let organizations = config.application_orgs();
                let anchors = organizations.iter().flat_map(|org| &org.anchor_peers);
                ChannelView {
                    name: channel.name().to_owned(),
                    height: *channel.subscribe_height().borrow(),
                    anchors: anchors
                        .map(|(host, port)| format!("{host}:{port}"))
                        .collect(),
                    organizations: organizations.iter().map(|org| org.msp_id.clone()).collect(),
                    chaincodes: advertised.get(channel.name()).cloned().unwrap_or_default(),
                }
            })
            .collect()
    }

    async fn private_data(
        &self,
        channel: &str,
        from: &RemotePeer,
        payload: PrivatePayload,
    ) -> Result<(), String> {
        let channel = self.channel(channel).ok_or("channel not found")?;
        let (private, from) = (self.private().clone(), from.clone());
        tokio::task::spawn_blocking(move || private.receive(&channel, &from.identity, payload))
            .await
            .map_err(|error| error.to_string())?
    }

    async fn private_request(
        &self,
        channel: &str,
        from: &RemotePeer,
        digests: Vec<PvtDataDigest>,
    ) -> Vec<PvtDataElement> {
        let Some(channel) = self.channel(channel) else {
            return Vec::new();
        };
        let started = std::time::Instant::now();
        let (private, from) = (self.private().clone(), from.clone());
        let served = tokio::task::spawn_blocking(move || {
            let served = private.serve(&channel, &from, digests);
            metrics::histogram!("gossip_privdata_retrieve_duration", "channel" => channel.name().to_owned())
                .record(started.elapsed().as_secs_f64());
            served.unwrap_or_else(|error| {
                tracing::error!(channel = channel.name(), %error, "cannot read private data");
                Vec::new()
            })
        });
        served.await.unwrap_or_default()
    }
}
