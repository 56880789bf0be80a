//! Checking a whole ledger, while a peer has it open or not.
//!
//! Every record's checksum, the chain of hashes, each block's data hash, then everything again: the
//! blocks are applied to an empty ledger aside, so that every commit hash and the whole state,
//! history and index come out a second time and are compared. RocksDB checks its own files as they
//! are read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consilium_proto::common;
use consilium_protocol::block;

use crate::blockfile::{Appended, Fault, Found, Kind, Location, Position, Record, Scan};
use crate::chain;
use crate::commit::Reapply;
use crate::compare;
use crate::database::{Database, Family};
use crate::error::LedgerError;
use crate::ledger::{CHANNEL, Ledger};
use crate::options::StoreOptions;
use crate::private;
use crate::recovery::{Follower, Progress};

/// Something in a ledger that is not as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerFault {
    /// The file, if one is to blame.
    pub file: Option<PathBuf>,
    /// Where in it the damaged record begins.
    pub offset: Option<u64>,
    /// The block.
    pub block: Option<u64>,
    /// The transaction's index in the block.
    pub transaction: Option<u32>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for LedgerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}, ", file.display())?;
        }
        if let Some(offset) = self.offset {
            write!(f, "offset {offset}, ")?;
        }
        if let Some(block) = self.block {
            write!(f, "block {block}, ")?;
        }
        if let Some(transaction) = self.transaction {
            write!(f, "transaction {transaction}, ")?;
        }
        f.write_str(&self.what)
    }
}

/// What was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The channel, if the database could say it.
    pub channel: String,
    /// Blocks read.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Whole records at the end that the database has not taken yet.
    pub behind: u64,
    /// Everything that is wrong.
    pub faults: Vec<LedgerFault>,
    /// What could not be compared with anything, in words, with the reason.
    pub unchecked: Vec<String>,
}

/// A check of a block that needs to know more than this crate: who may sign it.
pub type BlockCheck<'a> = dyn FnMut(&common::Block) -> Result<(), String> + 'a;

