//! Errors that clients see: a gRPC status with details about the nodes that failed.

use consilium_proto::{gateway::ErrorDetail, google::rpc};
use consilium_transport::code_name;
use prost::Message;
use tonic::{Code, Status};

const ERROR_DETAIL: &str = "type.googleapis.com/gateway.ErrorDetail";
/// Some clients cap the size of headers, and details travel in one (base64 adds a third).
const DETAILS_LIMIT: usize = 4 * 1024;
/// Longest text of one detail.
const MESSAGE_LIMIT: usize = 1024;

/// A status with details; without any it is a plain one.
pub(crate) fn status(code: Code, message: impl Into<String>, details: &[ErrorDetail]) -> Status {
    let message = message.into();
    if details.is_empty() {
        return Status::new(code, message);
    }
    let mut encoded = rpc::Status {
        code: code as i32,
        message: message.clone(),
        details: Vec::with_capacity(details.len()),
    };
    let mut size = 0;
    for detail in details {
        let value = shortened(detail).encode_to_vec();
        size += value.len() + ERROR_DETAIL.len();
        if size > DETAILS_LIMIT && !encoded.details.is_empty() {
            break;
        }
        encoded.details.push(prost_types::Any {
            type_url: ERROR_DETAIL.to_owned(),
            value,
        });
    }
    Status::with_details(code, message, encoded.encode_to_vec().into())
}

fn shortened(detail: &ErrorDetail) -> ErrorDetail {
    let mut detail = detail.clone();
    if detail.message.len() > MESSAGE_LIMIT {
        let end = (0..=MESSAGE_LIMIT)
            .rev()
            .find(|&end| detail.message.is_char_boundary(end))
            .unwrap_or(0);
        detail.message.truncate(end);
        detail.message.push('…');
    }
    detail
}

/// A status as Go prints it when it becomes the text of another error.
pub(crate) fn go_text(status: &Status) -> String {
    format!(
        "rpc error: code = {} desc = {}",
        code_name(status.code()),
        status.message()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(message: &str) -> ErrorDetail {
        ErrorDetail {
            address: "peer0:7051".to_owned(),
            msp_id: "Org1MSP".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn details_travel_as_a_google_status_with_typed_entries() {
        let status = status(Code::Aborted, "failed", &[detail("why")]);
        let decoded = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(decoded.code, 10);
        assert_eq!(decoded.message, "failed");
        assert_eq!(decoded.details[0].type_url, ERROR_DETAIL);
        assert_eq!(
            ErrorDetail::decode(decoded.details[0].value.as_slice()).unwrap(),
            detail("why")
        );
    }

    #[test]
    fn a_status_without_details_has_none() {
        assert!(status(Code::Aborted, "failed", &[]).details().is_empty());
    }

    #[test]
    fn details_stay_small_enough_for_a_header() {
        let long = "ü".repeat(10_000);
        let many: Vec<_> = (0..50).map(|_| detail(&long)).collect();
        let status = status(Code::Aborted, "failed", &many);
        assert!(status.details().len() < 6 * 1024);
        let decoded = rpc::Status::decode(status.details()).unwrap();
        assert!(!decoded.details.is_empty());
    }

    #[test]
    fn errors_of_other_nodes_read_as_in_go() {
        assert_eq!(
            go_text(&Status::unavailable("connection refused")),
            "rpc error: code = Unavailable desc = connection refused"
        );
    }
}
