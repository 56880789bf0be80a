//! Bounded reading and deterministic writing of `.tar.gz`.

use flate2::{Compression, GzBuilder, read::MultiGzDecoder};
use std::io::{Read, Write};
use std::path::{Component, Path};

/// How large an archive may grow while it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Decompressed bytes of the whole archive.
    total: u64,
    /// Decompressed bytes of one file that is kept.
    file: u64,
    /// Entries.
    entries: usize,
    /// Whether entries may be folders, which are passed over.
    folders: bool,
}

impl Limits {
    /// An outer package: one code archive and a small description.
    pub(super) const INSTALL: Self = Self {
        total: 128 << 20,
        file: 100 << 20,
        entries: 1_000,
        folders: false,
    };
    /// A code archive that is laid out on disk for a builder.
    pub(super) const SOURCE: Self = Self {
        total: 512 << 20,
        file: 512 << 20,
        entries: 20_000,
        folders: true,
    };
    /// A code archive, of which we keep a few small files.
    pub(super) const CODE: Self = Self {
        total: 512 << 20,
        file: 1 << 20,
        entries: 20_000,
        folders: true,
    };
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("error reading as gzip stream: {0}")]
    Gzip(std::io::Error),
    #[error("error inspecting next tar header: {0}")]
    Tar(std::io::Error),
    #[error("tar entry {name} is not a regular file, type {kind}")]
    NotAFile { name: String, kind: u8 },
    #[error("tar entry {0} does not name a file inside the archive")]
    Path(String),
    #[error("could not read {name} from tar: {cause}")]
    Content { name: String, cause: std::io::Error },
    #[error("{what} exceeds {limit} bytes when decompressed")]
    TooLarge { what: String, limit: u64 },
    #[error("more than {0} entries")]
    TooMany(usize),
    #[error("more than {0} index definitions")]
    TooManyIndexes(usize),
}

/// The content of the entry at hand, read only on demand.
pub(super) struct Content<'a> {
    name: &'a str,
    mode: u32,
    reader: &'a mut dyn Read,
    limit: u64,
}

impl Content<'_> {
    /// As [`read`](Self::read), of a file that may be no larger than `limit`.
    pub(super) fn read_at_most(self, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let limit = self.limit.min(limit);
        Self { limit, ..self }.read()
    }

    /// The entry's permissions: read, write and execute, nothing else.
    pub(super) fn permissions(&self) -> u32 {
        self.mode & 0o777
    }

    /// Copies the entry, whose size the limits of the whole archive bound.
    pub(super) fn copy_to(self, target: &mut impl Write) -> Result<(), ArchiveError> {
        std::io::copy(self.reader, target)
            .map(drop)
            .map_err(|cause| ArchiveError::Content {
                name: self.name.to_owned(),
                cause,
            })
    }

    /// All bytes of the entry.
    pub(super) fn read(self) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::new();
        self.reader
            .take(self.limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|cause| ArchiveError::Content {
                name: self.name.to_owned(),
                cause,
            })?;
        if bytes.len() as u64 > self.limit {
            return Err(ArchiveError::TooLarge {
                what: self.name.to_owned(),
                limit: self.limit,
            });
        }
        Ok(bytes)
    }
}

/// Calls `visit` with the name and content of each file, in order.
pub(super) fn read(
    archive: &[u8],
    limits: Limits,
    mut visit: impl FnMut(&str, Content<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut gzip = MultiGzDecoder::new(archive);
    // Decompressing nothing at all still reads and checks the gzip header.
    gzip.read(&mut []).map_err(ArchiveError::Gzip)?;
    if gzip.header().is_none() {
        return Err(ArchiveError::Gzip(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let mut bounded = Bounded {
        inner: gzip,
        left: limits.total,
        exceeded: false,
    };
    let outcome = walk(&mut bounded, limits, &mut visit);
    if bounded.exceeded {
        return Err(ArchiveError::TooLarge {
            what: "archive".to_owned(),
            limit: limits.total,
        });
    }
    outcome
}

fn walk(
    bounded: &mut Bounded<impl Read>,
    limits: Limits,
    visit: &mut impl FnMut(&str, Content<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut tar = tar::Archive::new(bounded);
    for (index, entry) in tar.entries().map_err(ArchiveError::Tar)?.enumerate() {
        let mut entry = entry.map_err(ArchiveError::Tar)?;
        if index >= limits.entries {
            return Err(ArchiveError::TooMany(limits.entries));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() && limits.folders {
            continue;
        }
        if !kind.is_file() {
            return Err(ArchiveError::NotAFile {
                name,
                kind: kind.as_byte(),
            });
        }
        let inside = Path::new(&name)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if name.is_empty() || !inside {
            return Err(ArchiveError::Path(name));
        }
        let mode = entry.header().mode().unwrap_or(0o600);
        let content = Content {
            name: &name,
            mode,
            reader: &mut entry,
            limit: limits.file,
        };
        visit(&name, content)?;
    }
    Ok(())
}

/// A reader that fails, and remembers that it did, instead of reading on without end.
struct Bounded<R> {
    inner: R,
    left: u64,
    exceeded: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                self.exceeded = true;
                return Err(std::io::Error::other("archive too large"));
            }
        }
        Ok(read)
    }
}

/// An archive of `files`; equal files give equal bytes, whoever writes them and whenever. Fails for
/// names that no archive can have: memory itself takes every write.
pub(super) fn write(files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let gzip = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    let mut tar = tar::Builder::new(gzip);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o100_644);
        tar.append_data(&mut header, name, *content)?;
    }
    let mut gzip = tar.into_inner()?;
    gzip.flush()?;
    gzip.finish()
}
