//! Messages as JSON in which the messages inside byte fields are shown, too, and back: what
//! `configtxlator` converts between, and `configtxgen` prints.
//! fabric-config: protolator, protolator/protoext
//!
//! [`carriers`] says which byte field holds which message; [`show`] and [`read`] go through a message
//! with its help, [`wire`] writes what was read.

mod carriers;
mod read;
mod show;
#[cfg(test)]
mod tests;
mod wire;

use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value as Json;

pub use carriers::{Role, Section};

use super::golang;

/// How deep messages may lie in each other. Configurations have some thirty levels.
const DEPTH: usize = 100;

/// The type of a message by its full name, such as `common.Config`.
///
/// # Errors
/// There is none of this name, in Go's words.
pub fn message_type(name: &str) -> anyhow::Result<MessageDescriptor> {
    let found = golang::message_type(name);
    // What orderers of this program say to each other is nobody's business.
    let found = found.filter(|_| !name.starts_with("consilium."));
    found.ok_or_else(|| anyhow::anyhow!("proto: not found"))
}

/// A message of a type.
///
/// # Errors
/// The bytes are no such message.
pub fn decode(descriptor: MessageDescriptor, bytes: &[u8]) -> anyhow::Result<DynamicMessage> {
    DynamicMessage::decode(descriptor, bytes)
        .map_err(|_| anyhow::anyhow!("proto: cannot parse invalid wire-format data"))
}

/// A message as indented JSON with a line's end.
///
/// # Errors
/// A byte field holds something else than it should, or nobody knows what it holds.
pub fn to_json(message: &DynamicMessage, role: &Role) -> anyhow::Result<String> {
    let tree = show::tree(message, role, DEPTH).map_err(anyhow::Error::msg)?;
    Ok(golang::indented(&tree)? + "\n")
}

/// The bytes of the message that a JSON document shows.
///
/// # Errors
/// What is wrong with the document.
pub fn from_json(descriptor: &MessageDescriptor, document: &[u8]) -> anyhow::Result<Vec<u8>> {
    let tree: Json = serde_json::from_slice(document).map_err(|error| {
        let reason = match error.is_eof() && document.trim_ascii().is_empty() {
            true => "EOF".to_owned(),
            false => error.to_string(),
        };
        anyhow::anyhow!("error unmarshaling intermediate JSON: {reason}")
    })?;
    let message = read::message(tree, descriptor, &Role::Plain, DEPTH);
    Ok(wire::encode(&message.map_err(anyhow::Error::msg)?))
}
