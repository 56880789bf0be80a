//! How a call of a chaincode ended.

use bytes::Bytes;
use consilium_proto::protos::{
    ChaincodeEvent, ChaincodeMessage, Response, chaincode_message::Type,
};
use prost::Message;

/// The final word of a chaincode on one call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// It answered, with whatever status.
    Completed {
        response: Response,
        event: Option<ChaincodeEvent>,
    },
    /// It gave up; the payload is text by custom.
    Failed(Bytes),
}

impl Outcome {
    /// A response without an event.
    pub(crate) fn response(response: Response) -> Self {
        Self::Completed {
            response,
            event: None,
        }
    }

    /// Reads a chaincode's COMPLETED or ERROR message. The event's origin is the peer's to say.
    pub(crate) fn from_message(
        message: ChaincodeMessage,
        chaincode: &str,
    ) -> Result<Self, prost::DecodeError> {
        if message.r#type() == Type::Error {
            return Ok(Self::Failed(message.payload));
        }
        let event = message.chaincode_event.map(|event| ChaincodeEvent {
            chaincode_id: chaincode.to_owned(),
            tx_id: message.txid,
            ..event
        });
        Ok(Self::Completed {
            response: Response::decode(message.payload)?,
            event,
        })
    }

    /// The message as the calling chaincode gets it.
    pub(crate) fn into_message(self, channel: &str, tx_id: &str) -> ChaincodeMessage {
        let (kind, payload, chaincode_event) = match self {
            Self::Completed { response, event } => {
                (Type::Completed, response.encode_to_vec().into(), event)
            }
            Self::Failed(payload) => (Type::Error, payload, None),
        };
        ChaincodeMessage {
            r#type: kind.into(),
            payload,
            txid: tx_id.to_owned(),
            chaincode_event,
            channel_id: channel.to_owned(),
            ..ChaincodeMessage::default()
        }
    }
}

/// Status 200 with a payload.
pub(crate) fn success(payload: impl Into<Bytes>) -> Response {
    Response {
        status: 200,
        message: String::new(),
        payload: payload.into(),
    }
}

/// Status 500 with a message.
pub(crate) fn failure(message: impl Into<String>) -> Response {
    Response {
        status: 500,
        message: message.into(),
        payload: Bytes::new(),
    }
}
