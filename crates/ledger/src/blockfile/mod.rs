//! Block files: append-only, of bounded size, every byte under a checksum.
//!
//! **Owns** how blocks lie in files: [`record`] is the layout (pure), [`BlockFiles`] appends, reads,
//! scans and cuts. **Must not know** the index over them, nor what a block means.
//! `docs/ledger.md` has the layout and the protocol between files and database.

mod files;
mod position;
mod record;
mod resync;
mod scan;
mod vectored;

pub(crate) use files::{Appended, BlockFiles, sync_folder};
pub(crate) use position::{Location, Position};
#[cfg(feature = "fuzzing")]
pub(crate) use record::decode;
pub(crate) use record::{Fault, Kind, Record, encode_block, encode_extras};
pub(crate) use scan::{Found, Scan};
pub(crate) use vectored::write_all_at;

#[cfg(test)]
mod tests;
