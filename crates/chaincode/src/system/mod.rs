//! System chaincodes: the peer's own, always there, each checking its own ACLs.

mod cscc;
mod qscc;

use crate::host::Host;
use crate::lifecycle;
use crate::outcome::failure;
use crate::session::Session;
use bytes::Bytes;
use consilium_ledger::Ledger;
use consilium_proto::protos::Response;

/// The version that endorsements of system chaincodes name.
pub(crate) const VERSION: &str = "syscc";

const CSCC: &str = "cscc";
const QSCC: &str = "qscc";

pub(crate) fn is_system(name: &str) -> bool {
    matches!(name, lifecycle::NAMESPACE | CSCC | QSCC)
}

/// Why a name cannot be called whose system chaincode there is no more. Fabric 3 keeps the name `lscc`
/// and fails to launch it, whatever is asked: the questions that it answered are `_lifecycle`'s.
/// fabric: internal/peer/node/start.go builtinSCCs, core/chaincode/runtime_launcher.go
pub(crate) fn retired(name: &str) -> Option<String> {
    (name == lifecycle::LEGACY_NAMESPACE).then(|| {
        format!(
            "could not launch chaincode {name}.{VERSION}: error building chaincode: error building image: \
             failed to get chaincode package for external build: could not get legacy chaincode package \
             '{name}.{VERSION}': chaincodes are defined by _lifecycle"
        )
    })
}

/// Runs a system chaincode to its end on the calling thread.
pub(crate) fn invoke(host: &Host, session: &Session, name: &str, args: &[Bytes]) -> Response {
    // cscc and qscc take locks of the peer that a transaction may hold already.
    let asked_for = &session.proposal.chaincode_name;
    if matches!(name, CSCC | QSCC) && asked_for != name {
        let name = name.to_ascii_uppercase();
        return failure(format!(
            "Rejecting invoke of {name} from another chaincode because of potential for deadlocks, original invocation for '{asked_for}'"
        ));
    }
    match name {
        CSCC => cscc::invoke(host, session, args),
        QSCC => qscc::invoke(host, session, args),
        _ => lifecycle::invoke(host, session, args),
    }
}

/// An argument as text.
fn text(argument: &Bytes) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

/// Why a block is not there. fabric: common/ledger/blkstorage/blockfile_mgr.go
fn no_such_block(ledger: &Ledger, number: u64) -> String {
    match ledger.first_block() {
        first if number < first => format!(
            "cannot serve block [{number}]. The ledger is bootstrapped from a snapshot. First available block = [{first}]"
        ),
        _ => format!("no such block number [{number}] in index"),
    }
}

/// Refuses what the ACL of `resource` does not allow the creator.
fn check_access(
    session: &Session,
    resource: &str,
    channel: &str,
    function: &str,
) -> Result<(), String> {
    session
        .support
        .check_acl(resource, channel, &session.proposal)
        .map_err(|cause| format!("access denied for [{function}][{channel}]: [{cause}]"))
}
