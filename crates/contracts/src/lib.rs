//! The contract API and the health contracts.
