//! Which peers a command of `peer chaincode` or `peer lifecycle chaincode` speaks to.
//!
//! fabric: internal/peer/chaincode/common.go, internal/peer/lifecycle/chaincode/client_connections.go

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::{
    Environment,
    environment::Connected,
    profile::{Peer, Profile},
};

/// Peers by flags. Without any, the environment's own is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// The addresses of the peers to connect to; repeat for more.
    #[arg(long = "peerAddresses", value_name = "HOST:PORT")]
    addresses: Vec<String>,
    /// If TLS is enabled, the paths to the TLS root cert files of the peers to connect to. The order
    /// and number of certs specified should match the --peerAddresses flag.
    #[arg(long = "tlsRootCertFiles", value_name = "FILE")]
    roots: Vec<String>,
    /// Connection profile that says which peers the channel has.
    #[arg(long = "connectionProfile", value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// One peer: its address and the roots of its TLS certificate, both empty for the environment's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    address: String,
    roots: String,
}

/// Who asks. Fabric's two families of commands say the same in different words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `peer chaincode`
    Chaincode,
    /// `peer lifecycle chaincode`
    Lifecycle,
}

/// A command that speaks to peers.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub command: &'a str,
    /// Whether it takes more than one peer.
    pub several: bool,
    /// The channel, for commands that concern one.
    pub channel: Option<&'a str>,
    /// The peer of a connection profile that is meant, for commands that concern no channel.
    pub target_peer: &'a str,
}

impl TargetArgs {
    /// Connects to the peers that are meant.
    ///
    /// # Errors
    /// The flags do not go together, name what cannot be read, or nobody answers.
    pub async fn connect(
        &self,
        environment: &Environment,
        asking: Asking<'_>,
    ) -> anyhow::Result<Vec<Connected>> {
        let (validating, getting) = match asking.family {
            Family::Chaincode => (
                "error validating peer connection parameters",
                "error getting endorser client",
            ),
            Family::Lifecycle => (
                "failed to validate peer connection parameters",
                "failed to retrieve endorser client",
            ),
        };
        let profile = self.profile.as_deref().map(Profile::read).transpose();
        let targets = profile
            .and_then(|profile| {
                self.targets(
                    asking,
                    profile.as_ref(),
                    environment.is_on("peer.tls.enabled"),
                )
            })
            .context(validating)?;
        let mut connected = Vec::new();
        for target in &targets {
            let other = (!target.address.is_empty())
                .then_some((target.address.as_str(), Path::new(&target.roots)));
            let connection = environment.connect("endorser", other).await;
            connected
                .push(connection.with_context(|| format!("{getting} for {}", asking.command))?);
        }
        Ok(connected)
    }

    /// The peers that are meant.
    fn targets(
        &self,
        asking: Asking<'_>,
        profile: Option<&Profile>,
        tls: bool,
    ) -> anyhow::Result<Vec<Target>> {
        let of_flags = |given: &[String]| match given {
            [] => vec![String::new()],
            given => given.to_vec(),
        };
        let (mut addresses, mut roots) = (of_flags(&self.addresses), of_flags(&self.roots));
        if let Some(peers) = profile
            .map(|profile| of_profile(asking, profile))
            .transpose()?
            && let Some(peers) = peers
        {
            addresses = peers.iter().map(|peer| peer.url.clone()).collect();
            roots = peers.iter().map(|peer| peer.roots().to_owned()).collect();
        }
        let (command, count) = (asking.command, addresses.len());
        if count > 1 && !asking.several {
            match asking.family {
                Family::Chaincode => anyhow::bail!(
                    "'{command}' command can only be executed against one peer. received {count}"
                ),
                Family::Lifecycle => {
                    anyhow::bail!("'{command}' command supports one peer. {count} peers provided")
                }
            }
        }
        if tls {
            anyhow::ensure!(
                roots.len() == count,
                "number of peer addresses ({count}) does not match the number of TLS root cert files ({})",
                roots.len()
            );
        } else {
            roots = vec![String::new(); count];
        }
        anyhow::ensure!(count > 0, "no endorser clients retrieved");
        let pairs = addresses.into_iter().zip(roots);
        Ok(pairs
            .map(|(address, roots)| Target { address, roots })
            .collect())
    }
}

