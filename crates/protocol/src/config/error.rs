//! What can be wrong with a configuration or a change to one.

use crate::block::BlockError;
use crate::envelope::ParseError;
use crate::names::NameError;
use consilium_msp::{MspError, PolicyError};
use thiserror::Error;

/// Why a configuration, an update or a config block is refused. Texts are those of Fabric's nodes,
/// which administrators search for.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A message that does not parse.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A block that is no config block.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// An illegal channel name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A key of the tree that is illegal.
    #[error("illegal characters in key: {key}: {source}")]
    Key {
        /// The item, with its kind and path.
        key: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// An organization's MSP that does not set up.
    #[error("setting up the MSP manager failed: {0}")]
    Msp(#[from] MspError),
    /// A policy of the tree that does not parse, or one that signatures do not satisfy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A configuration that is not valid in itself.
    #[error("{0}")]
    Invalid(String),
    /// A change from one valid configuration to another that is not allowed.
    #[error("{0}")]
    Transition(String),
    /// An update that may not be applied to the current configuration.
    #[error("error authorizing update: {0}")]
    Unauthorized(String),
    /// A config envelope that is not the successor of the current configuration.
    #[error("{0}")]
    Envelope(String),
    /// A capability that this software does not have: a node has to stop taking part in the channel.
    #[error("{level} capability {name} is required but not supported")]
    UnsupportedCapability {
        /// Channel, Orderer or Application.
        level: &'static str,
        /// The capability.
        name: String,
    },
    /// Nothing to update.
    #[error("no differences detected between original and updated config")]
    NoDifference,
    /// Consenters or options that the orderers refuse.
    #[error("{0}")]
    Consenters(String),
}
