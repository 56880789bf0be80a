//! Making proposals, and bringing those through that one person can bring through.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use consilium_proto::common;
use consilium_protocol::config::{
    ChannelConfig,
    genesis::Organization,
    settings::{self, Action, Edit},
    update,
};
use prost::Message;

use super::{
    agreement::Agreement,
    file,
    member::{MemberArgs, OrdererArgs, SignerArgs},
    text,
};

/// Arguments of `propose`.
#[derive(Debug, Args)]
pub struct ProposeArgs {
    /// Give a setting another value; `@FILE` for what is in a file, or in an MSP folder.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Add to a list, such as anchor-peers or msp.crls.
    #[arg(long, value_name = "NAME=VALUE")]
    add: Vec<String>,
    /// Remove from a list; of certificates and revocation lists, words of how they are shown do.
    #[arg(long, value_name = "NAME=VALUE")]
    remove: Vec<String>,
    /// Remove a setting, such as an ACL or a policy.
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
    /// File with the whole configuration as it shall be: a Config message, encoded or in JSON, or a
    /// config block. Other changes are made to it.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Sign the proposal as well.
    #[arg(long)]
    sign: bool,
    /// Sign with all keys at hand and submit, if that is enough.
    #[arg(long)]
    submit: bool,
    #[command(flatten)]
    way: Way,
}

/// Where a proposal goes.
#[derive(Debug, Args)]
pub struct Way {
    /// File that the proposal is written to.
    #[arg(long, short, default_value = "proposal.pb", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    signers: SignerArgs,
    #[command(flatten)]
    orderer: OrdererArgs,
    /// Whose keys and nodes are used.
    #[command(flatten)]
    pub member: MemberArgs,
}

/// Arguments of `add-org`.
#[derive(Debug, Args)]
pub struct AddOrgArgs {
    /// Name of the organization in the channel.
    name: String,
    /// Its MSP folder: cacerts, tlscacerts, config.yaml and so on.
    #[arg(long, value_name = "FOLDER")]
    msp_folder: PathBuf,
    /// Its MSP id; by default its name.
    #[arg(long, value_name = "ID")]
    org_msp_id: Option<String>,
    /// Address of one of its anchor peers; repeat for more.
    #[arg(long = "anchor", value_name = "HOST:PORT")]
    anchors: Vec<String>,
    /// Write the proposal only.
    #[arg(long)]
    no_submit: bool,
    #[command(flatten)]
    way: Way,
}

/// Arguments of `remove-org`.
#[derive(Debug, Args)]
pub struct RemoveOrgArgs {
    /// Name of the organization in the channel.
    name: String,
    /// Write the proposal only.
    #[arg(long)]
    no_submit: bool,
    #[command(flatten)]
    way: Way,
}

/// How far a proposal is brought.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Written,
    Signed,
    Submitted,
}

/// `propose`.
///
/// # Errors
/// A change cannot be made, or leads to a configuration that no node would take.
pub async fn propose(args: &ProposeArgs) -> anyhow::Result<()> {
    let config = args.way.member.member()?.config().await?;
    let mut updated = config.config().clone();
    if let Some(file) = &args.file {
        updated.channel_group = file::config_message(file)?.channel_group;
    }
    let root = updated
        .channel_group
        .as_mut()
        .context("the configuration is empty")?;
    for edit in args.edits()? {
        edit.apply(root)?;
    }
    let until = match (args.submit, args.sign) {
        (true, _) => Until::Submitted,
        (false, true) => Until::Signed,
        (false, false) => Until::Written,
    };
    carry(&config, &updated, &args.way, until).await
}

impl ProposeArgs {
    fn edits(&self) -> anyhow::Result<Vec<Edit>> {
        let mut edits = Vec::new();
        for (action, given) in [
            (Action::Set, &self.set),
            (Action::Add, &self.add),
            (Action::Remove, &self.remove),
        ] {
            for text in given {
                edits.push(edit(action, text)?);
            }
        }
        let unset = self.unset.iter().map(|name| Edit {
            action: Action::Unset,
            name: name.clone(),
            value: Bytes::new(),
        });
        edits.extend(unset);
        anyhow::ensure!(
            !edits.is_empty() || self.file.is_some(),
            "say what shall change, with --set, --add, --remove, --unset or --file"
        );
        Ok(edits)
    }
}