/// The peers that a profile names; `None` where it leaves them to the flags.
fn of_profile<'a>(
    asking: Asking<'_>,
    profile: &'a Profile,
) -> anyhow::Result<Option<Vec<&'a Peer>>> {
    let named = |name: &str| {
        profile.peer(name).with_context(|| match asking.family {
            Family::Chaincode => format!(
                "peer '{name}' is defined in the channel config but doesn't have associated peer config"
            ),
            Family::Lifecycle => format!("peer '{name}' doesn't have associated peer config"),
        })
    };
    let channel = asking.channel.filter(|channel| !channel.is_empty());
    match (channel, profile.endorsing(channel.unwrap_or_default())) {
        (None, _) if asking.family == Family::Lifecycle => {
            anyhow::ensure!(
                !asking.target_peer.is_empty(),
                "--targetPeer must be specified for channel-less operation using connection profile"
            );
            Ok(Some(vec![named(asking.target_peer)?]))
        }
        (_, Some(peers)) => {
            let peers: anyhow::Result<_> = peers.into_iter().map(named).collect();
            Ok(Some(peers?))
        }
        (_, None) => Ok((asking.family == Family::Lifecycle).then(Vec::new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: Asking<'_> = Asking {
        family: Family::Chaincode,
        command: "query",
        several: false,
        channel: Some("health"),
        target_peer: "",
    };
    const COMMIT: Asking<'_> = Asking {
        family: Family::Lifecycle,
        command: "commit",
        several: true,
        channel: Some("health"),
        target_peer: "",
    };
    const INSTALL: Asking<'_> = Asking {
        family: Family::Lifecycle,
        command: "install",
        several: false,
        channel: None,
        target_peer: "",
    };
    const PROFILE: &str = "
channels: {health: {peers: {one: {endorsingPeer: true}, two: {endorsingPeer: true}}}, bad: {peers: {three: {endorsingPeer: true}}}}
peers:
  one: {url: 'one:1', tlsCACerts: {path: one.crt}}
  two: {url: 'two:2', tlsCACerts: {path: two.crt}}
";

    fn args(addresses: &[&str], roots: &[&str]) -> TargetArgs {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        TargetArgs {
            addresses: owned(addresses),
            roots: owned(roots),
            profile: None,
        }
    }

    fn pairs(found: anyhow::Result<Vec<Target>>) -> Vec<(String, String)> {
        let found = found.unwrap().into_iter();
        found.map(|one| (one.address, one.roots)).collect()
    }

    fn pair(address: &str, roots: &str) -> (String, String) {
        (address.to_owned(), roots.to_owned())
    }

    #[test]
    fn without_flags_the_environments_own_peer_is_meant() {
        for tls in [true, false] {
            let found = args(&[], &[]).targets(QUERY, None, tls);
            assert_eq!(pairs(found), [pair("", "")]);
        }
    }

    #[test]
    fn addresses_go_with_the_roots_at_the_same_place() {
        let two = args(&["a:1", "b:2"], &["a.crt", "b.crt"]);
        assert_eq!(
            pairs(two.targets(COMMIT, None, true)),
            [pair("a:1", "a.crt"), pair("b:2", "b.crt")]
        );
        assert_eq!(
            pairs(two.targets(COMMIT, None, false)),
            [pair("a:1", ""), pair("b:2", "")]
        );
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused_in_fabrics_words() {
        let refused = |args: &TargetArgs, asking| {
            let refused = args.targets(asking, None, true);
            refused.unwrap_err().to_string()
        };
        let two = args(&["a:1", "b:2"], &["a.crt"]);
        assert_eq!(
            refused(&two, COMMIT),
            "number of peer addresses (2) does not match the number of TLS root cert files (1)"
        );
        assert_eq!(
            refused(&two, QUERY),
            "'query' command can only be executed against one peer. received 2"
        );
        assert_eq!(
            refused(&two, INSTALL),
            "'install' command supports one peer. 2 peers provided"
        );
    }

    #[test]
    fn a_profile_stands_for_the_flags() {
        let profile: Profile = serde_saphyr::from_str(PROFILE).unwrap();
        let flags = args(&["c:3"], &["c.crt"]);
        let on = |asking: Asking<'static>, channel| {
            let asking = Asking { channel, ..asking };
            flags.targets(asking, Some(&profile), true)
        };
        assert_eq!(
            pairs(on(COMMIT, Some("health"))),
            [pair("one:1", "one.crt"), pair("two:2", "two.crt")]
        );
        // A channel that it does not know is left to the flags, or is an error.
        assert_eq!(pairs(on(QUERY, Some("other"))), [pair("c:3", "c.crt")]);
        for (asking, channel, reason) in [
            (COMMIT, Some("other"), "no endorser clients retrieved"),
            (INSTALL, None, "--targetPeer must be specified"),
            (
                COMMIT,
                Some("bad"),
                "peer 'three' doesn't have associated peer config",
            ),
            (
                QUERY,
                Some("bad"),
                "peer 'three' is defined in the channel config but",
            ),
        ] {
            let error = on(asking, channel).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        let one = Asking {
            target_peer: "one",
            ..INSTALL
        };
        assert_eq!(pairs(on(one, None)), [pair("one:1", "one.crt")]);
    }
}
