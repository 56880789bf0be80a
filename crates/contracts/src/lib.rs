//! The contract API, and the contracts that are compiled into the peer.
//!
//! **Owns**: what a contract may do ([`Stub`]), what it is ([`Contract`]), who is calling
//! ([`Caller`]), composite keys, error codes ([`Failure`]), the health contracts
//! ([`providers`], [`records`], [`devices`], [`costs`], [`waste`], [`card`], [`research`], [`privacy`]), the
//! plain key-value contract ([`kv`]), the rules of the identifiers they check
//! ([`gs1`], [`udi`], [`identifiers`]), and the off-chain half of the records contract ([`vault`]).
//!
//! **Must not know**: the ledger, sockets, an async runtime, the clock. Time is the proposal's
//! timestamp; everything else comes through the stub, so that every endorser computes the same
//! bytes.
//!
//! **Start reading** at [`stub`], then [`contract`], then `records/mod.rs`. What each function
//! takes, who may call it and how it fails is in `docs/contracts.md` and `docs/health/`. Tests of
//! contracts run on [`testing::TestLedger`], transaction by transaction.

pub mod caller;
pub mod card;
pub mod commitment;
pub mod contract;
pub mod costs;
pub mod devices;
pub mod failure;
mod fields;
pub mod gs1;
mod guardian;
pub mod identifiers;
pub mod key;
pub mod kv;
pub mod merkle;
mod paging;
pub mod privacy;
pub mod providers;
mod purge;
pub mod records;
mod request;
pub mod research;
mod roles;
mod standing;
pub mod stub;
pub mod testing;
pub mod udi;
pub mod vault;
pub mod waste;

use std::sync::Arc;

pub use caller::{Caller, CallerError, NodeRole};
pub use contract::{CollectionDeclaration, Contract, Deployment, IndexDeclaration, Response};
pub use failure::Failure;
pub use key::{KeyError, composite_key, composite_range, split_composite_key};
pub use request::MAX_CLOCK_SKEW_SECONDS;
pub use stub::{HistoryEntry, KeyValue, Page, Stub, StubError, Timestamp};

/// The contracts that every peer can run in process.
///
/// A contract becomes callable on a channel only once a chaincode definition names it.
pub fn built_in() -> Vec<Arc<dyn Contract>> {
    vec![
        Arc::new(providers::Providers),
        Arc::new(records::Records),
        Arc::new(devices::Devices),
        Arc::new(costs::Costs),
        Arc::new(waste::Waste),
        Arc::new(card::HealthCards),
        Arc::new(research::Research),
        Arc::new(privacy::Privacy),
        Arc::new(kv::Kv),
    ]
}

#[cfg(test)]
mod tests {
    use super::request::Function;

    /// Each page, and the functions it has to name.
    const PAGES: &[(&str, &[&[Function]])] = &[
        (
            include_str!("../../../docs/contracts.md"),
            &[super::records::FUNCTIONS, super::devices::FUNCTIONS],
        ),
        (
            include_str!("../../../docs/health/providers.md"),
            &[super::providers::FUNCTIONS],
        ),
        (
            include_str!("../../../docs/health/costs.md"),
            &[super::costs::FUNCTIONS],
        ),
        (
            include_str!("../../../docs/health/waste.md"),
            &[super::waste::FUNCTIONS],
        ),
        (
            include_str!("../../../docs/health/card.md"),
            &[super::card::FUNCTIONS],
        ),
        (
            include_str!("../../../docs/health/research.md"),
            &[super::research::FUNCTIONS],
        ),
        (
            include_str!("../../../docs/health/privacy.md"),
            &[super::privacy::FUNCTIONS],
        ),
    ];

    #[test]
    fn the_documentation_names_every_function_and_no_other() {
        for (text, contracts) in PAGES {
            let functions: Vec<_> = contracts
                .iter()
                .flat_map(|functions| functions.iter())
                .map(|function| function.name)
                .collect();
            for name in &functions {
                assert!(text.contains(&format!("`{name}`")), "{name} is missing");
            }
            let first_cells = text.lines().filter_map(|line| {
                let cell = line.strip_prefix("| `")?.split(" | ").next()?;
                cell.starts_with(|c: char| c.is_ascii_uppercase())
                    .then_some(cell)
            });
            for cell in first_cells {
                let names = cell.split('`').filter(|part| {
                    part.len() > 3 && part.chars().all(|c: char| c.is_ascii_alphabetic())
                });
                for name in names {
                    assert!(functions.contains(&name), "{name} is no function");
                }
            }
        }
    }
}
