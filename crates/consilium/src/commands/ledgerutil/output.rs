//! Results as JSON, laid out as Fabric's. fabric: internal/ledgerutil/jsonrw, models

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::commands::golang;

/// Where two snapshots differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    pub hashed: bool,
    #[serde(rename = "snapshotrecord1")]
    pub one: Option<Side>,
    #[serde(rename = "snapshotrecord2")]
    pub other: Option<Side>,
}

/// What one of them has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Side {
    pub value: String,
    pub block_num: u64,
    pub tx_num: u64,
}

impl Side {
    /// Where it was written.
    pub fn height(&self) -> (u64, u64) {
        (self.block_num, self.tx_num)
    }
}

/// Differences of a channel.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Differences {
    pub ledgerid: String,
    pub diff_records: Vec<Difference>,
}

/// A list that is written entry by entry.
pub struct List {
    file: BufWriter<File>,
    entries: u64,
}

impl List {
    /// Makes a file that begins so.
    pub fn create(path: &Path, begin: &str) -> anyhow::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(begin.as_bytes())?;
        Ok(Self { file, entries: 0 })
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &impl Serialize) -> anyhow::Result<()> {
        if self.entries > 0 {
            self.file.write_all(b",\n")?;
        }
        self.entries += 1;
        let line = golang::compact(entry)?;
        self.file.write_all(line.as_bytes())?;
        Ok(self.file.write_all(b"\n")?)
    }

    /// Ends the file, and puts it on the disk; how many entries there are.
    pub fn finish(mut self, end: &str) -> anyhow::Result<u64> {
        self.file.write_all(end.as_bytes())?;
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        Ok(self.entries)
    }
}
