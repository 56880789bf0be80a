//! The three `protos.Deliver` calls: whole blocks, filtered blocks, blocks with private data.

use std::{convert::Infallible, sync::Arc, task, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use consilium_deliver::{
    BlockReply, Feeds, Frame, FrameStream, FullBlocks, Options, PolicyChooser, Render, Sources,
    TlsBinding,
};
use consilium_proto::{
    common::{self, HeaderType},
    protos::{self, TxValidationCode},
};
use consilium_protocol::{block, config::ChannelConfig, hash};
use consilium_transport::{MAX_MESSAGE, client_certificate};
use futures_util::{StreamExt, future::BoxFuture};
use prost::Message;
use tokio::sync::{Semaphore, mpsc};
use tonic::{
    Request, Status, Streaming,
    body::Body,
    codegen::{Service, StdError, http},
    server::NamedService,
};

use crate::{
    acl::{self, Guard},
    peer::Core,
};

const FILTERED_BLOCK: u8 = 3;
const BLOCK_AND_PRIVATE_DATA: u8 = 4;

/// `protos.Deliver`, to be added to a tonic server.
#[derive(Clone)]
pub struct DeliverService {
    core: Arc<Core>,
    feeds: Arc<Feeds>,
    time_window: Duration,
    mutual_tls: bool,
    streams: Arc<Semaphore>,
    limit: usize,
}

impl DeliverService {
    pub(crate) fn new(
        core: Arc<Core>,
        time_window: Duration,
        mutual_tls: bool,
        limit: usize,
    ) -> Self {
        Self {
            feeds: Feeds::new(core.clone() as Arc<dyn Sources>),
            core,
            time_window,
            mutual_tls,
            streams: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            limit,
        }
    }

    fn serve(&self, call: Call, request: Request<Streaming<common::Envelope>>) -> FrameStream {
        let Ok(permit) = self.streams.clone().try_acquire_owned() else {
            let (sender, receiver) = mpsc::channel(1);
            // The channel has room for one, so this cannot fail.
            let _ = sender.try_send(Err(Status::resource_exhausted(format!(
                "too many requests for {}, exceeding concurrency limit ({})",
                call.path(),
                self.limit
            ))));
            return FrameStream::new(receiver);
        };
        let certificate = client_certificate(&request);
        let options = Options {
            time_window: self.time_window,
            tls: TlsBinding {
                required: self.mutual_tls,
                client_certificate_hash: certificate.map(|der| hash::sha256(&der)),
            },
            ..Options::new(policy(call.resource()))
        };
        // The stream of requests lives as long as the call, and the permit with it.
        let requests = request.into_inner().map(move |request| {
            let _held = &permit;
            request
        });
        consilium_deliver::serve(requests, self.feeds.clone(), options, self.render(call))
    }
}

impl DeliverService {
    fn render(&self, call: Call) -> Arc<dyn Render> {
        match call {
            Call::Full => Arc::new(FullBlocks),
            Call::Filtered => Arc::new(FilteredBlocks),
            Call::PrivateData => Arc::new(BlocksWithPrivateData(self.core.clone())),
        }
    }
}

/// The policy path of a resource under the configuration in force.
fn policy(resource: &'static str) -> PolicyChooser {
    Arc::new(
        move |config: &ChannelConfig| match acl::guard(resource, Some(config)) {
            Guard::Default(path) | Guard::Configured(path) => path,
            // Both event resources are guarded by a path; an unknown one is refused by any policy
            // that does not exist.
            _ => String::from("/Channel/Application/Readers"),
        },
    )
}

#[derive(Clone, Copy)]
enum Call {
    Full,
    Filtered,
    PrivateData,
}

impl Call {
    fn of(path: &str) -> Option<Self> {
        [Self::Full, Self::Filtered, Self::PrivateData]
            .into_iter()
            .find(|call| call.path() == path)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Full => "/protos.Deliver/Deliver",
            Self::Filtered => "/protos.Deliver/DeliverFiltered",
            Self::PrivateData => "/protos.Deliver/DeliverWithPrivateData",
        }
    }

    fn resource(self) -> &'static str {
        match self {
            Self::Full | Self::PrivateData => acl::EVENT_BLOCK,
            Self::Filtered => acl::EVENT_FILTERED_BLOCK,
        }
    }
}

impl<B> Service<http::Request<B>> for DeliverService
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let Some(call) = Call::of(request.uri().path()) else {
                return Ok(Status::unimplemented("no such method").into_http());
            };
            let handler = move |request| service.serve(call, request);
            Ok(consilium_deliver::respond(request, MAX_MESSAGE, handler))
        })
    }
}

impl NamedService for DeliverService {
    const NAME: &'static str = "protos.Deliver";
}

/// Transaction ids, codes and events without payload.
struct FilteredBlocks;

