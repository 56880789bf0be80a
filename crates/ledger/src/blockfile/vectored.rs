//! Writing bytes that lie in several places as if they lay in one.

use std::fs::File;
use std::io::{self, IoSlice};

use rustix::io::{Errno, pwritev};

/// As many parts as one call takes. Linux: `UIO_MAXIOV`
const MOST: usize = 1024;

/// Writes all of `parts`, one behind the other, from `offset` on; they are not put together first.
pub(crate) fn write_all_at(
    file: &File,
    parts: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    let mut rest = parts;
    // Empty parts in front are passed over, so that what is left begins with a byte to write.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match pwritev(file, &rest[..rest.len().min(MOST)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_of_any_lengths_and_number_lie_behind_each_other(
            lengths in proptest::collection::vec(0..5_usize, 0..3000),
            offset in 0..100_u64,
        ) {
            let parts: Vec<Vec<u8>> = lengths
                .iter()
                .enumerate()
                .map(|(index, length)| vec![index as u8; *length])
                .collect();
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            write_all_at(file.as_file(), &mut slices, offset).unwrap();
            let mut expected = parts.concat();
            if !expected.is_empty() {
                expected.splice(..0, vec![0; offset as usize]);
            }
            prop_assert_eq!(std::fs::read(file.path()).unwrap(), expected);
        }
    }

    #[test]
    fn a_file_that_is_only_read_takes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = File::open(file.path()).unwrap();
        assert!(write_all_at(&file, &mut [IoSlice::new(b"x")], 0).is_err());
        assert!(write_all_at(&file, &mut [IoSlice::new(b"")], 0).is_ok());
    }
}
