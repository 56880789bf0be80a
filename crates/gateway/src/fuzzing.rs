//! A door for the fuzz targets to the reading of proposals.

use consilium_proto::protos::SignedProposal;

/// Channel and chaincode that a proposal addresses, and whether it has transient data.
///
/// # Errors
/// What the client is told.
pub fn target(signed: &SignedProposal) -> Result<(String, String, bool), String> {
    let target = crate::request::target(signed)?;
    Ok((target.channel, target.chaincode, target.has_transient))
}