fn edit(action: Action, text: &str) -> anyhow::Result<Edit> {
    let (name, value) = text
        .split_once('=')
        .with_context(|| format!("`{text}` is not of the form NAME=VALUE"))?;
    let folder = value.strip_prefix('@').map(Path::new);
    let value = match folder.filter(|folder| folder.is_dir()) {
        // The MSP id stays that of the organization, whose MSP it is to be.
        Some(folder) => file::msp(folder, "")?.encode_to_vec().into(),
        None => file::value(value)?,
    };
    Ok(Edit {
        action,
        name: name.to_owned(),
        value,
    })
}

/// `add-org`.
///
/// # Errors
/// Its MSP cannot be read or is not valid, it is a member already, or a step fails.
pub async fn add_organization(args: &AddOrgArgs) -> anyhow::Result<()> {
    let msp_id = args.org_msp_id.as_ref().unwrap_or(&args.name);
    let mut organization = Organization::new(file::msp(&args.msp_folder, msp_id)?);
    organization.name.clone_from(&args.name);
    let anchors = args.anchors.iter().map(|address| {
        let parts = address.rsplit_once(':');
        let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        parts.with_context(|| format!("`{address}` is not of the form host:port"))
    });
    organization.anchor_peers = anchors.collect::<anyhow::Result<_>>()?;
    let config = args.way.member.member()?.config().await?;
    let mut updated = config.config().clone();
    let root = updated
        .channel_group
        .as_mut()
        .context("the configuration is empty")?;
    settings::add_application_organization(root, &organization)?;
    carry(&config, &updated, &args.way, until(args.no_submit)).await
}

/// `remove-org`.
///
/// # Errors
/// It is no member, runs consenters, or a step fails.
pub async fn remove_organization(args: &RemoveOrgArgs) -> anyhow::Result<()> {
    let config = args.way.member.member()?.config().await?;
    let mut updated = config.config().clone();
    let root = updated
        .channel_group
        .as_mut()
        .context("the configuration is empty")?;
    settings::remove_organization(root, &args.name)?;
    carry(&config, &updated, &args.way, until(args.no_submit)).await
}

fn until(no_submit: bool) -> Until {
    if no_submit {
        Until::Written
    } else {
        Until::Submitted
    }
}

/// Makes a proposal, and submits it if the keys at hand are enough.
///
/// # Errors
/// It leads to a configuration that no node would take, or the orderers refuse it.
pub async fn submit(
    config: &ChannelConfig,
    updated: &common::Config,
    way: &Way,
) -> anyhow::Result<()> {
    carry(config, updated, way, Until::Submitted).await
}

/// Makes the proposal, shows it, and brings it as far as it shall and can go. It is written to its file
/// unless it is in force.
async fn carry(
    config: &ChannelConfig,
    updated: &common::Config,
    way: &Way,
    until: Until,
) -> anyhow::Result<()> {
    let member = way.member.member()?;
    let computed = update::compute(config.config(), updated, config.channel_id())?;
    let mut agreement = Agreement::new(common::ConfigUpdateEnvelope {
        config_update: computed.encode_to_vec().into(),
        signatures: Vec::new(),
    });
    println!("{}, and these changes:\n", text::title(config));
    print!("{}", agreement.changes(config)?);
    println!();
    match until {
        Until::Written => {}
        Until::Signed => agreement.sign(member.signer().as_ref())?,
        Until::Submitted => {
            for signer in way.signers.signers(&member)? {
                agreement.sign(signer.as_ref())?;
            }
        }
    }
    print!("{}", agreement.status(config)?);
    let out = way.out.display();
    if until == Until::Submitted && agreement.is_complete(config)? {
        return agreement.submit(config, &member, &way.orderer).await;
    }
    agreement
        .write(&way.out, member.signer().as_ref())
        .with_context(|| format!("cannot write {out}"))?;
    println!("\nwritten to {out}; who has to sign does it with: consilium channel sign {out}");
    println!("when all have signed: consilium channel submit {out}");
    Ok(())
}
