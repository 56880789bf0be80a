//! Endorser transactions: assembling them from endorsed proposals, and taking them apart for
//! validation.
//!
//! Validation here is everything that needs nothing but the bytes. The order of codes is that of a
//! Fabric peer (endorse-validate-commit, sections 3.1 and 3.2): [`check_syntax`], then the caller
//! checks the creator, then [`check_endorser_transaction`], then the caller looks the id up in its
//! ledger, then [`EndorserTransaction::dispatch`], then the caller evaluates policies.

mod assemble;
mod check;

pub use assemble::{AssembleError, assemble, sign};
pub use check::{
    CheckedEnvelope, EndorserTransaction, Kind, ParsedTransaction, check_endorser_transaction,
    check_syntax, index_id,
};
