//! `consilium peer chaincode`. fabric: internal/peer/chaincode

mod call;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_client::Call;
use consilium_proto::protos::{ChaincodeAction, ProposalResponse, ProposalResponsePayload};
use prost::Message;

use super::{
    Environment, GoFlag, Rest,
    orderer::OrdererArgs,
    rpc,
    targets::{Asking, Family, TargetArgs},
    transaction::{Endorsers, SubmitError, WaitIfAsked},
};
use crate::commands::golang;

/// Query or invoke a chaincode.
#[derive(Debug, Args)]
pub struct ChaincodeCommand {
    #[command(flatten)]
    orderer: OrdererArgs,
    /// Transient map of arguments in JSON encoding, values in base64.
    #[arg(long, global = true, text(), value_name = "JSON")]
    transient: String,
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Invoke the specified chaincode. It will try to commit the endorsed transaction to the network.
    #[command(after_help = "\
Example:
  consilium peer chaincode invoke -o localhost:7050 --tls --cafile tls/ca.crt -C health -n kv \\
    -c '{\"Args\":[\"put\",\"color\",\"blue\"]}' --waitForEvent")]
    Invoke(InvokeArgs),
    /// Get the endorsed result of a chaincode function call and print it. It won't generate a
    /// transaction.
    #[command(after_help = "\
Example:
  consilium peer chaincode query -C health -n kv -c '{\"Args\":[\"get\",\"color\"]}'")]
    Query(QueryArgs),
}

/// Which call of which chaincode.
#[derive(Debug, Args)]
struct CallArgs {
    /// The channel on which this command should be executed.
    #[arg(short = 'C', long = "channelID", text(), value_name = "CHANNEL")]
    channel: String,
    /// Name of the chaincode.
    #[arg(short, long, text())]
    name: String,
    /// The call in JSON: `{"Args":["function","argument"]}`.
    #[arg(short = 'c', long, default_value = "{}", value_name = "JSON")]
    ctor: String,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    _rest: Rest,
}

#[derive(Debug, Args)]
struct InvokeArgs {
    #[command(flatten)]
    call: CallArgs,
    /// Whether this invocation is the initialization of the chaincode.
    #[arg(short = 'I', long = "isInit", switch = false)]
    is_init: bool,
    #[command(flatten)]
    wait: WaitIfAsked,
}

#[derive(Debug, Args)]
struct QueryArgs {
    #[command(flatten)]
    call: CallArgs,
    /// Output the query value as raw bytes, otherwise format as a printable string.
    #[arg(short, long, switch = false)]
    raw: bool,
    /// Output the query value in hexadecimal. Incompatible with --raw.
    #[arg(short = 'x', long, switch = false)]
    hex: bool,
}

/// Runs a subcommand.
///
/// # Errors
/// With Fabric's texts: what is missing, or what a peer or an orderer answered.
pub async fn run(command: ChaincodeCommand) -> anyhow::Result<()> {
    let environment = Environment::load()?;
    let ChaincodeCommand {
        orderer, transient, ..
    } = &command;
    match &command.command {
        Subcommands::Invoke(args) => invoke(&environment, orderer, transient, args).await,
        Subcommands::Query(args) => query(&environment, transient, args).await,
    }
}

async fn invoke(
    environment: &Environment,
    orderer: &OrdererArgs,
    transient: &str,
    args: &InvokeArgs,
) -> anyhow::Result<()> {
    let (endorsers, mut call) = prepare(environment, "invoke", transient, &args.call).await?;
    call.is_init = args.is_init;
    let channel = &args.call.channel;
    let orderers = orderer
        .broadcast(environment, channel, endorsers.first().as_ref())
        .await
        .context("error getting broadcast client")?;
    let endorsed = endorsers.endorse(channel, call).await.map_err(|error| {
        anyhow::anyhow!(
            "error endorsing invoke: {} - proposal response: <nil>",
            rpc(&error)
        )
    })?;
    let first = first(&endorsed.responses)?;
    // What the first peer refuses is told in other words than what the others do.
    refuse_unendorsed("invoke", first)?;
    let transaction = endorsers.assemble(&endorsed).map_err(|error| {
        anyhow::anyhow!(
            "could not assemble transaction: {error:#} - proposal response: {}",
            shown(first)
        )
    })?;
    let patience = args.wait.wait.then_some(args.wait.patience.event_timeout);
    endorsers
        .submit(channel, &endorsed.tx_id, &transaction, &orderers, patience)
        .await
        .map_err(|error| match error {
            SubmitError::Send(error) => anyhow::anyhow!(
                "error sending transaction for invoke: {error:#} - proposal response: {}",
                shown(first)
            ),
            SubmitError::Wait(error) => {
                anyhow::anyhow!("{error:#} - proposal response: <nil>")
            }
        })?;
    let payload = ProposalResponsePayload::decode(first.payload.clone())
        .context("error while unmarshalling proposal response payload")?;
    let action = ChaincodeAction::decode(payload.extension)
        .context("error while unmarshalling chaincode action")?;
    let response = action.response.unwrap_or_default().encode_to_vec();
    eprintln!(
        "Chaincode invoke successful. result: {}",
        golang::text("protos.Response", &response)?
    );
    Ok(())
}

