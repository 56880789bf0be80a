//! `ledgerutil compare`. fabric: internal/ledgerutil/compare

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use consilium_ledger::{SnapshotRecords, SnapshotState, StateRecord};
use serde::Deserialize;

use super::Compare;
use super::output::{Difference, List, Side};
use crate::commands::golang;

/// What of a snapshot's own description counts here.
#[derive(Debug, Deserialize)]
struct About {
    channel_name: String,
    last_block_number: u64,
    last_block_hash: String,
    #[serde(default)]
    snapshot_files_raw_hashes: BTreeMap<String, String>,
    #[serde(default)]
    state_db_type: String,
}

impl About {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("_snapshot_signable_metadata.json");
        let content = golang::read_file(&path)?;
        serde_json::from_slice(&content).with_context(|| path.display().to_string())
    }

    fn hashes(&self, state: &str) -> [Option<&String>; 2] {
        ["data", "metadata"].map(|end| {
            self.snapshot_files_raw_hashes
                .get(&format!("{state}.{end}"))
        })
    }
}

/// Runs it.
///
/// # Errors
/// The snapshots cannot be compared or read, or results are there already.
pub fn run(args: &Compare) -> anyhow::Result<ExitCode> {
    let (one, other) = (About::read(&args.one)?, About::read(&args.other)?);
    comparable(&one, &other)?;
    let states = [
        (
            "public_state",
            SnapshotState::Public,
            "all_pub_diffs_by_key.json",
        ),
        (
            "private_state_hashes",
            SnapshotState::PrivateHashes,
            "all_pvt_diffs_by_key.json",
        ),
    ];
    let differing: Vec<_> = states
        .into_iter()
        .filter(|(name, ..)| one.hashes(name) != other.hashes(name))
        .collect();
    if differing.is_empty() {
        println!(
            "\nSuccessfully compared snapshots. Both snapshot public state and private state hashes \
             were the same. No results were generated."
        );
        return Ok(ExitCode::SUCCESS);
    }
    let name = format!("{}_{}_comparison", one.channel_name, one.last_block_number);
    let folder = args.output.make(&name, "compare")?;
    let begin = format!(
        "{{\n\"ledgerid\":\"{}\",\n\"diffRecords\":[\n",
        one.channel_name
    );
    let mut first = First::new(args.first);
    let mut count = 0;
    for (_, state, file) in differing {
        let mut list = List::create(&folder.join(file), &begin)?;
        let open = |folder| SnapshotRecords::open(folder, state);
        let pair = (open(&args.one)?, open(&args.other)?);
        differences(pair, state == SnapshotState::PrivateHashes, |difference| {
            list.add(&difference)?;
            first.add(difference);
            Ok(())
        })?;
        count += list.finish("]\n}\n")?;
    }
    if args.first > 0 {
        let mut list = List::create(&folder.join("first_diffs_by_height.json"), &begin)?;
        first
            .records
            .iter()
            .try_for_each(|record| list.add(record))?;
        list.finish("]\n}\n")?;
    }
    println!(
        "\nSuccessfully compared snapshots. Results saved to {}. Total differences found: {count}",
        folder.display()
    );
    Ok(ExitCode::from(2))
}

fn comparable(one: &About, other: &About) -> anyhow::Result<()> {
    let pairs = [
        (
            ["Channel names", "channel name"],
            one.channel_name.clone(),
            other.channel_name.clone(),
        ),
        (
            ["Last block numbers", "last block number"],
            one.last_block_number.to_string(),
            other.last_block_number.to_string(),
        ),
        (
            ["Last block hashes", "last block hash"],
            one.last_block_hash.clone(),
            other.last_block_hash.clone(),
        ),
        (
            ["State db types", "state db type"],
            one.state_db_type.clone(),
            other.state_db_type.clone(),
        ),
    ];
    for ([all, each], one, other) in pairs {
        ensure!(
            one == other,
            "the supplied snapshots appear to be non-comparable. {all} do not match.\nSnapshot1 {each}: \
             {one}\nSnapshot2 {each}: {other}"
        );
    }
    Ok(())
}

fn differences(
    (mut one, mut other): (Option<SnapshotRecords>, Option<SnapshotRecords>),
    hashed: bool,
    mut found: impl FnMut(Difference) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = |which: &mut Option<SnapshotRecords>| match which {
        Some(records) => records.next_record(),
        None => Ok(None),
    };
    let (mut left, mut right) = (next(&mut one)?, next(&mut other)?);
    loop {
        let key = |record: &Option<StateRecord>| {
            let record = record.as_ref()?;
            Some((record.namespace.clone(), record.record.key.clone()))
        };
        let (has_left, has_right) = match (key(&left), key(&right)) {
            (None, None) => return Ok(()),
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(one), Some(other)) => (one <= other, other <= one),
        };
        let taken_left = if has_left { left.take() } else { None };
        let taken_right = if has_right { right.take() } else { None };
        let is_same = matches!((&taken_left, &taken_right), (Some(one), Some(other)) if one.record == other.record);
        if !is_same {
            found(difference(
                taken_left.as_ref(),
                taken_right.as_ref(),
                hashed,
            ))?;
        }
        if has_left {
            left = next(&mut one)?;
        }
        if has_right {
            right = next(&mut other)?;
        }
    }
}

fn difference(one: Option<&StateRecord>, other: Option<&StateRecord>, hashed: bool) -> Difference {
    let shown = |bytes: &[u8]| match hashed {
        true => hex::encode(bytes),
        false => String::from_utf8_lossy(bytes).into_owned(),
    };
    let side = |record: &StateRecord| Side {
        value: shown(&record.record.value),
        block_num: record.block,
        tx_num: record.transaction,
    };
    let either = one.or(other);
    Difference {
        namespace: either.map_or_else(String::new, |record| record.namespace.clone()),
        key: either.map_or_else(String::new, |record| shown(&record.record.key)),
        hashed,
        one: one.map(side),
        other: other.map(side),
    }
}

/// The differences that came first, as many as are wanted.
struct First {
    records: Vec<Difference>,
    limit: usize,
}

impl First {
    fn new(limit: usize) -> Self {
        Self {
            records: Vec::new(),
            limit,
        }
    }

    fn add(&mut self, record: Difference) {
        let begun = |record: &Difference| {
            let sides = record.one.iter().chain(&record.other);
            sides.map(Side::height).min()
        };
        let height = begun(&record);
        let place = self.records.partition_point(|held| begun(held) <= height);
        if place < self.limit {
            self.records.insert(place, record);
            self.records.truncate(self.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differences_are_kept_in_order() {
        let record = |key: &str, one: Option<u64>, other: Option<u64>| {
            let side = |block_num: u64| Side {
                block_num,
                ..Side::default()
            };
            Difference {
                key: key.to_owned(),
                one: one.map(side),
                other: other.map(side),
                ..Difference::default()
            }
        };
        let mut first = First::new(3);
        for (key, one, other) in [
            ("d", Some(9), None),
            ("b", Some(5), Some(4)),
            ("c", None, Some(6)),
            ("e", Some(10), Some(11)),
            ("a", Some(1), Some(7)),
        ] {
            first.add(record(key, one, other));
        }
        let keys: Vec<_> = first.records.iter().map(|record| &record.key).collect();
        assert_eq!(keys, ["a", "b", "c"]);
    }
}
