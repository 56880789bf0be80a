//! Building, hashing, signing and parsing of envelopes, transactions, blocks and channel configuration.
