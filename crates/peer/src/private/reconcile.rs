//! After the commit: looking for private data that is missing, in the background.
//! fabric: gossip/privdata/reconcile.go

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use consilium_ledger::{LedgerError, MissingData, MissingKind, ReconciledSet};
use consilium_proto::gossip::PvtDataDigest;

use super::{Private, pull, pull::Wanted};
use crate::channel::PeerChannel;

/// Missing sets in one request at most, whatever the number of blocks.
const SETS: usize = 1000;
/// Stored sets rewritten at once when purged keys are erased.
const ERASED: usize = 256;
/// How long others may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs until the peer stops.
pub(crate) async fn run(private: Arc<Private>, channel: Arc<PeerChannel>) {
    let stop = private.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = run_for_ever(&private, &channel) => {}
    }
}

async fn run_for_ever(private: &Private, channel: &Arc<PeerChannel>) {
    let mut deprioritized = Instant::now();
    // What decides on eligibility; at the start it may be another than when the peer last ran.
    let mut decided_by = None;
    loop {
        tokio::time::sleep(private.options.reconcile_sleep_interval).await;
        let outcome = async {
            erase(channel, private.options.logs_purged_keys).await?;
            let deciding = (
                channel.definitions_generation(),
                channel.config().sequence(),
            );
            if decided_by != Some(deciding) {
                make_eligible(private, channel).await?;
                decided_by = Some(deciding);
            }
            if !private.options.reconciliation_enabled {
                return Ok(());
            }
            let started = Instant::now();
            cycle(private, channel, MissingKind::Eligible).await?;
            if deprioritized.elapsed() >= private.options.deprioritized_interval {
                deprioritized = Instant::now();
                cycle(private, channel, MissingKind::Deprioritized).await?;
            }
            metrics::histogram!("gossip_privdata_reconciliation_duration", "channel" => channel.name().to_owned())
                .record(started.elapsed().as_secs_f64());
            Ok::<(), String>(())
        };
        if let Err(error) = outcome.await {
            tracing::error!(channel = channel.name(), error, "reconciliation failed");
        }
    }
}

