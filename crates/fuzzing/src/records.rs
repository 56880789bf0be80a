//! Records and keys of the ledger's database.

pub(crate) fn run(data: &[u8]) -> bool {
    consilium_ledger::fuzzing::records(data) > 0
}
