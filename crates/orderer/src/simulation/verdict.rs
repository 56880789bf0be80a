//! What must hold after a run, whatever happened in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::common;
use consilium_protocol::{block, envelope};
use prost::Message;

/// How each message that clients sent was answered.
pub(crate) type Answers = BTreeMap<String, bool>;

/// Looks at the chains of all nodes and at what clients were told. Gives what is wrong.
pub(crate) fn judge(chains: &[Vec<Bytes>], answers: &Answers) -> Vec<String> {
    let mut wrong = Vec::new();
    let empty = Vec::new();
    let longest = chains
        .iter()
        .max_by_key(|chain| chain.len())
        .unwrap_or(&empty);
    let blocks: Vec<common::Block> = decode(longest, &mut wrong);
    for pair in blocks.windows(2) {
        let previous = pair[0].header.clone().unwrap_or_default();
        if let Err(error) = block::check_successor(&pair[1], &previous) {
            wrong.push(format!("the chain is broken: {error}"));
        }
    }
    for (node, chain) in chains.iter().enumerate() {
        for (own, common) in decode(chain, &mut wrong).iter().zip(&blocks) {
            if own.header != common.header || own.data != common.data {
                let number = block::number(own);
                wrong.push(format!(
                    "node {node} has another block {number} than others"
                ));
                break;
            }
        }
    }
    let mut ordered: BTreeMap<String, usize> = BTreeMap::new();
    for block in blocks.iter().filter(|block| !block::is_config(block)) {
        for bytes in block::envelopes(block) {
            match envelope::parse_bytes(bytes) {
                Ok(parsed) => {
                    let text = String::from_utf8_lossy(&parsed.data).into_owned();
                    *ordered.entry(text).or_default() += 1;
                }
                Err(error) => wrong.push(format!("an envelope cannot be read: {error}")),
            }
        }
    }
    for (text, times) in &ordered {
        if *times > 1 {
            wrong.push(format!("{text} was sent once and ordered {times} times"));
        }
        if !answers.contains_key(text) {
            wrong.push(format!("{text} was never sent"));
        }
    }
    for (text, _) in answers.iter().filter(|(_, acknowledged)| **acknowledged) {
        if !ordered.contains_key(text) {
            wrong.push(format!("{text} was acknowledged and is lost"));
        }
    }
    wrong
}

fn decode(chain: &[Bytes], wrong: &mut Vec<String>) -> Vec<common::Block> {
    let mut blocks = Vec::with_capacity(chain.len());
    for bytes in chain {
        match common::Block::decode(bytes.clone()) {
            Ok(block) => blocks.push(block),
            Err(error) => wrong.push(format!("a block cannot be read: {error}")),
        }
    }
    blocks
}