/// Runs ledger work off the reactor.
async fn on_disk<T: Send + 'static>(
    channel: &Arc<PeerChannel>,
    work: impl FnOnce(&PeerChannel) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, String> {
    let channel = channel.clone();
    tokio::task::spawn_blocking(move || work(&channel))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

/// Erases earlier values of purged keys.
async fn erase(channel: &Arc<PeerChannel>, logs: bool) -> Result<(), String> {
    while on_disk(channel, move |channel| {
        channel.ledger().erase_purged(ERASED, logs)
    })
    .await?
    {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Turns to what this peer may have now but might not when it was committed.
async fn make_eligible(private: &Private, channel: &Arc<PeerChannel>) -> Result<(), String> {
    let mut after: Option<MissingData> = None;
    let at_once = private.options.conversion_batch;
    loop {
        let config = channel.config();
        let myself = private.myself(&config);
        let mut collections = private.collections(config);
        let last = after.take();
        let next = on_disk(channel, move |channel| {
            let ledger = channel.ledger();
            let state = ledger.reader()?;
            let batch = ledger.missing_private(MissingKind::Ineligible, last.as_ref(), at_once)?;
            let mut eligible = Vec::new();
            for missing in &batch {
                let place = &missing.place;
                let access = collections.get(&state, &place.namespace, &place.collection)?;
                if access.is_some_and(|access| access.is_kept_by(&myself)) {
                    eligible.push(missing.clone());
                }
            }
            drop(state);
            if !eligible.is_empty() {
                tracing::info!(
                    channel = channel.name(),
                    sets = eligible.len(),
                    "private data of earlier blocks may be had now"
                );
                ledger.move_missing_private(
                    &eligible,
                    MissingKind::Ineligible,
                    MissingKind::Eligible,
                )?;
            }
            Ok((batch.len() == at_once)
                .then(|| batch.last().cloned())
                .flatten())
        })
        .await?;
        after = next;
        if after.is_none() {
            return Ok(());
        }
        tokio::time::sleep(private.options.conversion_pause).await;
    }
}

/// Looks once for everything of a kind, newest blocks first.
async fn cycle(
    private: &Private,
    channel: &Arc<PeerChannel>,
    kind: MissingKind,
) -> Result<(), String> {
    let Some(gossip) = private.gossip() else {
        return Ok(());
    };
    let mut after: Option<MissingData> = None;
    loop {
        let (last, blocks) = (after.clone(), private.options.reconcile_batch_size);
        let mut collections = private.collections(channel.config());
        let (batch, wanted) = on_disk(channel, move |channel| {
            let ledger = channel.ledger();
            let mut batch = ledger.missing_private(kind, last.as_ref(), SETS)?;
            batch.truncate(within_blocks(&batch, blocks));
            let state = ledger.reader()?;
            let (mut known, mut wanted) = (Vec::new(), Vec::new());
            for missing in &batch {
                let place = &missing.place;
                let access = collections.get(&state, &place.namespace, &place.collection)?;
                if let Some(access) = access {
                    known.push(missing.clone());
                    wanted.push(Wanted {
                        digest: PvtDataDigest {
                            tx_id: String::new(),
                            namespace: place.namespace.clone(),
                            collection: place.collection.clone(),
                            block_seq: missing.block,
                            seq_in_block: u64::from(place.index),
                        },
                        access,
                        preferred: Default::default(),
                        // A set may come without purged keys: the ledger checks key by key.
                        hash: None,
                    });
                }
            }
            Ok((batch, (known, wanted)))
        })
        .await?;
        let Some(last) = batch.last().cloned() else {
            return Ok(());
        };
        after = Some(last);
        let (known, wanted) = wanted;
        let mut found = pull::Found::default();
        pull::round(gossip, channel.name(), &wanted, 0, PATIENCE, &mut found).await;
        if !found.asked {
            // Nobody is there: that says nothing about the data.
            continue;
        }
        let sets: Vec<ReconciledSet> = found
            .sets
            .iter()
            .map(|(&index, set)| ReconciledSet {
                missing: known[index].clone(),
                set: set.clone(),
            })
            .collect();
        let in_vain: Vec<MissingData> = (0..known.len())
            .filter(|index| !found.sets.contains_key(index))
            .map(|index| known[index].clone())
            .collect();
        on_disk(channel, move |channel| {
            let ledger = channel.ledger();
            let outcome = ledger.commit_reconciled(&sets)?;
            if !outcome.stored.is_empty() {
                tracing::info!(
                    channel = channel.name(),
                    sets = outcome.stored.len(),
                    "reconciled private data"
                );
            }
            for refused in &outcome.refused {
                tracing::warn!(
                    channel = channel.name(),
                    block = refused.block,
                    transaction = refused.place.index,
                    chaincode = refused.place.namespace,
                    collection = refused.place.collection,
                    "private data of another peer does not match the block"
                );
            }
            if kind == MissingKind::Eligible {
                ledger.move_missing_private(&in_vain, kind, MissingKind::Deprioritized)?;
            }
            Ok(())
        })
        .await?;
    }
}

/// How many of the first missing sets lie in the first `blocks` blocks.
fn within_blocks(batch: &[MissingData], blocks: usize) -> usize {
    let mut seen = 0;
    let mut current = None;
    for (count, missing) in batch.iter().enumerate() {
        if current != Some(missing.block) {
            if seen == blocks.max(1) {
                return count;
            }
            seen += 1;
            current = Some(missing.block);
        }
    }
    batch.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_ledger::PrivatePlace;

    #[test]
    fn a_batch_is_cut_between_blocks() {
        let batch: Vec<MissingData> = [9, 9, 7, 5, 5, 5]
            .iter()
            .zip(0..)
            .map(|(&block, index)| MissingData {
                block,
                place: PrivatePlace::new(index, "cc", "c"),
            })
            .collect();
        for (blocks, count) in [(0, 2), (1, 2), (2, 3), (3, 6), (10, 6)] {
            assert_eq!(within_blocks(&batch, blocks), count, "{blocks}");
        }
        assert_eq!(within_blocks(&[], 3), 0);
    }
}
