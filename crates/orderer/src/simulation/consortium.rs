//! What a world is made of, and what comes of it.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::common;
use consilium_protocol::config::ChannelConfig;

/// What a node is known by.
#[derive(Clone)]
pub struct Keys {
    /// Signs blocks.
    pub signer: Arc<dyn Signer>,
    /// DER of its TLS certificate.
    pub certificate: Bytes,
    /// `host:port`, as the channel's configuration has it.
    pub address: String,
}

/// Makes the config update by which these nodes, given by their numbers, become the consenters.
pub type UpdateOf = Arc<dyn Fn(&ChannelConfig, &[usize]) -> common::Envelope + Send + Sync>;

/// The nodes of a world and the channel that they serve.
#[derive(Clone)]
pub struct Consortium {
    /// All nodes; the first `consenters` of them found the channel.
    pub nodes: Vec<Keys>,
    /// How many.
    pub consenters: usize,
    /// Lists them.
    pub genesis: common::Block,
    /// Changes the list.
    pub update: UpdateOf,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was wrong; empty if nothing.
    pub wrong: Vec<String>,
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// Length of the chain.
    pub height: usize,
    /// Membership changes that were acknowledged.
    pub reconfigured: usize,
    /// A hash over every step, and how many there were: equal runs have equal ones.
    pub trace: (u64, u64),
    /// What happened, in order, with simulated times.
    pub story: String,
}