async fn query(environment: &Environment, transient: &str, args: &QueryArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        !(args.raw && args.hex),
        "options --raw (-r) and --hex (-x) are not compatible"
    );
    let (endorsers, call) = prepare(environment, "query", transient, &args.call).await?;
    let endorsed = endorsers.endorse(&args.call.channel, call).await;
    let endorsed = endorsed.map_err(|error| {
        anyhow::anyhow!(
            "error endorsing query: {} - proposal response: <nil>",
            rpc(&error)
        )
    })?;
    let first = first(&endorsed.responses)?;
    anyhow::ensure!(
        first.endorsement.is_some(),
        "endorsement failure during query. response: {}",
        response_of(first)
    );
    let payload = first.response.as_ref().map(|response| &response.payload);
    println!("{}", printed(payload.unwrap_or(&Bytes::new()), args));
    Ok(())
}

/// Everything that comes before the first proposal.
async fn prepare(
    environment: &Environment,
    command: &str,
    transient: &str,
    args: &CallArgs,
) -> anyhow::Result<(Endorsers, Call)> {
    let signer = environment.signer()?;
    anyhow::ensure!(
        !args.channel.is_empty(),
        "The required parameter 'channelID' is empty. Rerun the command with -C flag"
    );
    let mut call = call::parse(&args.name, &args.ctor)?;
    call.transient = call::transient(transient)
        .map_err(|error| anyhow::anyhow!("{error:#} - proposal response: <nil>"))?;
    let asking = Asking {
        family: Family::Chaincode,
        command,
        several: command == "invoke",
        channel: Some(&args.channel),
        target_peer: "",
    };
    let peers = args.targets.connect(environment, asking).await?;
    Ok((Endorsers::new(peers, signer), call))
}

fn first(responses: &[ProposalResponse]) -> anyhow::Result<&ProposalResponse> {
    responses
        .first()
        .context("no proposal responses received - this might indicate a bug")
}

/// Fabric looks at the status for invocations, and leaves an answer without an error and without an
/// endorsement to the assembly of the transaction.
fn refuse_unendorsed(doing: &str, response: &ProposalResponse) -> anyhow::Result<()> {
    let status = response.response.as_ref().map_or(0, |answer| answer.status);
    anyhow::ensure!(
        status < 400,
        "endorsement failure during {doing}. response: {}",
        response_of(response)
    );
    Ok(())
}

fn response_of(response: &ProposalResponse) -> String {
    let encoded = response.response.as_ref().map(Message::encode_to_vec);
    golang::text("protos.Response", &encoded.unwrap_or_default()).unwrap_or_default()
}

fn shown(response: &ProposalResponse) -> String {
    golang::text("protos.ProposalResponse", &response.encode_to_vec()).unwrap_or_default()
}

/// An answer as the flags want it.
fn printed(payload: &[u8], args: &QueryArgs) -> String {
    match (args.raw, args.hex) {
        (true, _) => golang::list(payload),
        (false, true) => hex::encode(payload),
        (false, false) => String::from_utf8_lossy(payload).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use consilium_proto::protos::Response;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: ChaincodeCommand,
    }

    #[test]
    fn answers_are_text_bytes_or_hexadecimal() {
        for (flags, expected) in [
            (&[][..], "a\u{1}"),
            (&["-r"], "[97 1]"),
            (&["--hex"], "6101"),
            (&["--raw=false", "-x"], "6101"),
        ] {
            let line = [&["peer", "query"], flags].concat();
            let Subcommands::Query(args) = Line::try_parse_from(line).unwrap().command.command
            else {
                panic!("a query");
            };
            assert_eq!(printed(&[b'a', 1], &args), expected, "{flags:?}");
        }
    }

    #[test]
    fn a_refusal_shows_the_peers_response() {
        let refused = ProposalResponse {
            response: Some(Response {
                status: 500,
                message: "no such key".into(),
                payload: Bytes::new(),
            }),
            ..ProposalResponse::default()
        };
        assert_eq!(
            refuse_unendorsed("invoke", &refused)
                .unwrap_err()
                .to_string(),
            "endorsement failure during invoke. response: status:500 message:\"no such key\""
        );
    }
}
