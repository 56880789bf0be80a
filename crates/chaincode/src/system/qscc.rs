//! `qscc`: reading a channel's blocks and transactions. (fabric: core/scc/qscc/query.go)

use super::{check_access, no_such_block, text};
use crate::host::Host;
use crate::outcome::{failure, success};
use crate::session::Session;
use bytes::Bytes;
use consilium_ledger::{Ledger, LedgerError};
use consilium_proto::protos::Response;
use prost::Message;

pub(super) fn invoke(host: &Host, session: &Session, args: &[Bytes]) -> Response {
    match answer(host, session, args) {
        Ok(payload) => success(payload),
        Err(cause) => failure(cause),
    }
}

fn answer(host: &Host, session: &Session, args: &[Bytes]) -> Result<Bytes, String> {
    if args.len() < 2 {
        return Err(format!("Incorrect number of arguments, {}", args.len()));
    }
    let function = text(&args[0]);
    let channel = text(&args[1]);
    if function != "GetChainInfo" && args.len() < 3 {
        return Err(format!("missing 3rd argument for {function}"));
    }
    let ledger = host.support.ledger(&channel);
    let ledger = ledger.ok_or_else(|| format!("Invalid chain ID, {channel}"))?;
    check_access(session, &format!("qscc/{function}"), &channel, &function)?;
    match function.as_str() {
        "GetChainInfo" => Ok(ledger.info().encode_to_vec().into()),
        "GetBlockByNumber" => block_by_number(&ledger, &text(&args[2])),
        "GetBlockByHash" => {
            let hash = hex::encode(&args[2]);
            let failed = |cause| format!("Failed to get block hash {hash}, error {cause}");
            let missing = || format!("no such block hash [{hash}] in index");
            encoded(ledger.block_by_hash(&args[2]), missing).map_err(failed)
        }
        "GetBlockByTxID" => {
            let tx_id = text(&args[2]);
            let failed = |cause| format!("Failed to get block for txID {tx_id}, error {cause}");
            encoded(ledger.block_by_tx_id(&tx_id), || {
                no_such_transaction(&tx_id)
            })
            .map_err(failed)
        }
        "GetTransactionByID" => {
            let tx_id = text(&args[2]);
            let failed =
                |cause| format!("Failed to get transaction with id {tx_id}, error {cause}");
            encoded(ledger.transaction(&tx_id), || no_such_transaction(&tx_id)).map_err(failed)
        }
        other => Err(format!("Requested function {other} not found.")),
    }
}

fn no_such_transaction(tx_id: &str) -> String {
    format!("no such transaction ID [{tx_id}] in index")
}

fn block_by_number(ledger: &Ledger, number: &str) -> Result<Bytes, String> {
    let parsed: u64 = number
        .parse()
        .map_err(|error| format!("Failed to parse block number with error {error}"))?;
    // The largest number stands for the newest block.
    let wanted = if parsed == u64::MAX {
        ledger.height().saturating_sub(1)
    } else {
        parsed
    };
    let failed = |cause: String| format!("Failed to get block number {number}, error {cause}");
    match ledger.block_bytes(wanted) {
        Ok(Some(block)) => Ok(block),
        Ok(None) => Err(failed(no_such_block(ledger, wanted))),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn encoded<M: Message>(
    found: Result<Option<M>, LedgerError>,
    missing: impl FnOnce() -> String,
) -> Result<Bytes, String> {
    match found {
        Ok(Some(message)) => Ok(message.encode_to_vec().into()),
        Ok(None) => Err(missing()),
        Err(error) => Err(error.to_string()),
    }
}
