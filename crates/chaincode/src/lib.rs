//! Running chaincode: the shim protocol, services, in-process contracts, lifecycle.
