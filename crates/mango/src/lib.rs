//! CouchDB's Mango queries without CouchDB, as Fabric chaincodes send them.
//!
//! **Owns** the query language (selectors, sort, fields, bookmarks), the order of JSON values and
//! its byte encoding, index definitions, and the plan: which index serves a query, and which range
//! of it. Everything is a function of its arguments.
//!
//! **Must not know** databases, channels or chaincodes: documents and index records come in and go
//! out as bytes.
//!
//! **Start reading** with [`Query::parse`], then [`plan()`], then [`Index::entry`].
//! Behaviour is CouchDB's (couchdb: src/mango/src) as Fabric lets it through
//! (fabric: core/ledger/kvledger/txmgmt/statedb/statecouchdb). What differs is in `docs/queries.md`.

mod bookmark;
pub mod collation;
mod document;
mod error;
mod field;
mod index;
mod matching;
mod plan;
mod query;
mod range;
mod selector;

pub use bookmark::Bookmark;
pub use document::Document;
pub use error::MangoError;
pub use index::{Index, IndexError};
pub use plan::{Access, plan};
pub use query::Query;
