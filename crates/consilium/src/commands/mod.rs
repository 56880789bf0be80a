//! Client commands, and those on a peer's files.

pub mod bench;
pub mod call;
pub mod certificates;
pub mod channel;
pub mod config;
pub mod configtxgen;
pub mod configtxlator;
pub mod connect;
pub mod cryptogen;
pub mod discover;
pub mod events;
pub mod fabric_ca;
pub mod golang;
pub mod ledger;
pub mod ledgerutil;
pub mod orderer;
pub mod osnadmin;
pub mod peer;
pub mod programs;
pub mod protolator;

/// What went wrong with all its causes, but for those that the text before already ends with: many
/// errors tell their cause by themselves.
pub fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for part in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = part;
        } else if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use bytes::Bytes;
    use consilium_proto::common::Envelope;
    use consilium_protocol::envelope::{self, ParseError};

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let junk = Bytes::from_static(b"\xff");
        let decoded: Result<Envelope, ParseError> = envelope::decode("Envelope", &junk);
        let alone = decoded.clone().unwrap_err().to_string();
        assert!(alone.starts_with("error unmarshalling Envelope: "));
        let error = decoded.context("reading").context("no").unwrap_err();
        assert_eq!(told(&error), format!("no: reading: {alone}"));
        assert_ne!(told(&error), format!("{error:#}"));
    }
}
