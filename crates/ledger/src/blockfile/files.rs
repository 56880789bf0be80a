//! The files of one chain: appending, reading, cutting.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::position::{FILE_HEADER, Location, Position, file_header, first_block};
use super::record::{self, Encoded, Fault, HEADER, Header, Record};
use crate::error::{LedgerError, Owner};
use crate::failpoint::Point;
use crate::options::StoreOptions;

const PREFIX: &str = "blocks_";
/// Files kept open for reading.
const OPEN_FILES: usize = 32;

/// The files of one chain. Reading may go on at any time; appending takes turns.
#[derive(Debug)]
pub(crate) struct BlockFiles {
    folder: PathBuf,
    options: StoreOptions,
    owner: Owner,
    handles: RwLock<BTreeMap<u32, Arc<File>>>,
    /// The end, held by whoever appends, over its writes: they are serial by nature. `None` if the
    /// files are only read.
    tail: Option<Mutex<Tail>>,
}

#[derive(Debug)]
struct Tail {
    /// `None` before the first record.
    file: Option<Arc<File>>,
    end: Position,
    /// Everything before is on disk.
    synced: Position,
    /// Something lies behind the end that could not be removed at once.
    is_dirty: bool,
    /// A record that the database has not taken yet.
    untaken: Option<Location>,
    /// After a failed sync nobody knows what is on disk.
    failed: Option<String>,
}

/// A record that was appended.
pub(crate) struct Appended {
    pub(crate) location: Location,
    /// Everything before is on disk.
    pub(crate) synced: Position,
}

