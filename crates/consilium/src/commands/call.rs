//! `consilium invoke` and `consilium query`.

use anyhow::Context;
use clap::Args;
use consilium_client::Call;

use super::connect::ConnectArgs;

/// A call of a contract.
#[derive(Debug, Args)]
pub struct CallArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Transient data: `key=value`, or `key=@file`; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    transient: Vec<String>,
    /// Organizations (MSP ids) that shall endorse or answer; repeat for more.
    #[arg(long = "organization", value_name = "MSPID")]
    organizations: Vec<String>,
    /// Send the call as the chaincode's initialization.
    #[arg(long)]
    is_init: bool,
    /// Chaincode name.
    chaincode: String,
    /// Function of the contract.
    function: String,
    /// Its arguments.
    args: Vec<String>,
}

impl CallArgs {
    fn call(&self) -> anyhow::Result<Call> {
        let mut call = Call::new(&self.chaincode, &self.function, &self.args)
            .endorsed_by(self.organizations.iter().cloned());
        call.is_init = self.is_init;
        for entry in &self.transient {
            let (key, value) = entry
                .split_once('=')
                .with_context(|| format!("--transient {entry}: expected KEY=VALUE"))?;
            let value = match value.strip_prefix('@') {
                Some(path) => std::fs::read(path)
                    .with_context(|| format!("--transient: cannot read {path}"))?,
                None => value.as_bytes().to_vec(),
            };
            call = call.with_transient(key, value);
        }
        Ok(call)
    }
}

/// Submits and waits for the commit; prints the answer on stdout, the rest on stderr.
///
/// # Errors
/// What the network answered.
pub async fn invoke(args: CallArgs) -> anyhow::Result<()> {
    let gateway = args.connect.target()?.gateway().await?;
    let started = std::time::Instant::now();
    let committed = gateway.submit(args.call()?).await?;
    eprintln!(
        "committed in block {} after {:.1} ms: {}",
        committed.block,
        started.elapsed().as_secs_f64() * 1000.0,
        committed.tx_id
    );
    print(&committed.payload);
    Ok(())
}

/// Evaluates and prints the answer.
///
/// # Errors
/// What the network answered.
pub async fn query(args: CallArgs) -> anyhow::Result<()> {
    let gateway = args.connect.target()?.gateway().await?;
    print(&gateway.evaluate(args.call()?).await?);
    Ok(())
}

fn print(payload: &[u8]) {
    if !payload.is_empty() {
        println!("{}", String::from_utf8_lossy(payload));
    }
}
