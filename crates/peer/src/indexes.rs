//! Keeping the JSON indexes of a channel's chaincodes as their packages declare them, and the
//! chaincodes running that are there to be called.

use std::sync::{Arc, Weak};

use consilium_chaincode::Host;
use tokio_util::sync::CancellationToken;

use crate::channel::PeerChannel;

/// Declares the indexes of a channel's chaincodes now, and again whenever a definition or what is
/// installed may have changed, until `stop`; likewise starts and ends launched chaincodes. Building
/// indexes reads the whole state of a chaincode, so
/// it goes on beside commits; a query that comes before an index is complete does without it.
pub(crate) async fn keep(channel: Arc<PeerChannel>, host: Weak<Host>, stop: CancellationToken) {
    let mut defined = channel.subscribe_definitions();
    let Some(mut installs) = host.upgrade().map(|host| host.subscribe_installs()) else {
        return;
    };
    loop {
        let Some(host) = host.upgrade() else {
            return;
        };
        host.keep_launched();
        let name = channel.name().to_owned();
        let declared = tokio::task::spawn_blocking(move || host.declare_indexes(&name)).await;
        let error = match declared {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panicked) => Some(panicked.to_string()),
        };
        if let Some(error) = error {
            // The ledger's troubles stop the channel elsewhere; queries go on without the index.
            tracing::error!(channel = channel.name(), error, "cannot keep indexes");
        }
        let changed = tokio::select! {
            changed = defined.changed() => changed,
            changed = installs.changed() => changed,
            () = stop.cancelled() => return,
        };
        if changed.is_err() {
            return;
        }
    }
}