/// Verifies the ledger at `path`; nothing in it is written. `scratch` is an empty folder with room
/// for a second state. A peer may go on meanwhile; its ledger is seen as it is now.
///
/// # Errors
/// When something fails that is no damage: a folder that cannot be read, no room in `scratch`.
pub fn verify(
    path: &Path,
    scratch: &Path,
    check: &mut BlockCheck<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, LedgerError> {
    if !Database::exists(path) {
        return Err(LedgerError::Missing(path.into()));
    }
    match verify_readable(path, scratch, check, progress) {
        Err(error) if error.is_damaged_database(&Database::path_in(path)) => {
            let fault = LedgerFault {
                what: error.to_string(),
                ..LedgerFault::default()
            };
            Ok(Verified {
                faults: vec![fault],
                ..Verified::default()
            })
        }
        done => done,
    }
}

/// As [`verify`], as long as the database can say where it stands.
fn verify_readable(
    path: &Path,
    scratch: &Path,
    check: &mut BlockCheck<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, LedgerError> {
    let database = Database::open_beside(path, &scratch.join("log"))?;
    let channel = database.get(Family::Meta, CHANNEL)?.unwrap_or_default();
    let channel = String::from_utf8_lossy(&channel).into_owned();
    let files = database.files.clone();
    let again = Database::open_scratch(&scratch.join("again"), files, &StoreOptions::default())?;
    let taken = chain::taken(&database)?;
    let mut pass = Pass {
        again: Some(Ledger::with(channel.clone(), again, None)?),
        taken,
        previous: None,
        verified: Verified {
            channel,
            ..Verified::default()
        },
        database,
    };
    let base = chain::Base::load(&pass.database)?.first;
    if base > 0 {
        pass.again = None;
        pass.verified.unchecked.push(format!(
            "state, history and index against the blocks, and commit hashes: the ledger began with a \
             snapshot, and what came before block {base} is not here"
        ));
    }
    if let Err(error) = pass.run(check, progress) {
        pass.database_fault(error)?;
        pass.again = None;
    }
    if base == 0 && pass.again.is_none() {
        pass.verified.unchecked.push(
            "state, history and index against the blocks: not all of these could be applied".into(),
        );
    }
    pass.check_database()?;
    Ok(pass.verified)
}

struct Pass {
    database: Arc<Database>,
    /// The ledger that is made again; `None` once a block of it is missing.
    again: Option<Ledger>,
    /// Up to where the database reflects the files.
    taken: Position,
    /// Header hash of the block before, if it is known.
    previous: Option<[u8; 32]>,
    verified: Verified,
}

impl Pass {
    fn fault(
        &mut self,
        at: Position,
        block: Option<u64>,
        transaction: Option<u32>,
        what: impl ToString,
    ) {
        self.verified.faults.push(LedgerFault {
            file: Some(self.database.files.path(at.file)),
            offset: Some(at.offset),
            block,
            transaction,
            what: what.to_string(),
        });
    }

    fn run(
        &mut self,
        check: &mut BlockCheck<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), LedgerError> {
        let files = self.database.files.clone();
        let begin = Position::first_of(0);
        let total = files.distance(begin, self.taken)?;
        let mut scan = Scan::new(&files, begin)?;
        let mut next = chain::Base::load(&self.database)?.first;
        let height = chain::height(&self.database)?;
        let mut done = 0;
        // A scan looks at the first bytes of those files only that it comes to from others.
        if files.length_if_there(0)?.is_some() && files.first_block(0).is_err() {
            let at = Position { file: 0, offset: 0 };
            self.fault(at, None, None, Fault::FileHeader);
        }
        loop {
            match scan.step()? {
                Found::End(end) => {
                    if end < self.taken {
                        let what = "the file ends here, and the database knows blocks behind it";
                        self.fault(end, Some(next), None, what);
                        self.again = None;
                    }
                    return Ok(());
                }
                Found::Record(location, record) => {
                    if location.begin >= self.taken {
                        // A peer that is at work may take it at any time.
                        self.verified.behind += 1;
                        continue;
                    }
                    if record.kind == Kind::Block {
                        // Where some are missing, those behind are not all wrong.
                        let behind = record.number.saturating_add(1);
                        self.block(next, location, record, check)?;
                        next = behind;
                    }
                    done += u64::from(location.length);
                    progress(Progress { done, total });
                }
                // It is being written, or a crash tore it: opening cuts it off.
                Found::Damage(at, _) if at >= self.taken => return Ok(()),
                Found::Damage(at, fault) => {
                    let is_header = at.offset == 0;
                    self.fault(at, (!is_header).then_some(next), fault.transaction(), fault);
                    if is_header {
                        scan.skip_to(Position::first_of(at.file));
                        continue;
                    }
                    self.again = None;
                    self.previous = None;
                    let Some(behind) = files.next_record_after(at, next..=height)? else {
                        return Ok(());
                    };
                    let read = match files.length_if_there(behind.file)? {
                        Some(_) => files.record_at(behind)?,
                        None => Err(Fault::Missing),
                    };
                    next = read.map_or(next.saturating_add(1), |(_, record)| record.number);
                    scan.skip_to(behind);
                }
            }
        }
    }

    fn block(
        &mut self,
        expected: u64,
        location: Location,
        record: Record,
        check: &mut BlockCheck<'_>,
    ) -> Result<(), LedgerError> {
        let (at, number) = (location.begin, record.number);
        self.verified.blocks += 1;
        if number != expected {
            let what = format!("block {expected} should be here");
            self.fault(at, Some(number), None, what);
            self.again = None;
            self.previous = None;
        }
        let read = match chain::decode(number, record.block.clone()) {
            Ok(read) => read,
            Err(error) => {
                self.fault(at, Some(number), None, error);
                self.again = None;
                self.previous = None;
                return Ok(());
            }
        };
        self.verified.transactions += block::envelopes(&read).len() as u64;
        let header = chain::header(&read)?;
        if header.number != number {
            self.fault(at, Some(number), None, "its header has another number");
        }
        if let Some(previous) = self.previous
            && header.previous_hash[..] != previous
        {
            self.fault(
                at,
                Some(number),
                None,
                "it does not name the hash of its predecessor",
            );
        }
        self.previous = Some(block::header_hash(header));
        let data = read.data.as_ref().map(block::data_hash);
        if data.is_none_or(|hash| header.data_hash[..] != hash) {
            self.fault(
                at,
                Some(number),
                None,
                "its data hash is not that of its transactions",
            );
        }
        if let Err(reason) = check(&read) {
            self.fault(at, Some(number), None, reason);
        }
        if let Some(index) = private::first_foreign_set(&self.database, &read)? {
            let what = "the clear private data is not the one whose hash is in the block";
            self.fault(at, Some(number), Some(index), what);
        }
        let Some(again) = &self.again else {
            return Ok(());
        };
        let synced = location.end();
        match Reapply(again).take(&Appended { location, synced }, record) {
            Ok(()) => {}
            Err(LedgerError::CorruptBlockFile { reason, .. }) => {
                self.fault(at, Some(number), None, reason);
                self.again = None;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Compares the database with the one that was made again; reads all of it in any case.
    fn check_database(&mut self) -> Result<(), LedgerError> {
        for family in [Family::Index, Family::State, Family::History] {
            let again = self.again.as_ref().map(|again| &again.database);
            match compare::families(&self.database, again, family) {
                Ok(faults) => self.verified.faults.extend(faults),
                Err(error) => self.database_fault(error)?,
            }
        }
        for family in [
            Family::Meta,
            Family::PrivateState,
            Family::PrivateData,
            Family::Transient,
        ] {
            if let Err(error) = compare::read_all(&self.database, family) {
                self.database_fault(error)?;
            }
        }
        Ok(())
    }

    fn database_fault(&mut self, error: LedgerError) -> Result<(), LedgerError> {
        if !error.is_damaged_database(self.database.path()) {
            return Err(error);
        }
        self.verified.faults.push(LedgerFault {
            file: Some(self.database.path().into()),
            what: error.to_string(),
            ..LedgerFault::default()
        });
        Ok(())
    }
}
