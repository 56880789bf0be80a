//! Opening a ledger of very many blocks.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use consilium_ledger::{BlockStore, Ledger, StoreOptions};
use consilium_peer::PeerChannel;
use consilium_proto::{common, protos};
use consilium_protocol::{
    block,
    commit_hash::{UpdateEntry, commit_hash, update_bytes},
    config::ChannelConfig,
    endorsement,
    hash::sha256_parts,
    proposal::transaction_id,
    rwset::{NsRwSet, TxRwSet, Version},
};
use indicatif::{ProgressBar, ProgressStyle};
use prost::Message;
use serde::Serialize;

use super::{
    channel::{CHAINCODE, CHANNEL, Channel, write},
    resources,
};

/// Which ledger to open.
#[derive(Debug, Args)]
pub struct ColdStartArgs {
    /// Blocks of the ledger, of one small transaction each.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    blocks: u64,
    /// Folder of the ledger: made if there is none, opened again if there is. By default it is made
    /// for this run only.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    blocks: u64,
    block_file_bytes: u64,
    database_bytes: u64,
    /// Until the channel is ready, with nothing of the ledger in the page cache.
    cold_ms: f64,
    /// The same again.
    warm_ms: f64,
    /// Reading the block in the middle and a key, right behind the cold start.
    first_reads_ms: f64,
}

/// Opens and prints what came out.
///
/// # Errors
/// The ledger cannot be made or opened, or is another one.
pub fn run(args: &ColdStartArgs) -> anyhow::Result<()> {
    let _logging = crate::telemetry::init("warn")?;
    let made;
    let folder = match &args.ledger {
        Some(folder) => folder.clone(),
        None => {
            made = tempfile::tempdir()?;
            made.path().join("ledger")
        }
    };
    if !folder.join("database").exists() {
        make(&folder, args.blocks)?;
    }
    resources::forget_cached(&folder)?;
    let (cold, first_reads) = open(&folder, args.blocks)?;
    let (warm, _) = open(&folder, args.blocks)?;
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    let report = Report {
        blocks: args.blocks,
        block_file_bytes: resources::bytes_below(&folder.join("blocks"))?,
        database_bytes: resources::bytes_below(&folder.join("database"))?,
        cold_ms: millis(cold),
        warm_ms: millis(warm),
        first_reads_ms: millis(first_reads),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!(
            "{} blocks: {:.0} MB of block files, {:.0} MB of database",
            report.blocks,
            report.block_file_bytes as f64 / 1e6,
            report.database_bytes as f64 / 1e6
        );
        println!(
            "ready after {:.0} ms from the disk, {:.0} ms from the page cache; the first reads of a \
             block and a key took {:.1} ms",
            report.cold_ms, report.warm_ms, report.first_reads_ms
        );
    }
    Ok(())
}

/// Opens ledger and channel, then reads something in the middle.
fn open(folder: &Path, blocks: u64) -> anyhow::Result<(Duration, Duration)> {
    let began = Instant::now();
    let ledger = Ledger::open(folder)?;
    let genesis = ledger.block(0)?.context("there is no block 0")?;
    let config = ChannelConfig::from_block(&genesis)?;
    let local = config.msps().msps().next().cloned();
    let channel = PeerChannel::open(ledger, local.context("the channel has no organization")?)?;
    let opened = began.elapsed();
    let ledger = channel.ledger();
    // Block 0 comes on top.
    ensure!(
        ledger.height() == blocks + 1,
        "the ledger in {} has {} blocks",
        folder.display(),
        ledger.height() - 1
    );
    let middle = blocks / 2 + 1;
    let began = Instant::now();
    ensure!(ledger.block(middle)?.is_some(), "block {middle} is missing");
    let value = ledger.reader()?.get(CHAINCODE, &key(middle))?;
    ensure!(value.is_some(), "what block {middle} wrote is missing");
    let read = began.elapsed();
    ledger.close();
    Ok((opened, read))
}

