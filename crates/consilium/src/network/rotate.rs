//! `consilium network rotate-root`: an organization gets another root certificate while the network runs.
//!
//! Three steps, because applications have to follow: both roots are trusted; with `--renew` everything of the
//! organization is certified under the new root, over its present keys; with `--finish` the former root is
//! trusted no more.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use consilium_ca::{CaOptions, folders, rotate_root as rotate};
use consilium_proto::msp::FabricMspConfig;

use super::{
    enroll::wait_for_root,
    nodes,
    plan::{Network, Organization},
    reconfigure::{Administrators, edit_msp, set_consenter_certificate},
    start_ca,
};
use crate::{
    certificates::{Inventory, Renewer, SigningSource, TlsPair, now},
    cli::NetworkRotateRoot,
    config::Renewal,
    progress::Steps,
};

/// Where an authority keeps the roots that it had before.
const FORMER: &str = "former-roots";

/// Does one of the steps.
///
/// # Errors
/// There is no such network or organization, or a step fails: then the same command goes on.
pub async fn rotate_root(args: &NetworkRotateRoot) -> anyhow::Result<()> {
    let network = Network::load(&args.dir.dir)?;
    let organization = network.organization(&args.name)?;
    let next = if args.finish {
        return finish(&network, organization).await;
    } else if args.renew {
        renew(&network, organization).await?;
        "nodes and users are certified under the new root.\n\
         Let applications take up their users' certificates, then go on with --finish"
    } else {
        begin(&network, organization).await?;
        "both roots are trusted.\n\
         Let applications take up the TLS roots in tls/ca.crt, then go on with --renew"
    };
    println!("{}: {next}", organization.msp_id);
    Ok(())
}

/// Makes the new root, and has everybody trust both.
async fn begin(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let steps = Steps::new(3);
    let home = network.ca_dir(organization);
    steps.step("making the new root");
    if former_roots(&home)?.is_empty() {
        let [ca, ..] = nodes(network, organization);
        ca.stop("TERM")?;
        // Under a name of its own, so that nobody takes one root for the other.
        let name = format!("ca-{}-{}", organization.name, now());
        rotate(&CaOptions::new(&home, name, &organization.domain))?;
    }
    start_ca(network, organization)?;
    let mut roots = former_roots(&home)?;
    roots.push(wait_for_root(&home).await?);
    steps.step("trusting both roots");
    trust(network, organization, &roots)?;
    set_roots(network, organization).await?;
    steps.step("both roots are trusted");
    steps.finish();
    Ok(())
}

/// Certifies nodes and users under the new root.
async fn renew(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    begun(network, organization)?;
    let steps = Steps::new(3);
    steps.step("renewing the certificates of nodes and users");
    renew_all(network, organization).await?;
    steps.step("listing the orderer under its new certificate");
    if organization.has_orderer {
        let tls = network.orderer_dir(organization).join("tls/server.crt");
        let certificate = Bytes::from(std::fs::read(&tls)?);
        let port = u32::from(organization.ports.orderer);
        let administrators = Administrators::connect(network).await?;
        administrators
            .change(network, "the consenter's certificate", |root| {
                set_consenter_certificate(root, "localhost", port, &certificate)
            })
            .await?;
    }
    steps.step("nodes and users are certified under the new root");
    steps.finish();
    Ok(())
}

/// Puts the roots in the organization's MSP folder into the channel's configuration.
async fn set_roots(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let folder = network.organization_dir(organization).join("msp");
    let msp = folders::read_msp_config(&folder, &organization.msp_id)?;
    let administrators = Administrators::connect(network).await?;
    administrators
        .change(network, "the organization's roots", |root| {
            // Lists of revoked certificates are the channel's, and stay.
            edit_msp(root, &msp.name, |definition| {
                let revocation_list = std::mem::take(&mut definition.revocation_list);
                *definition = FabricMspConfig {
                    revocation_list,
                    ..msp.clone()
                };
            })
        })
        .await
}

/// A second root has to be there.
fn begun(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    anyhow::ensure!(
        !former_roots(&network.ca_dir(organization))?.is_empty(),
        "{} has one root only: begin with `consilium network rotate-root {}`",
        organization.msp_id,
        organization.name
    );
    Ok(())
}

/// Ends the trust in the former root.
async fn finish(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    begun(network, organization)?;
    let home = network.ca_dir(organization);
    let root = wait_for_root(&home).await?;
    // The channel first: the own nodes show what everybody trusts already.
    let folder = network.organization_dir(organization).join("msp");
    let only = std::slice::from_ref(&root);
    folders::write_roots(&folder, only, only)?;
    set_roots(network, organization).await?;
    trust(network, organization, only)?;
    std::fs::remove_dir_all(home.join(FORMER))?;
    println!(
        "{} has one root again; what was certified under the former one is refused",
        organization.msp_id
    );
    Ok(())
}

/// The roots that an authority had before, the oldest first.
fn former_roots(home: &Path) -> anyhow::Result<Vec<Bytes>> {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(home.join(FORMER)) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    let read = files.iter().map(|file| Ok(std::fs::read(file)?.into()));
    read.collect()
}

/// Writes the roots into every folder of the organization that names them.
fn trust(network: &Network, organization: &Organization, roots: &[Bytes]) -> anyhow::Result<()> {
    let all = roots.concat();
    folders::write_roots(
        &network.organization_dir(organization).join("msp"),
        roots,
        roots,
    )?;
    for dir in holders(network, organization)? {
        let tls = dir.join("tls/ca.crt");
        if tls.is_file() {
            folders::write_public(&tls, &all)?;
        }
        folders::write_roots(&dir.join("msp"), roots, roots)?;
    }
    hurry(network, organization);
    Ok(())
}

/// Folders with an `msp` and mostly a `tls` of the organization's nodes and users.
fn holders(network: &Network, organization: &Organization) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = vec![network.peer_dir(organization)];
    if organization.has_orderer {
        found.push(network.orderer_dir(organization));
    }
    let users = network.organization_dir(organization).join("users");
    for entry in std::fs::read_dir(users)? {
        found.push(entry?.path());
    }
    Ok(found)
}

/// Has everything certified anew over the keys it has.
async fn renew_all(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    for dir in holders(network, organization)? {
        let tls = |kind: &str| dir.join(format!("tls/{kind}"));
        let configuration = ["core.yaml", "orderer.yaml"].map(|name| dir.join(name));
        let renewer = match configuration.iter().find(|file| file.is_file()) {
            Some(file) => Renewer::of(Inventory::of(file)?),
            None => Renewer {
                settings: Renewal {
                    url: organization.ca_url(),
                    ..Renewal::default()
                },
                root_cert: network.ca_dir(organization).join("ca-cert.pem"),
                source: SigningSource {
                    msp_dir: dir.join("msp"),
                    msp_id: organization.msp_id.clone(),
                    token: None,
                },
                pairs: tls("client.crt")
                    .is_file()
                    .then(|| TlsPair::client(tls("client.crt"), tls("client.key")))
                    .into_iter()
                    .collect(),
                renewed: std::sync::Arc::default(),
            },
        };
        let renewed = renewer.renew_all().await;
        renewed.with_context(|| format!("cannot renew what is in {}", dir.display()))?;
    }
    hurry(network, organization);
    Ok(())
}

/// Tells the organization's nodes that their files have changed; they would find out by themselves.
fn hurry(network: &Network, organization: &Organization) {
    for node in nodes(network, organization).into_iter().skip(1) {
        if let Err(error) = node.signal("HUP") {
            tracing::debug!(%error, "a node was not told");
        }
    }
}
