//! Endorse, validate, commit, and the services of a peer.
