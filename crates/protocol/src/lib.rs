//! Building, hashing, signing and parsing of envelopes, proposals, transactions, blocks, read-write
//! sets and channel configuration.
//!
//! **Owns** every rule about which bytes are hashed and signed, which bytes are well formed, and
//! what a channel configuration means and how it may change. All of it is pure: functions of bytes,
//! configuration and parameters.
//!
//! **Must not know** of clocks (timestamps are parameters), files, sockets, storage or tokio.
//! Randomness is used only for nonces.
//!
//! **Start reading** with [`proposal`] and [`transaction`] (the life of a transaction's bytes), then
//! [`block`], then [`config`]. What was hashed or signed is kept as the bytes it came in
//! ([`bytes::Bytes`] slices of the received buffer) and is never encoded a second time.

pub mod block;
pub mod commit_hash;
pub mod config;
pub mod duration;
pub mod endorsement;
pub mod envelope;
pub mod hash;
pub mod names;
pub mod proposal;
pub mod rwset;
pub mod transaction;
mod wire;

pub use envelope::ParseError;
