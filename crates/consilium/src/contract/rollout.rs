//! The steps of a deployment: install, approve, commit, and wait until it can be called everywhere.

use anyhow::Context;
use bytes::Bytes;
use consilium_client::{ApprovedDefinition, ClientError};
use futures_util::future::{join_all, try_join_all};
use std::time::Duration;

use super::consortium::{Consortium, Member, MemberPeer};
use crate::{network::eventually, progress::Steps};

/// What is agreed on.
pub struct Rollout {
    /// The definition.
    pub definition: ApprovedDefinition,
    /// What is installed; nothing where a developer starts it.
    pub package: Option<Bytes>,
    /// What is approved.
    pub package_id: String,
}

impl Rollout {
    /// How many steps it takes.
    pub fn steps(&self, consortium: &Consortium) -> usize {
        let installs = if self.package.is_some() {
            consortium.peers().count()
        } else {
            0
        };
        installs + consortium.members.len() + 2
    }
}

/// Installs the package at every peer, approves the definition for every organization, commits it and
/// waits until every peer can run it. May be repeated when it was interrupted.
///
/// # Errors
/// Any step is refused.
pub async fn roll_out(
    consortium: &Consortium,
    rollout: &Rollout,
    steps: &Steps,
) -> anyhow::Result<()> {
    prepare(consortium, rollout, steps).await?;
    commit(consortium, rollout).await?;
    steps.step(&format!("{} is committed", rollout.definition.name));
    wait(consortium, rollout).await?;
    steps.step("every peer can run it");
    Ok(())
}

/// The part of organizations that came after the definition was committed: they install, approve, and
/// wait until their peers can run it.
///
/// # Errors
/// Any step is refused.
pub async fn follow(consortium: &Consortium, rollout: &Rollout) -> anyhow::Result<()> {
    prepare(consortium, rollout, &Steps::silent()).await?;
    wait(consortium, rollout).await
}

/// Installs and approves.
async fn prepare(consortium: &Consortium, rollout: &Rollout, steps: &Steps) -> anyhow::Result<()> {
    let name = rollout.definition.name.as_str();
    if let Some(package) = &rollout.package {
        // Side by side: what an external builder builds may take minutes.
        let installs = consortium.peers().map(|peer| async move {
            install(peer, package.clone()).await?;
            steps.step(&format!("installed at {}", peer.address));
            anyhow::Ok(())
        });
        for installed in join_all(installs).await {
            installed?;
        }
    }
    let approvals = consortium.members.iter().map(|member| async move {
        approve(consortium, member, rollout).await?;
        steps.step(&format!("approved by {}", member.msp_id));
        anyhow::Ok(())
    });
    for approved in join_all(approvals).await {
        approved.with_context(|| format!("cannot approve {name}"))?;
    }
    Ok(())
}

async fn wait(consortium: &Consortium, rollout: &Rollout) -> anyhow::Result<()> {
    let waits = consortium
        .peers()
        .map(|peer| runnable(consortium, rollout, peer));
    try_join_all(waits).await.map(drop)
}

async fn install(peer: &MemberPeer, package: Bytes) -> anyhow::Result<()> {
    match peer.admin.install(package).await {
        Ok(_) => Ok(()),
        // By an earlier, interrupted deployment.
        Err(ClientError::Proposal { message, .. })
            if message.contains("already successfully installed") =>
        {
            Ok(())
        }
        Err(error) => Err(error).with_context(|| format!("cannot install at {}", peer.address)),
    }
}

async fn approve(
    consortium: &Consortium,
    member: &Member,
    rollout: &Rollout,
) -> anyhow::Result<()> {
    let peer = member.peers.first();
    let peer = peer.with_context(|| format!("{} has no peer", member.msp_id))?;
    let approved = peer.admin.approve(
        &consortium.channel,
        &rollout.definition,
        &rollout.package_id,
    );
    match approved.await {
        Ok(_) => Ok(()),
        // By an earlier, interrupted deployment: nothing would change.
        Err(error) if repeats_an_approval(&error.to_string()) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("for {}", member.msp_id)),
    }
}

/// Whether an approval was refused as one that the organization has given already, be the definition
/// committed or not. fabric: core/chaincode/lifecycle/lifecycle.go ApproveChaincodeDefinitionForOrg
fn repeats_an_approval(refusal: &str) -> bool {
    let says = |words| refusal.contains(words);
    says("with unchanged content")
        || says("attempted to redefine the current committed sequence")
            && !says("with different parameters")
}

/// A peer can endorse the commit once it has committed the approvals of the others.
async fn commit(consortium: &Consortium, rollout: &Rollout) -> anyhow::Result<()> {
    let organizations: Vec<_> = consortium
        .members
        .iter()
        .map(|member| member.msp_id.clone())
        .collect();
    let admin = &consortium.first()?.admin;
    let definition = &rollout.definition;
    let mut attempt = 0;
    loop {
        let committed = admin.commit(&consortium.channel, definition, &organizations);
        match committed.await {
            Ok(_) => return Ok(()),
            Err(error) if attempt < 50 => {
                attempt += 1;
                tracing::debug!(%error, name = definition.name, "definition not committed yet");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot commit the definition of {}", definition.name)
                });
            }
        }
    }
}

/// Waits until a peer has the definition, and sees the installed package used by it.
async fn runnable(
    consortium: &Consortium,
    rollout: &Rollout,
    peer: &MemberPeer,
) -> anyhow::Result<()> {
    let (channel, definition) = (&consortium.channel, &rollout.definition);
    let what = format!("{} to be runnable at {}", definition.name, peer.address);
    eventually(&what, || async {
        let committed = peer
            .admin
            .committed_sequence(channel, &definition.name)
            .await?;
        if committed < Some(definition.sequence) {
            return Ok(false);
        }
        if rollout.package.is_none() {
            return Ok(true);
        }
        let uses = peer.admin.installed_uses(&rollout.package_id).await?;
        Ok(uses.contains(&(
            channel.clone(),
            definition.name.clone(),
            definition.version.clone(),
        )))
    })
    .await
}

#[cfg(test)]
mod tests {
    use consilium_chaincode::lifecycle::LifecycleError;

    use super::repeats_an_approval;

    #[test]
    fn only_an_approval_that_changes_nothing_repeats_one() {
        let name = || "notes".to_owned();
        let sequence = 1;
        for (refusal, repeats) in [
            (
                LifecycleError::RepeatsUncommitted {
                    sequence,
                    name: name(),
                },
                true,
            ),
            (
                LifecycleError::RepeatsCommitted {
                    sequence,
                    name: name(),
                },
                true,
            ),
            (
                LifecycleError::RedefinesCommitted {
                    sequence,
                    name: name(),
                    difference: "expected version '1' does not match passed version '2'".to_owned(),
                },
                false,
            ),
            (
                LifecycleError::SequencePast {
                    current: 2,
                    requested: 1,
                },
                false,
            ),
        ] {
            let told = format!("Endorse failed: {refusal}");
            assert_eq!(repeats_an_approval(&told), repeats, "{told}");
        }
    }
}
