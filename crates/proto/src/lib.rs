//! The protocol buffers of the Fabric protocol family, in our own text under `proto/`, and the
//! types and gRPC stubs generated from them.
//!
//! Owns: message and service definitions, field for field as in hyperledger/fabric-protos, and our
//! own orderer replication protocol. Must not know: how anything is hashed, signed or validated.
//!
//! Modules are named after protobuf packages: [`common`], [`protos`] (peer messages), [`msp`],
//! [`orderer`], [`gateway`] and so on. Byte fields are [`bytes::Bytes`], maps are `BTreeMap`.
//! Unknown fields are dropped on decoding, so whatever was hashed or signed must be kept as bytes.
//! [`decode`] reads what others wrote as Go's decoder does.
#![allow(missing_docs, clippy::all, rustdoc::all)]

mod tolerant;
pub mod wire;

pub use tolerant::decode;

include!(concat!(env!("OUT_DIR"), "/all.rs"));

/// All of our definitions as an encoded `google.protobuf.FileDescriptorSet`, for reflection and for
/// comparison with Fabric's.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