impl Render for FilteredBlocks {
    fn data_type(&self) -> &'static str {
        "filtered_block"
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn block(&self, reply: BlockReply<'_>) -> Result<Frame, String> {
        let block = common::Block::decode(reply.block.clone())
            .map_err(|error| format!("block {} cannot be read: {error}", reply.number))?;
        let filtered = filter(reply.source.channel_id(), &block)?;
        Ok(Frame::field(
            FILTERED_BLOCK,
            filtered.encode_to_vec().into(),
        ))
    }
}

/// The filtered form of a block (`fabric: core/peer/deliverevents.go` toFilteredBlock).
///
/// Transactions whose envelope or header cannot be read are left out; an error means that a layer
/// further in cannot.
fn filter(channel: &str, block: &common::Block) -> Result<protos::FilteredBlock, String> {
    let flags = block::flags(block);
    let envelopes = block.data.as_ref().map_or(&[][..], |data| &data.data);
    let mut filtered = protos::FilteredBlock {
        channel_id: channel.to_owned(),
        number: block.header.as_ref().map_or(0, |header| header.number),
        filtered_transactions: Vec::with_capacity(envelopes.len()),
    };
    for (index, bytes) in envelopes.iter().enumerate() {
        let Ok(envelope) = common::Envelope::decode(bytes.clone()) else {
            continue;
        };
        let payload = decode::<common::Payload>("Payload", &envelope.payload)?;
        let Some(header) = payload.header else {
            continue;
        };
        let header = decode::<common::ChannelHeader>("ChannelHeader", &header.channel_header)?;
        let actions = if header.r#type == HeaderType::EndorserTransaction as i32 {
            Some(filter_actions(&payload.data)?)
        } else {
            None
        };
        filtered
            .filtered_transactions
            .push(protos::FilteredTransaction {
                txid: header.tx_id,
                r#type: header.r#type,
                tx_validation_code: flags
                    .get(index)
                    .map_or(TxValidationCode::NotValidated as i32, |&flag| {
                        i32::from(flag)
                    }),
                data: actions.map(protos::filtered_transaction::Data::TransactionActions),
            });
    }
    Ok(filtered)
}

fn filter_actions(data: &Bytes) -> Result<protos::FilteredTransactionActions, String> {
    let transaction = decode::<protos::Transaction>("Transaction", data)?;
    let mut actions = protos::FilteredTransactionActions::default();
    for action in transaction.actions {
        let payload =
            decode::<protos::ChaincodeActionPayload>("ChaincodeActionPayload", &action.payload)?;
        let Some(endorsed) = payload.action else {
            continue;
        };
        let response = decode::<protos::ProposalResponsePayload>(
            "ProposalResponsePayload",
            &endorsed.proposal_response_payload,
        )?;
        let action = decode::<protos::ChaincodeAction>("ChaincodeAction", &response.extension)?;
        let event = decode::<protos::ChaincodeEvent>("ChaincodeEvent", &action.events)?;
        if event.chaincode_id.is_empty() {
            continue;
        }
        actions
            .chaincode_actions
            .push(protos::FilteredChaincodeAction {
                chaincode_event: Some(protos::ChaincodeEvent {
                    payload: Bytes::new(),
                    ..event
                }),
            });
    }
    Ok(actions)
}

fn decode<M: Message + Default>(name: &str, bytes: &Bytes) -> Result<M, String> {
    M::decode(bytes.clone()).map_err(|error| format!("error unmarshalling {name}: {error}"))
}

/// Whole blocks, and of their private data what this peer has and the client may see.
struct BlocksWithPrivateData(Arc<Core>);

impl Render for BlocksWithPrivateData {
    fn data_type(&self) -> &'static str {
        "block_and_pvtdata"
    }

    fn block(&self, reply: BlockReply<'_>) -> Result<Frame, String> {
        let reader = &reply.request.signed.identity;
        let channel = self.0.channel(reply.source.channel_id());
        let private_data_map = channel.map(|channel| {
            let private = self.0.private();
            let seen = private.seen_by(reader, &channel, reply.number);
            seen.map_err(|error| {
                format!(
                    "error getting private data by block number {}: {error}",
                    reply.number
                )
            })
        });
        let private = protos::BlockAndPrivateData {
            block: None,
            private_data_map: private_data_map.transpose()?.unwrap_or_default(),
        };
        // BlockAndPrivateData{1 block, 2 map}, around the stored bytes.
        let mut body = BytesMut::with_capacity(reply.block.len() + 11 + private.encoded_len());
        body.put_u8(1 << 3 | 2);
        prost::encoding::encode_varint(reply.block.len() as u64, &mut body);
        body.put_slice(&reply.block);
        // Of a message's parts one may stand behind the other.
        body.put_slice(&private.encode_to_vec());
        Ok(Frame::field(BLOCK_AND_PRIVATE_DATA, body.freeze()))
    }
}
