//! Blocks, state, history and private data on RocksDB; simulation, MVCC and commit.