impl BlockFiles {
    /// Opens the files in `folder` for appending. The first one is made with the first record.
    pub(crate) fn open(
        folder: &Path,
        owner: Owner,
        options: &StoreOptions,
    ) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::io("opening block files", folder, source);
        std::fs::create_dir_all(folder).map_err(failed)?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
        let mut files = Self::open_read_only(folder, owner, options);
        let tail = files.open_tail()?;
        files.tail = Some(Mutex::new(tail));
        Ok(files)
    }

    /// The files in `folder`, for reading.
    pub(crate) fn open_read_only(folder: &Path, owner: Owner, options: &StoreOptions) -> Self {
        BlockFiles {
            folder: folder.into(),
            options: options.clone(),
            owner,
            handles: RwLock::default(),
            tail: None,
        }
    }

    fn open_tail(&self) -> Result<Tail, LedgerError> {
        let mut last = self.last_file()?;
        // A crash while a file was made leaves one without a beginning, and without content.
        while let Some(number) = last {
            let length = self.length(number)?;
            if length > FILE_HEADER || self.first_block(number).is_ok() {
                break;
            }
            self.remove(number)?;
            last = number.checked_sub(1);
        }
        let (file, end) = match last {
            Some(number) => {
                let length = self.length(number)?;
                let end = Position {
                    file: number,
                    offset: length.max(FILE_HEADER),
                };
                (Some(Arc::new(self.open_to_write(number, false)?)), end)
            }
            None => (None, Position::first_of(0)),
        };
        Ok(Tail {
            file,
            end,
            // Known better once the database is asked.
            synced: Position { file: 0, offset: 0 },
            is_dirty: false,
            untaken: None,
            failed: None,
        })
    }

    /// Where the files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Path of a file.
    pub(crate) fn path(&self, file: u32) -> PathBuf {
        self.folder.join(format!("{PREFIX}{file:06}"))
    }

    fn io(&self, doing: &'static str, file: u32) -> impl Fn(io::Error) -> LedgerError {
        let path = self.path(file);
        move |source| LedgerError::io(doing, &path, source)
    }

    /// A refusal that names the place.
    pub(crate) fn corrupt(
        &self,
        at: Position,
        block: Option<u64>,
        reason: impl ToString,
    ) -> LedgerError {
        LedgerError::CorruptBlockFile {
            file: self.path(at.file),
            offset: at.offset,
            block,
            reason: reason.to_string(),
            repair: self.owner.repair_of_blocks(block),
        }
    }

    /// Number of the last file.
    pub(crate) fn last_file(&self) -> Result<Option<u32>, LedgerError> {
        let failed = |source| LedgerError::io("listing block files", &self.folder, source);
        let mut last = None;
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            last = last.max(number.and_then(|number| number.parse().ok()));
        }
        Ok(last)
    }

    /// The first byte behind everything in the files.
    pub(crate) fn end(&self) -> Result<Position, LedgerError> {
        if let Some(tail) = &self.tail {
            return Ok(tail.lock().end);
        }
        let Some(file) = self.last_file()? else {
            return Ok(Position::first_of(0));
        };
        let offset = self.length(file)?;
        Ok(Position { file, offset })
    }

    /// Length of a file in bytes.
    pub(super) fn length(&self, file: u32) -> Result<u64, LedgerError> {
        let metadata = std::fs::metadata(self.path(file));
        Ok(metadata.map_err(self.io("looking at", file))?.len())
    }

    /// The same; `None` if there is no such file.
    pub(crate) fn length_if_there(&self, file: u32) -> Result<Option<u64>, LedgerError> {
        match std::fs::metadata(self.path(file)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("looking at", file)(error)),
        }
    }

    fn open_to_write(&self, file: u32, create: bool) -> Result<File, LedgerError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            // What a failed attempt left there is nothing.
            .truncate(create)
            .open(self.path(file))
            .map_err(self.io("opening", file))
    }

    /// Makes a file that begins with block `first`, durably.
    fn create(&self, number: u32, first: u64) -> Result<File, LedgerError> {
        let failed = self.io("making", number);
        let points = &self.options.failpoints;
        let file = self.open_to_write(number, true)?;
        let made = || {
            points.hit(Point::FileCreated)?;
            let header = file_header(number, first);
            points.write(Point::FileHeader, &file, &mut [IoSlice::new(&header)], 0)?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
            points.hit(Point::FileSynced)
        };
        if let Err(error) = made() {
            // If it stays, it is removed when the files are opened, or made anew.
            let _ = self.remove(number);
            return Err(failed(error));
        }
        Ok(file)
    }

    fn remove(&self, file: u32) -> Result<(), LedgerError> {
        self.handles.write().remove(&file);
        std::fs::remove_file(self.path(file)).map_err(self.io("removing", file))
    }

    fn handle(&self, file: u32) -> Result<Arc<File>, LedgerError> {
        if let Some(handle) = self.handles.read().get(&file) {
            return Ok(handle.clone());
        }
        let handle = Arc::new(File::open(self.path(file)).map_err(self.io("opening", file))?);
        let mut handles = self.handles.write();
        // The oldest blocks are the least likely to be asked for again.
        if handles.len() >= OPEN_FILES {
            handles.pop_first();
        }
        Ok(handles.entry(file).or_insert(handle).clone())
    }

    /// The number of the first block of a file.
    pub(crate) fn first_block(&self, file: u32) -> Result<u64, LedgerError> {
        let header = self.read_at(Position { file, offset: 0 }, FILE_HEADER as usize);
        match header? {
            Some(header) => first_block(file, &header),
            None => None,
        }
        .ok_or_else(|| self.corrupt(Position { file, offset: 0 }, None, Fault::FileHeader))
    }

    /// `None` if the file ends before.
    pub(super) fn read_at(
        &self,
        at: Position,
        length: usize,
    ) -> Result<Option<Bytes>, LedgerError> {
        let mut bytes = vec![0; length];
        match self.handle(at.file)?.read_exact_at(&mut bytes, at.offset) {
            Ok(()) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(self.io("reading", at.file)(error)),
        }
    }

    /// The record that begins at a place, and where it lies.
    pub(crate) fn record_at(
        &self,
        begin: Position,
    ) -> Result<Result<(Location, Record), Fault>, LedgerError> {
        let Some(header) = self.read_at(begin, HEADER)? else {
            return Ok(Err(Fault::CutOff));
        };
        let header = match Header::decode(&header) {
            Ok(header) => header,
            Err(fault) => return Ok(Err(fault)),
        };
        let end = header.length().checked_add(begin.offset);
        let fits = end.is_some_and(|end| self.length(begin.file).is_ok_and(|length| end <= length));
        let length = u32::try_from(header.length()).ok().filter(|_| fits);
        let Some(length) = length else {
            return Ok(Err(Fault::CutOff));
        };
        let Some(bytes) = self.read_at(begin, length as usize)? else {
            return Ok(Err(Fault::CutOff));
        };
        Ok(record::decode(&bytes).map(|record| (Location { begin, length }, record)))
    }

    /// The record of block `number`, read in one piece; the block shares its memory.
    pub(crate) fn read(&self, location: Location, number: u64) -> Result<Record, LedgerError> {
        let bytes = self.read_at(location.begin, location.length as usize)?;
        let read = bytes.ok_or(Fault::CutOff).and_then(|b| record::decode(&b));
        match read {
            Ok(record) if record.number == number => Ok(record),
            Ok(_) => Err(self.corrupt(location.begin, Some(number), Fault::Other)),
            Err(fault) => Err(self.corrupt(location.begin, Some(number), fault)),
        }
    }

    /// One encoded transaction of block `number`, without reading the others.
    pub(crate) fn read_transaction(
        &self,
        location: Location,
        number: u64,
        index: u32,
    ) -> Result<Option<Bytes>, LedgerError> {
        let corrupt = |fault| self.corrupt(location.begin, Some(number), fault);
        let part = |range: std::ops::Range<u64>| {
            let at = Position {
                offset: location.begin.offset + range.start,
                ..location.begin
            };
            if range.end > u64::from(location.length) {
                return Err(corrupt(Fault::Table));
            }
            // Within the record, whose length is 32 bits.
            let length = (range.end - range.start) as usize;
            self.read_at(at, length)?
                .ok_or_else(|| corrupt(Fault::CutOff))
        };
        let header = Header::decode(&part(0..HEADER as u64)?).map_err(corrupt)?;
        if header.number != number {
            return Err(corrupt(Fault::Other));
        }
        let table = part(header.table())?;
        let Some((place, crc)) = header.transaction(&table, index).map_err(corrupt)? else {
            return Ok(None);
        };
        let envelope = part(place)?;
        if crc32fast::hash(&envelope) != crc {
            return Err(corrupt(Fault::Block(Some(index))));
        }
        Ok(Some(envelope))
    }

    fn tail(&self) -> Result<&Mutex<Tail>, LedgerError> {
        let refused = || LedgerError::Refused("the block files are only read".into());
        self.tail.as_ref().ok_or_else(refused)
    }

    /// Appends a record; with `sync` it is on disk when this returns, with everything before it.
    ///
    /// On error nothing of it is left. A record that was appended and then not taken by the database
    /// (see [`taken`](Self::taken)) is there already when it comes again.
    pub(crate) fn append(&self, record: &Encoded<'_>, sync: bool) -> Result<Appended, LedgerError> {
        let mut tail = self.tail()?.lock();
        if let Some(reason) = &tail.failed {
            let reason = format!("an earlier write failed: {reason}; start again");
            return Err(LedgerError::io(
                "appending",
                &self.folder,
                io::Error::other(reason),
            ));
        }
        let location = match tail.untaken {
            Some(location) if self.holds(location, record)? => location,
            other => {
                if let Some(location) = other {
                    // Another one takes its place, and of that nothing is on disk.
                    tail.end = location.begin;
                    tail.synced = tail.synced.min(location.begin);
                    tail.is_dirty = true;
                    tail.untaken = None;
                }
                self.check_room(tail.end, u64::from(record.length()))?;
                self.write(&mut tail, record)?
            }
        };
        tail.untaken = Some(location);
        if sync && tail.synced < tail.end {
            self.sync_tail(&mut tail)?;
        }
        Ok(Appended {
            location,
            synced: tail.synced,
        })
    }

    /// Makes everything in the files durable.
    pub(crate) fn sync(&self) -> Result<(), LedgerError> {
        self.sync_tail(&mut self.tail()?.lock())
    }

    /// Bytes from one place to a later one.
    pub(crate) fn distance(&self, from: Position, to: Position) -> Result<u64, LedgerError> {
        let mut bytes = 0;
        for file in from.file..to.file {
            // What is missing is told by a scan.
            bytes += self.length_if_there(file)?.unwrap_or_default();
        }
        Ok((bytes + to.offset).saturating_sub(from.offset))
    }

    /// Everything before `synced` is known to be on disk.
    pub(crate) fn set_synced(&self, synced: Position) {
        if let Some(tail) = &self.tail {
            tail.lock().synced = synced;
        }
    }

    /// The database has taken the last record.
    pub(crate) fn taken(&self) {
        if let Some(tail) = &self.tail {
            tail.lock().untaken = None;
        }
    }

    fn holds(&self, location: Location, record: &Encoded<'_>) -> Result<bool, LedgerError> {
        let there = self.read_at(location.begin, location.length as usize)?;
        Ok(there.is_some_and(|there| record.is(&there)))
    }

    /// Stops before the disk is full: the database needs room, too, to take what it was given.
    fn check_room(&self, end: Position, length: u64) -> Result<(), LedgerError> {
        let looked = rustix::fs::statvfs(&self.folder);
        let failed = self.io("looking for room", end.file);
        let free = looked.map_err(|error| failed(error.into()))?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        if free < self.options.reserve.saturating_add(length) {
            return Err(LedgerError::DiskFull {
                path: self.folder.clone(),
                reason: format!(
                    "{free} bytes are free, {} are kept free",
                    self.options.reserve
                ),
            });
        }
        Ok(())
    }

    fn write(&self, tail: &mut Tail, record: &Encoded<'_>) -> Result<Location, LedgerError> {
        let file = self.file_for(tail, record)?;
        let points = &self.options.failpoints;
        let begin = tail.end;
        let mut parts: Vec<_> = record.parts().map(IoSlice::new).collect();
        let mut write = || {
            points.write(Point::RecordWrite, &file, &mut parts, begin.offset)?;
            points.hit(Point::RecordWritten)
        };
        if let Err(error) = write() {
            tail.is_dirty = file.set_len(begin.offset).is_err();
            return Err(self.io("appending to", begin.file)(error));
        }
        let location = Location {
            begin,
            length: record.length(),
        };
        tail.end = location.end();
        Ok(location)
    }

    /// The file that a record goes to, a new one if the last one is full.
    fn file_for(&self, tail: &mut Tail, record: &Encoded<'_>) -> Result<Arc<File>, LedgerError> {
        let next = match tail.file.clone() {
            None => Position::first_of(0),
            Some(file) => {
                if tail.is_dirty {
                    let cut = file.set_len(tail.end.offset);
                    cut.map_err(self.io("cutting", tail.end.file))?;
                    tail.is_dirty = false;
                }
                let end = tail.end.offset + u64::from(record.length());
                if tail.end.offset <= FILE_HEADER || end <= self.options.file_size {
                    return Ok(file);
                }
                self.sync_tail(tail)?;
                Position::first_of(tail.end.file + 1)
            }
        };
        let file = Arc::new(self.create(next.file, record.number)?);
        tail.file = Some(file.clone());
        tail.end = next;
        tail.synced = next;
        Ok(file)
    }

    fn sync_tail(&self, tail: &mut Tail) -> Result<(), LedgerError> {
        let Some(file) = &tail.file else {
            return Ok(());
        };
        if let Err(error) = file.sync_data() {
            // What was not synced may be gone from memory, too: trying again would prove nothing.
            tail.failed = Some(error.to_string());
            return Err(self.io("syncing", tail.end.file)(error));
        }
        tail.synced = tail.end;
        let point = self.options.failpoints.hit(Point::RecordSynced);
        point.map_err(self.io("syncing", tail.end.file))
    }

    /// Cuts off everything from `end` on, durably.
    pub(crate) fn cut(&self, end: Position) -> Result<(), LedgerError> {
        let mut tail = self.tail()?.lock();
        let last = self.last_file()?.unwrap_or_default();
        // From the back, so that what is left is always a chain without a gap.
        for file in (end.file + 1..=last).rev() {
            self.remove(file)?;
        }
        let file = self.open_to_write(end.file, false)?;
        let failed = self.io("cutting", end.file);
        file.set_len(end.offset).map_err(&failed)?;
        file.sync_all().map_err(&failed)?;
        sync_folder(&self.folder)?;
        self.handles.write().remove(&end.file);
        *tail = Tail {
            file: Some(Arc::new(file)),
            end,
            synced: end,
            is_dirty: false,
            untaken: None,
            failed: None,
        };
        Ok(())
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), LedgerError> {
    // The parent of a relative path of one part is empty.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| LedgerError::io("syncing", folder, source))
}
