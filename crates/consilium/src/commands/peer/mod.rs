//! What an administrator has a peer do, with the flags, messages and environment of Fabric's `peer`.
//!
//! [`Environment`] reads `core.yaml` and `CORE_*` and gives the signer and the connection; each
//! subject has a module. fabric: internal/peer

pub mod channel;
mod environment;
pub mod snapshot;

pub use environment::Environment;

use consilium_client::ClientError;

/// An answer that is an error, as Go's gRPC prints it.
fn rpc(error: &ClientError) -> String {
    match error {
        ClientError::Refused { code, message, .. } => {
            let code = match code {
                tonic::Code::Ok => "OK".to_owned(),
                tonic::Code::Cancelled => "Canceled".to_owned(),
                code => format!("{code:?}"),
            };
            format!("rpc error: code = {code} desc = {message}")
        }
        error => error.to_string(),
    }
}
