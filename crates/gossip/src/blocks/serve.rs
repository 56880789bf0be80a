//! Answers to those who ask for blocks. Each is as large as one block, or as many blocks as have
//! [`answer_bytes`](Gossip::answer_bytes) together.

use consilium_proto::gossip::{
    DataRequest, DataUpdate, PullMsgType, RemoteStateRequest, RemoteStateResponse,
    gossip_message::{Content, Tag},
};

use super::{pull, push::pushed, rounds::unsigned, transfer};
use crate::{
    connections::{Connection, LARGE_PATIENCE},
    node::{Gossip, Host},
    wire,
};

/// Bytes of blocks in one answer, unless a single block has more.
const ANSWER: usize = 16 * 1024 * 1024;

impl Gossip {
    fn answer_bytes(&self) -> usize {
        ANSWER.min(self.options.max_message / 2)
    }

    /// Sends a range of blocks to a member of the channel; as far as there are, and they fit.
    pub(crate) async fn serve_range(
        &self,
        host: &dyn Host,
        connection: &Connection,
        channel: &str,
        nonce: u64,
        request: RemoteStateRequest,
    ) {
        let (from, to) = (request.start_seq_num, request.end_seq_num);
        let last = host.stored(channel).and_then(|stored| {
            transfer::serve(
                from,
                to,
                stored.start,
                stored.end,
                self.options.blocks.batch,
            )
        });
        let payloads = match last {
            Some(last) => host.blocks(channel, from..=last, self.answer_bytes()).await,
            // An empty answer: the other side goes on to somebody else at once.
            None => Vec::new(),
        };
        tracing::debug!(
            channel,
            from,
            to,
            blocks = payloads.len(),
            "asked for blocks"
        );
        let response = Content::StateResponse(RemoteStateResponse { payloads });
        let answer = wire::message(Tag::ChanOrOrg, channel, nonce, response);
        let answer = wire::unsigned(&answer);
        connection.send_large(answer, LARGE_PATIENCE).await;
    }

    /// Sends some of the latest blocks to a peer of the organization.
    pub(crate) async fn serve_pulled(
        &self,
        host: &dyn Host,
        connection: &Connection,
        channel: &str,
        request: DataRequest,
    ) {
        let recent = self.recent(host, connection, channel);
        let mut left = self.answer_bytes();
        let mut data = Vec::new();
        let digests = request.digests.iter().take(recent.clone().count());
        'digests: for number in digests.filter_map(pull::number) {
            if !recent.contains(&number) {
                continue;
            }
            for payload in host.blocks(channel, number..=number, left).await {
                let size = payload.data.len();
                if !data.is_empty() && size > left {
                    break 'digests;
                }
                left = left.saturating_sub(size);
                data.push(pushed(channel, number, payload.data));
            }
        }
        if data.is_empty() {
            return;
        }
        let update = Content::DataUpdate(DataUpdate {
            nonce: request.nonce,
            data,
            msg_type: PullMsgType::BlockMsg as i32,
        });
        connection
            .send_large(unsigned(channel, update), LARGE_PATIENCE)
            .await;
    }
}
