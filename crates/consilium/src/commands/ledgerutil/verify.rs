//! `ledgerutil verify`. fabric: internal/ledgerutil/verify

use std::process::ExitCode;

use anyhow::{Context, ensure};
use consilium_ledger::Ledger;
use consilium_proto::common::Block;
use consilium_protocol::block;
use serde::Serialize;

use super::output::List;
use super::{Verify, ledgers};

/// What is wrong with a block.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    block_num: u64,
    valid: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<&'static str>,
}

/// Runs it.
///
/// # Errors
/// A chain cannot be read, or results are there already.
pub fn run(args: &Verify) -> anyhow::Result<ExitCode> {
    let ledgers = ledgers(&args.data, "verify")?;
    let mut is_valid = true;
    for channel in ledgers.channels()? {
        let name = format!("{channel}_verification_result");
        let folder = args.output.make(&name, "verify")?;
        let mut list = List::create(&folder.join("blocks.json"), "[\n")?;
        let ledger = ledgers.open(&channel)?;
        check_all(&ledger, &mut list).with_context(|| channel.clone())?;
        is_valid &= list.finish("]\n")? == 0;
    }
    let found = match is_valid {
        true => "No error is found.",
        false => "Some error(s) are found.",
    };
    println!("\nSuccessfully executed verify tool. {found}");
    Ok(match is_valid {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn check_all(ledger: &Ledger, list: &mut List) -> anyhow::Result<()> {
    let mut previous = None;
    for number in ledger.first_block()..ledger.height() {
        let found = ledger.block(number)?;
        let found = found.with_context(|| format!("Cannot decode the block {number}"))?;
        ensure!(
            block::number(&found) == number,
            "The next block is expected to be {number} but got {}",
            block::number(&found)
        );
        let checked = check(&found, previous.as_ref());
        if !checked.valid {
            list.add(&checked)?;
        }
        previous = found.header.as_ref().map(block::header_hash);
    }
    Ok(())
}

fn check(found: &Block, previous: Option<&[u8; 32]>) -> Checked {
    let mut errors = Vec::new();
    let header = found.header.clone().unwrap_or_default();
    let data = found.data.clone().unwrap_or_default();
    if header.data_hash[..] != block::data_hash(&data) {
        errors.push("DataHash mismatch");
    }
    if previous.is_some_and(|previous| header.previous_hash[..] != previous[..]) {
        errors.push("PreviousHash mismatch");
    }
    Checked {
        block_num: header.number,
        valid: errors.is_empty(),
        errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_was_changed_and_one_that_does_not_follow_are_told() {
        let first = block::new_block(0, Vec::new().into(), vec![vec![1].into()]);
        let hash = first.header.as_ref().map(block::header_hash).unwrap();
        let second = block::new_block(1, hash.to_vec().into(), vec![vec![2].into()]);
        assert!(check(&second, Some(&hash)).valid);
        let mut changed = second.clone();
        changed.data = first.data;
        let told = check(&changed, Some(&[0; 32]));
        assert_eq!(told.errors, ["DataHash mismatch", "PreviousHash mismatch"]);
        assert_eq!((told.block_num, told.valid), (1, false));
    }
}
