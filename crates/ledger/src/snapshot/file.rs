//! The files of a snapshot: a format byte, then numbers as varints and byte strings behind their
//! length, hashed as they are written.
//! fabric: common/ledger/snapshot/file.go

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The only format there is.
const FORMAT: u8 = 1;
/// Longest byte string that a reader takes: no record of a ledger is larger than a block may be.
const MAX_BYTES: u64 = 1 << 30;
/// Bytes that a reader makes room for before they have arrived.
const STEP: u64 = 1 << 20;

/// Writes one file; it must not exist.
pub(crate) struct FileWriter {
    file: BufWriter<File>,
    hash: Sha256,
}

impl FileWriter {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(path)?;
        let mut writer = Self {
            file: BufWriter::with_capacity(1 << 20, file),
            hash: Sha256::new(),
        };
        writer.put(&[FORMAT])?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes)
    }

    pub(crate) fn number(&mut self, number: u64) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(10);
        prost::encoding::encode_varint(number, &mut buffer);
        self.put(&buffer)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.number(bytes.len() as u64)?;
        self.put(bytes)
    }

    /// Makes the file durable and gives the SHA-256 of all of it.
    pub(crate) fn finish(self) -> io::Result<[u8; 32]> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        Ok(self.hash.finalize().into())
    }
}

/// Reads one file.
pub(crate) struct FileReader<R = BufReader<File>> {
    source: R,
}

impl FileReader {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::new(BufReader::with_capacity(1 << 20, File::open(path)?))
    }
}

impl<R: Read> FileReader<R> {
    /// Fails unless the first byte is that of the known format.
    pub(crate) fn new(source: R) -> io::Result<Self> {
        let mut reader = Self { source };
        let format = reader.byte()?;
        if format != FORMAT {
            return Err(invalid(format!(
                "snapshot files have format {FORMAT}, this one has {format}"
            )));
        }
        Ok(reader)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.source.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    pub(crate) fn number(&mut self) -> io::Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(invalid("a number is too large"))
    }

    pub(crate) fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = self.number()?;
        if length > MAX_BYTES {
            return Err(invalid(format!("a record of {length} bytes is too large")));
        }
        // A length that lies must not take memory that the file does not fill.
        let mut bytes = Vec::with_capacity(length.min(STEP) as usize);
        let read = self.source.by_ref().take(length).read_to_end(&mut bytes)?;
        if (read as u64) < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    pub(crate) fn string(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| invalid("a name is not UTF-8"))
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

/// The SHA-256 of a file; `None` if told to stop meanwhile.
pub(crate) fn hash_file(path: &Path, stop: &dyn Fn() -> bool) -> io::Result<Option<[u8; 32]>> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        if stop() {
            return Ok(None);
        }
        match file.read(&mut buffer)? {
            0 => return Ok(Some(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// A number as in LevelDB keys of Fabric: the count of its significant bytes, then these.
/// fabric: common/ledger/util/util.go
pub(crate) fn put_ordered(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_be_bytes();
    let skip = number.leading_zeros() as usize / 8;
    out.push((bytes.len() - skip) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

/// The number that [`put_ordered`] wrote, and what follows it.
pub(crate) fn take_ordered(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (count, rest) = bytes.split_first()?;
    let (digits, rest) = rest.split_at_checked(usize::from(*count))?;
    if digits.len() > 8 {
        return None;
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number << 8 | u64::from(*digit));
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers: Vec<u64>, strings: Vec<Vec<u8>>) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut writer = FileWriter::create(&path).unwrap();
            for number in &numbers {
                writer.number(*number).unwrap();
            }
            for string in &strings {
                writer.bytes(string).unwrap();
            }
            let written = writer.finish().unwrap();
            prop_assert_eq!(hash_file(&path, &|| false).unwrap(), Some(written));
            prop_assert_eq!(hash_file(&path, &|| true).unwrap(), None);
            let mut reader = FileReader::open(&path).unwrap();
            for number in numbers {
                prop_assert_eq!(reader.number().unwrap(), number);
            }
            for string in strings {
                prop_assert_eq!(reader.bytes().unwrap(), string);
            }
            prop_assert!(reader.number().is_err());
        }

        #[test]
        fn garbage_is_an_error(garbage: Vec<u8>) {
            if let Ok(mut reader) = FileReader::new(&garbage[..]) {
                while reader.bytes().is_ok() {}
            }
        }

        #[test]
        fn ordered_numbers_sort_as_numbers(a: u64, b: u64) {
            let (mut x, mut y) = (Vec::new(), Vec::new());
            put_ordered(&mut x, a);
            put_ordered(&mut y, b);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(take_ordered(&x), Some((a, &[][..])));
        }
    }

    #[test]
    fn a_length_beyond_the_file_is_an_error() {
        let mut file = vec![FORMAT];
        prost::encoding::encode_varint(MAX_BYTES, &mut file);
        file.push(7);
        let mut reader = FileReader::new(&file[..]).unwrap();
        let error = reader.bytes().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
