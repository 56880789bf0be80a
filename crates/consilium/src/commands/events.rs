//! `consilium events`.

use clap::Args;
use futures_util::StreamExt;

use super::connect::ConnectArgs;

/// Which events to print.
#[derive(Debug, Args)]
pub struct EventsArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Block to start from; without it, from the next block on.
    #[arg(long)]
    from: Option<u64>,
    /// Stop after that many events.
    #[arg(long)]
    count: Option<usize>,
    /// Chaincode name.
    chaincode: String,
}

/// Prints one JSON object per event until interrupted.
///
/// # Errors
/// The stream is refused or breaks.
pub async fn run(args: EventsArgs) -> anyhow::Result<()> {
    let gateway = args.connect.target()?.gateway().await?;
    let mut stream = Box::pin(gateway.events(&args.chaincode, args.from).await?);
    let mut left = args.count.unwrap_or(usize::MAX);
    while left > 0 {
        let item = tokio::select! {
            item = stream.next() => item,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let Some(block) = item else {
            anyhow::bail!("the gateway ended the stream");
        };
        let block = block?;
        for event in block.events.into_iter().take(left) {
            left -= 1;
            println!(
                "{}",
                serde_json::json!({
                    "block": block.block_number,
                    "transaction": event.tx_id,
                    "event": event.event_name,
                    "payload": String::from_utf8_lossy(&event.payload),
                })
            );
        }
    }
    Ok(())
}
