//! `consilium certificates`: how the certificates of a node stand, and renewing them at once.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use crate::certificates::{Inventory, Renewer, now, until};

/// `consilium certificates`.
#[derive(Debug, Subcommand)]
pub enum CertificatesCommand {
    /// When the certificates of a node end.
    #[command(after_help = "Example:\n  consilium certificates show --config ./core.yaml")]
    Show(NodeFile),
    /// Renew them now at the authority that the configuration names; a node that runs takes them up
    /// by itself.
    #[command(after_help = "\
Examples:
  consilium certificates renew --config ./core.yaml
  consilium certificates renew --config ./core.yaml --new-keys")]
    Renew(RenewArgs),
}

/// Which node.
#[derive(Debug, Args)]
pub struct NodeFile {
    /// Its core.yaml or orderer.yaml.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `consilium certificates renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// Which node.
    #[command(flatten)]
    pub node: NodeFile,
    /// Make new keys, whatever the configuration says. An orderer with a new TLS key has to be listed
    /// anew in its channels: docs/certificates.md.
    #[arg(long)]
    pub new_keys: bool,
}

/// Runs one of them.
///
/// # Errors
/// A file cannot be read, or the authority refuses.
pub async fn run(command: CertificatesCommand) -> anyhow::Result<()> {
    match command {
        CertificatesCommand::Show(node) => show(&node),
        CertificatesCommand::Renew(args) => renew(&args).await,
    }
}

fn show(node: &NodeFile) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["certificate", "subject", "serial number", "until"]);
    for found in Inventory::of(&node.config)?.found()? {
        let certificate = &found.certificate;
        table.add_row([
            found.purpose.to_string(),
            certificate.subject_cn().to_owned(),
            certificate.serial_hex(),
            until(certificate.not_after(), now()),
        ]);
    }
    println!("{table}");
    Ok(())
}

async fn renew(args: &RenewArgs) -> anyhow::Result<()> {
    let inventory = Inventory::of(&args.node.config)?;
    anyhow::ensure!(
        !inventory.settings.renewal.url.is_empty(),
        "{} names no certificate authority: set certificates.renewal.url and rootCert",
        args.node.config.display()
    );
    let mut renewer = Renewer::of(inventory);
    renewer.settings.new_keys |= args.new_keys;
    for (purpose, certificate) in renewer.renew_all().await? {
        println!(
            "renewed the {purpose} of {}: serial number {}, until {}",
            certificate.subject_cn(),
            certificate.serial_hex(),
            until(certificate.not_after(), now())
        );
    }
    Ok(())
}