/// Writes the block files, and lets a ledger apply them: the same database as if they had been
/// committed one by one, without a sync for each.
fn make(folder: &Path, blocks: u64) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let channel = Channel::new(scratch.path())?;
    let store = BlockStore::open(folder)?;
    let mut last = channel.genesis().clone();
    let count = block::envelopes(&last).len();
    block::set_flags(&mut last, vec![0; count]);
    store.append(&last, &[], false)?;
    let mut previous = None;
    let bar = bar("writing blocks", blocks);
    for number in 1..=blocks {
        let header = last.header.as_ref().context("a block without header")?;
        let (envelope, updates) = transaction(number);
        let mut block = channel.block(header, vec![envelope])?;
        // One transaction, valid.
        let hash = commit_hash(&[0], &updates, previous.as_ref().map(<[u8; 32]>::as_slice));
        block::set_flags(&mut block, vec![0]);
        block::set_commit_hash(&mut block, &hash);
        store.append(&block, &[], number == blocks)?;
        (last, previous) = (block, Some(hash));
        bar.set_position(number);
    }
    bar.finish_and_clear();
    drop(store);
    // An orderer's database; the peer's is made when the ledger opens.
    fs::remove_dir_all(folder.join("database"))?;
    let bar = self::bar("applying them", 0);
    let ledger = Ledger::open_with(folder, &StoreOptions::default(), &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    })?;
    bar.finish_and_clear();
    ledger.close();
    Ok(())
}

fn bar(what: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {percent:>3}% {eta}") {
        bar.set_style(style);
    }
    bar
}

fn key(number: u64) -> String {
    format!("key{number:08}")
}

/// A small transaction that writes one key, and the update that it makes. Nobody signed it: the
/// ledger takes a validator's word for that.
fn transaction(number: u64) -> (Bytes, Bytes) {
    let key = key(number);
    let results = TxRwSet {
        namespaces: vec![NsRwSet {
            name: CHAINCODE.to_owned(),
            writes: vec![write(&key, Bytes::from_static(b"value"))],
            ..NsRwSet::default()
        }],
    };
    let creator = Bytes::from_static(b"nobody");
    let nonce = Bytes::copy_from_slice(&number.to_be_bytes());
    let chaincode = protos::ChaincodeId {
        name: CHAINCODE.to_owned(),
        version: "1.0".to_owned(),
        ..protos::ChaincodeId::default()
    };
    let extension = protos::ChaincodeHeaderExtension {
        chaincode_id: Some(chaincode.clone()),
    };
    let channel_header = common::ChannelHeader {
        r#type: common::HeaderType::EndorserTransaction as i32,
        channel_id: CHANNEL.to_owned(),
        tx_id: transaction_id(&nonce, &creator),
        extension: extension.encode_to_vec().into(),
        ..common::ChannelHeader::default()
    };
    let channel_header = Bytes::from(channel_header.encode_to_vec());
    let signature_header = Bytes::from(common::SignatureHeader { creator, nonce }.encode_to_vec());
    let input = Bytes::from_static(b"\x0a\x00");
    let proposal_hash = sha256_parts(&[&channel_header, &signature_header, &input]);
    let action = protos::ChaincodeAction {
        results: results.encode(),
        chaincode_id: Some(chaincode),
        ..protos::ChaincodeAction::default()
    };
    let payload = protos::ChaincodeActionPayload {
        chaincode_proposal_payload: input,
        action: Some(protos::ChaincodeEndorsedAction {
            proposal_response_payload: endorsement::response_payload(&proposal_hash, &action),
            endorsements: Vec::new(),
        }),
    };
    let transaction = protos::Transaction {
        actions: vec![protos::TransactionAction {
            header: signature_header.clone(),
            payload: payload.encode_to_vec().into(),
        }],
    };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header,
            signature_header,
        }),
        data: transaction.encode_to_vec().into(),
    };
    let envelope = common::Envelope {
        payload: payload.encode_to_vec().into(),
        signature: Bytes::from_static(b"none"),
    };
    let updates = update_bytes(vec![UpdateEntry {
        namespace: CHAINCODE,
        collection: "",
        key: key.as_bytes(),
        value: Some(b"value"),
        version: Version::new(number, 0),
    }]);
    (envelope.encode_to_vec().into(), updates)
}
