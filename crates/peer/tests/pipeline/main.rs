//! Blocks through a running peer: pulled from orderers, verified, validated and committed in its
//! pipeline.

mod blocks;
mod lifecycle;
mod model;
mod recorded;

use std::{path::Path, sync::Arc, time::Duration};

use consilium_msp::{Msp, Signer};
use consilium_peer::{OrdererOverride, Peer, PeerChannel, PeerOptions};

/// No test waits so long for one thing unless it fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// A peer that finds the orderers of the channel's configuration elsewhere.
fn start_peer<'a>(
    data: &Path,
    signer: Arc<dyn Signer>,
    msp: Arc<Msp>,
    orderers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Arc<Peer> {
    let overrides = orderers
        .into_iter()
        .map(|(configured, dialled)| (configured.to_owned(), OrdererOverride::to(dialled)));
    let options = PeerOptions {
        orderer_overrides: overrides.collect(),
        ..PeerOptions::new(data.to_owned(), signer, msp)
    };
    Peer::open(options).expect("a peer")
}

/// Waits until the channel has `height` blocks; says why when it never does.
async fn reach(channel: &PeerChannel, height: u64) {
    let mut heights = channel.subscribe_height();
    let reached = heights.wait_for(|now| *now >= height);
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        let now = *channel.subscribe_height().borrow();
        panic!("at {now} of {height}: {:?}", channel.halted());
    }
}

/// Drops a peer that was shut down, and waits until its ledger can be opened again.
async fn let_go(peer: Arc<Peer>, channel: Arc<PeerChannel>) {
    let gone = Arc::downgrade(&channel);
    drop((peer, channel));
    let released = async {
        while gone.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, released)
        .await
        .expect("the ledger is let go");
}
