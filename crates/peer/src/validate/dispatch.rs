//! An endorser transaction: is it new, whole, and endorsed for every namespace that it writes.
//!
//! Namespaces are judged in a fixed order (the invoked chaincode, then by name): Fabric's is random,
//! so the code that wins there when two namespaces fail differently is random too.

use consilium_proto::protos::TxValidationCode;

use super::{
    CommittedState, Content, Policies, Terminal,
    keylevel::{self, ChangedMetadata, NamespaceRules},
};

/// The lifecycle's own namespace: its policy is the channel's, not a definition's.
const LIFECYCLE: &str = "_lifecycle";
const BUILT_IN_PLUGIN: &str = "vscc";

/// The code of one endorser transaction (`fabric: core/committer/txvalidator/v20/plugindispatcher`).
pub(super) fn endorser_transaction(
    index: usize,
    tx_id: &str,
    content: &Result<Box<Content>, TxValidationCode>,
    state: &dyn CommittedState,
    policies: &Policies,
    metadata: &mut ChangedMetadata,
) -> Result<TxValidationCode, Terminal> {
    if state.has_transaction(tx_id).map_err(Terminal::State)? {
        return Ok(TxValidationCode::DuplicateTxid);
    }
    let content = match content {
        Ok(content) => content,
        Err(code) => return Ok(*code),
    };
    let transaction = &content.transaction;
    for namespace in transaction.namespaces_to_validate() {
        let defined;
        let rules = if namespace == LIFECYCLE {
            NamespaceRules::Lifecycle
        } else {
            match state.chaincode_policy(namespace).map_err(Terminal::State)? {
                Some(policy) if !policy.plugin.is_empty() && !policy.policy.is_empty() => {
                    defined = policy;
                    NamespaceRules::Chaincode(&defined)
                }
                Some(_) | None => return Ok(TxValidationCode::InvalidChaincode),
            }
        };
        if let NamespaceRules::Chaincode(policy) = &rules
            && policy.plugin != BUILT_IN_PLUGIN
        {
            return Err(Terminal::Plugin {
                plugin: policy.plugin.clone(),
                chaincode: namespace.to_owned(),
            });
        }
        let writes = transaction
            .rwset
            .namespaces
            .iter()
            .find(|ns| ns.name == namespace);
        let judged = keylevel::judge(
            namespace,
            writes,
            &rules,
            &content.endorsers,
            state,
            policies,
            metadata,
        )?;
        if let Err(reason) = judged {
            tracing::debug!(tx = tx_id, namespace, reason, "endorsement policy not met");
            return Ok(TxValidationCode::EndorsementPolicyFailure);
        }
        if let Some(writes) = writes {
            metadata.record(index, namespace, writes);
        }
    }
    Ok(TxValidationCode::Valid)
}
