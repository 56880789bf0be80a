//! `peer channel fetch`. fabric: internal/peer/channel/fetch.go, internal/peer/common/deliverclient.go

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;
use consilium_client::{BlockAt, Blocks, ClientError};
use consilium_msp::Signer;
use consilium_proto::common::Block;
use consilium_protocol::block;
use prost::Message;

use crate::commands::{
    golang,
    peer::{Environment, GoFlag, OfChannel, orderer::OrdererArgs, rpc},
};

/// Arguments of `fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    #[command(flatten)]
    of: OfChannel,
    /// Whether fetch requests should ignore errors and return blocks on a best effort basis.
    #[arg(long = "bestEffort", switch = false)]
    best_effort: bool,
    /// newest, oldest, config or a number; and the file to write.
    #[arg(value_name = "TARGET [OUTPUTFILE]")]
    target: Vec<String>,
}

/// Which block is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    At(BlockAt),
    /// The one with the configuration that is in force.
    Config,
}

/// Writes a block to a file.
///
/// # Errors
/// Something is missing, what the node answered, or the file cannot be written.
pub async fn fetch(
    environment: &Environment,
    signer: Arc<dyn Signer>,
    orderer: &OrdererArgs,
    args: &FetchArgs,
) -> anyhow::Result<()> {
    let (target, file) = match args.target.as_slice() {
        [] => anyhow::bail!("fetch target required, oldest, newest, config, or a number"),
        [target] => (
            target,
            PathBuf::from(format!("{}_{target}.block", args.of.channel)),
        ),
        [target, file] => (target, PathBuf::from(file)),
        _ => anyhow::bail!("trailing args detected"),
    };
    let wanted = wanted(target)?;
    let blocks = match orderer.names_one() {
        true => orderer.blocks(environment, signer).await?,
        false => of_peer(environment, signer).await?,
    };
    let blocks = blocks.best_effort(args.best_effort);
    let channel = &args.of.channel;
    let block = match wanted {
        Wanted::At(at) => get(&blocks, channel, at).await?,
        Wanted::Config => {
            let newest = get(&blocks, channel, BlockAt::Newest).await?;
            let number = block::last_config(&newest)
                .context("the newest block does not say where the configuration is")?;
            eprintln!("Retrieving last config block: {number}");
            get(&blocks, channel, BlockAt::Number(number)).await?
        }
    };
    golang::write_file(&file, &block.encode_to_vec())
}

async fn of_peer(environment: &Environment, signer: Arc<dyn Signer>) -> anyhow::Result<Blocks> {
    let connected = environment.connect("deliver", None).await;
    let connected = connected
        .context("failed to create deliver client for peer")
        .context("error getting deliver client for channel")?;
    Ok(Blocks::of_peer(
        connected.channel,
        signer,
        connected.tls_hash,
    ))
}

fn wanted(target: &str) -> anyhow::Result<Wanted> {
    Ok(match target {
        "newest" => Wanted::At(BlockAt::Newest),
        "oldest" => Wanted::At(BlockAt::Oldest),
        "config" => Wanted::Config,
        number => {
            let number = number.parse();
            let number = number.map_err(|_| anyhow::anyhow!("fetch target illegal: {target}"))?;
            Wanted::At(BlockAt::Number(number))
        }
    })
}

async fn get(blocks: &Blocks, channel: &str, at: BlockAt) -> anyhow::Result<Block> {
    let block = blocks.get(channel, at).await.map_err(|error| match error {
        ClientError::NotDelivered(status) => {
            anyhow::anyhow!("can't read the block: &{{{}}}", status.as_str_name())
        }
        error => anyhow::anyhow!("error receiving: {}", rpc(&error)),
    })?;
    eprintln!("Received block: {}", block::number(&block));
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_word_or_a_number() {
        for (target, expected) in [
            ("newest", Wanted::At(BlockAt::Newest)),
            ("oldest", Wanted::At(BlockAt::Oldest)),
            ("config", Wanted::Config),
            ("7", Wanted::At(BlockAt::Number(7))),
        ] {
            assert_eq!(wanted(target).unwrap(), expected);
        }
        for target in ["latest", "-1", ""] {
            let error = wanted(target).unwrap_err().to_string();
            assert_eq!(error, format!("fetch target illegal: {target}"));
        }
    }
}
