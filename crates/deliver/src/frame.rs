//! Response messages whose large part is bytes that lie in the store already.

use bytes::{BufMut, Bytes};
use consilium_proto::common;

/// Most bytes of a protobuf key (one, for field numbers below 16) and a 64-bit length.
const HEAD: usize = 11;

/// One encoded protobuf message: a short head (key and length, or a whole small message) and a
/// body that goes to the wire as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    head: [u8; HEAD],
    head_length: usize,
    body: Bytes,
}

impl Frame {
    /// A message with the one length-delimited field `field` (1 to 15) whose content is `body`.
    pub fn field(field: u8, body: Bytes) -> Self {
        debug_assert!((1..16).contains(&field));
        Self::build(field << 3 | 2, body.len() as u64, body)
    }

    /// `DeliverResponse{1 status}`: the same for orderers and peers.
    pub fn status(status: common::Status) -> Self {
        Self::build(1 << 3, status as i32 as u64, Bytes::new())
    }

    /// `DeliverResponse{2 block}` around an encoded block: the same for orderers and peers.
    pub fn block(block: Bytes) -> Self {
        Self::field(2, block)
    }

    fn build(key: u8, varint: u64, body: Bytes) -> Self {
        let mut head = [0; HEAD];
        let mut rest = &mut head[..];
        rest.put_u8(key);
        prost::encoding::encode_varint(varint, &mut rest);
        let head_length = HEAD - rest.len();
        Self {
            head,
            head_length,
            body,
        }
    }

    /// Size of the encoded message in bytes.
    pub fn encoded_len(&self) -> usize {
        self.head_length + self.body.len()
    }

    /// The encoded message in one piece (a copy; for tests and callers without a gRPC stream).
    pub fn to_bytes(&self) -> Bytes {
        let (head, body) = self.parts();
        [head, body].concat().into()
    }

    /// What comes before the stored bytes, and these.
    pub(crate) fn parts(&self) -> (&[u8], &Bytes) {
        (&self.head[..self.head_length], &self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::{orderer, protos};
    use prost::Message;

    #[test]
    fn frames_are_the_messages_that_generated_code_would_write() {
        let block = common::Block {
            header: Some(common::BlockHeader {
                number: 7,
                ..Default::default()
            }),
            data: Some(common::BlockData {
                data: vec![vec![1; 300].into()],
            }),
            metadata: None,
        };
        let raw: Bytes = block.encode_to_vec().into();
        let response = orderer::DeliverResponse {
            r#type: Some(orderer::deliver_response::Type::Block(block.clone())),
        };
        assert_eq!(
            Frame::block(raw.clone()).to_bytes(),
            response.encode_to_vec()
        );
        let response = protos::DeliverResponse {
            r#type: Some(protos::deliver_response::Type::Block(block)),
        };
        assert_eq!(
            Frame::block(raw.clone()).to_bytes(),
            response.encode_to_vec()
        );
        assert_eq!(
            Frame::block(raw.clone()).encoded_len(),
            response.encoded_len()
        );
        for status in [
            common::Status::Success,
            common::Status::NotFound,
            common::Status::Unknown,
        ] {
            let response = orderer::DeliverResponse {
                r#type: Some(orderer::deliver_response::Type::Status(status as i32)),
            };
            assert_eq!(Frame::status(status).to_bytes(), response.encode_to_vec());
        }
    }
}
