//! Seek semantics of the Deliver service, shared by orderer and peer.
