//! What a local consortium consists of: a plain description, saved as `network.json`.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Name of the ledger channel.
pub const CHANNEL: &str = "health";

/// A consortium on one machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network {
    /// Folder of the network.
    #[serde(skip)]
    pub dir: PathBuf,
    /// Ledger channel.
    pub channel: String,
    /// Members.
    pub organizations: Vec<Organization>,
    /// Folders of the external builders of all peers.
    #[serde(default)]
    pub builders: Vec<PathBuf>,
    /// Whether the peers are in chaincode development mode.
    #[serde(default)]
    pub development: bool,
}

/// A member: one CA, one peer, and one orderer if it is a founder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Organization {
    /// Short name, as in `--as hospital/User1`.
    pub name: String,
    /// What it is.
    pub title: String,
    /// MSP id.
    pub msp_id: String,
    /// Domain of its nodes.
    pub domain: String,
    /// Ports on 127.0.0.1.
    pub ports: Ports,
    /// Whether it runs an orderer: the founders do, who came later does not.
    #[serde(default = "yes")]
    pub has_orderer: bool,
    /// Whether it runs a gateway for FHIR clients and browsers.
    #[serde(default)]
    pub has_gateway: bool,
}

fn yes() -> bool {
    true
}

/// Ports of one organization's nodes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ports {
    /// Orderer: Broadcast, Deliver, replication.
    pub orderer: u16,
    /// Peer: gateway, endorser, deliver.
    pub peer: u16,
    /// Orderer: channel participation.
    pub orderer_admin: u16,
    /// CA.
    pub ca: u16,
    /// Orderer: health and metrics.
    pub orderer_operations: u16,
    /// Peer: health and metrics.
    pub peer_operations: u16,
    /// Peer: launched chaincode. Any, in networks that were made before there was one.
    #[serde(default)]
    pub peer_chaincode: u16,
    /// Gateway: FHIR, tokens, console. Any, in networks that were made before there was one.
    #[serde(default)]
    pub gateway: u16,
}

impl Network {
    /// The hospital, the manufacturer and the regulator.
    ///
    /// # Errors
    /// No free ports.
    pub fn standard(dir: &Path, free_ports: bool) -> anyhow::Result<Self> {
        let members = [
            ("hospital", "Hospital", "HospitalMSP"),
            ("maker", "Device manufacturer", "MakerMSP"),
            ("regulator", "Regulator", "RegulatorMSP"),
        ];
        let mut organizations: Vec<Organization> = Vec::new();
        for (name, title, msp_id) in members {
            let ports = Ports::choose(&organizations, free_ports)?;
            organizations.push(Organization {
                name: name.into(),
                title: title.into(),
                msp_id: msp_id.into(),
                domain: format!("{name}.example"),
                ports,
                has_orderer: true,
                has_gateway: false,
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            channel: CHANNEL.into(),
            organizations,
            builders: Vec::new(),
            development: false,
        })
    }

    /// The eight organizations of the health suite, each with a gateway. The three of [`Network::standard`] are the
    /// founders and run the orderers.
    ///
    /// # Errors
    /// No free ports.
    pub fn health(dir: &Path, free_ports: bool) -> anyhow::Result<Self> {
        let mut network = Self::standard(dir, free_ports)?;
        for (name, title) in [
            ("clinic", "Community clinic"),
            ("insurer", "Insurer"),
            ("waste", "Waste carrier and disposer"),
            ("research", "Research institute"),
            ("citizen", "Health card bureau"),
        ] {
            let member = network.newcomer(name, Some(title), free_ports)?;
            network.organizations.push(member);
        }
        for member in &mut network.organizations {
            member.has_gateway = true;
        }
        Ok(network)
    }

    /// A further member of that name, which is not in the network yet.
    ///
    /// # Errors
    /// The name cannot be one, or there are no ports for it.
    pub fn newcomer(
        &self,
        name: &str,
        title: Option<&str>,
        free_ports: bool,
    ) -> anyhow::Result<Organization> {
        let usable = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.len() <= 32
            && name
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
        anyhow::ensure!(
            usable,
            "`{name}` cannot be the name of an organization: up to 32 lower-case letters and \
             digits, a letter first"
        );
        // It begins with an ASCII letter.
        let capitalized = name[..1].to_ascii_uppercase() + &name[1..];
        Ok(Organization {
            name: name.to_owned(),
            msp_id: format!("{capitalized}MSP"),
            title: title.map_or(capitalized, str::to_owned),
            domain: format!("{name}.example"),
            ports: Ports::choose(&self.organizations, free_ports)?,
            has_orderer: false,
            has_gateway: false,
        })
    }

    /// Reads the description in `dir`.
    ///
    /// # Errors
    /// There is no network in that folder.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("network.json");
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "there is no network in {} (cannot read {}); start one with `consilium network up`",
                dir.display(),
                path.display()
            )
        })?;
        let mut network: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        network.dir = std::path::absolute(dir)?;
        Ok(network)
    }

    /// Writes the description.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let text = serde_json::to_vec_pretty(self)?;
        std::fs::write(self.dir.join("network.json"), text)
            .with_context(|| format!("cannot write to {}", self.dir.display()))
    }

    /// The organization called `name`.
    ///
    /// # Errors
    /// Lists the names there are.
    pub fn organization(&self, name: &str) -> anyhow::Result<&Organization> {
        self.organizations
            .iter()
            .find(|organization| organization.name == name || organization.msp_id == name)
            .with_context(|| {
                let names: Vec<_> = self
                    .organizations
                    .iter()
                    .map(|organization| organization.name.as_str())
                    .collect();
                format!("no organization `{name}`; there are {}", names.join(", "))
            })
    }

    /// The members that run orderers.
    pub fn orderers(&self) -> impl Iterator<Item = &Organization> {
        self.organizations
            .iter()
            .filter(|organization| organization.has_orderer)
    }

    /// Folder of an organization.
    pub fn organization_dir(&self, organization: &Organization) -> PathBuf {
        self.dir.join("organizations").join(&organization.domain)
    }

    /// Folder of a user's `msp` and `tls`.
    pub fn user_dir(&self, organization: &Organization, user: &str) -> PathBuf {
        self.organization_dir(organization)
            .join("users")
            .join(format!("{user}@{}", organization.domain))
    }

    /// Folder of an organization's peer.
    pub fn peer_dir(&self, organization: &Organization) -> PathBuf {
        self.organization_dir(organization)
            .join("peers")
            .join(format!("peer0.{}", organization.domain))
    }

    /// Folder of an organization's orderer.
    pub fn orderer_dir(&self, organization: &Organization) -> PathBuf {
        self.organization_dir(organization)
            .join("orderers")
            .join(format!("orderer0.{}", organization.domain))
    }

    /// Folder of an organization's gateway.
    pub fn gateway_dir(&self, organization: &Organization) -> PathBuf {
        self.organization_dir(organization)
            .join("gateways")
            .join(format!("gateway0.{}", organization.domain))
    }

    /// Folder of an organization's CA.
    pub fn ca_dir(&self, organization: &Organization) -> PathBuf {
        self.organization_dir(organization).join("ca")
    }

    /// The channel's genesis block.
    pub fn genesis_path(&self) -> PathBuf {
        self.dir
            .join("channel")
            .join(format!("{}.block", self.channel))
    }

    /// The key that makes pseudonyms of patients, the same for all gateways.
    pub fn pseudonym_key(&self) -> PathBuf {
        self.dir.join("channel").join("pseudonym.key")
    }
}

impl Organization {
    /// Where applications reach the peer.
    pub fn peer_endpoint(&self) -> String {
        format!("localhost:{}", self.ports.peer)
    }

    /// Where clients reach the orderer.
    pub fn orderer_endpoint(&self) -> String {
        format!("localhost:{}", self.ports.orderer)
    }

    /// Where the gateway listens.
    pub fn gateway_url(&self) -> String {
        format!("https://localhost:{}", self.ports.gateway)
    }

    /// Where the CA listens.
    pub fn ca_url(&self) -> String {
        format!("https://localhost:{}", self.ports.ca)
    }
}

impl Ports {
    /// Those of the member that comes after these.
    fn choose(members: &[Organization], free: bool) -> anyhow::Result<Self> {
        if free {
            return Self::free(members);
        }
        let base = u16::try_from(members.len())
            .ok()
            .and_then(|index| index.checked_mul(1000)?.checked_add(7050))
            .filter(|base| base.checked_add(7).is_some())
            .context("so many organizations have no fixed ports; take --free-ports")?;
        Ok(Self::from_base(base))
    }

    fn from_base(base: u16) -> Self {
        Self {
            orderer: base,
            peer: base + 1,
            peer_chaincode: base + 2,
            orderer_admin: base + 3,
            ca: base + 4,
            orderer_operations: base + 5,
            peer_operations: base + 6,
            gateway: base + 7,
        }
    }

    /// Eight on which nobody listens, nor will another member, whose nodes may not run yet.
    fn free(members: &[Organization]) -> anyhow::Result<Self> {
        let taken: BTreeSet<u16> = members
            .iter()
            .flat_map(|member| member.ports.all())
            .collect();
        // Held until all are found, so that none is found twice.
        let mut listeners = Vec::new();
        let mut ports = Vec::new();
        while ports.len() < 8 {
            let listener =
                TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
            let port = listener.local_addr()?.port();
            listeners.push(listener);
            if !taken.contains(&port) {
                ports.push(port);
            }
        }
        Ok(Self {
            orderer: ports[0],
            peer: ports[1],
            orderer_admin: ports[2],
            ca: ports[3],
            orderer_operations: ports[4],
            peer_operations: ports[5],
            peer_chaincode: ports[6],
            gateway: ports[7],
        })
    }

    /// All of them.
    pub fn all(&self) -> [u16; 8] {
        [
            self.orderer,
            self.peer,
            self.orderer_admin,
            self.ca,
            self.orderer_operations,
            self.peer_operations,
            self.peer_chaincode,
            self.gateway,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_is_named_after_its_short_name_and_runs_no_orderer() {
        let network = Network::standard(Path::new("net"), false).unwrap();
        let clinic = network.newcomer("clinic2", None, false).unwrap();
        assert_eq!(clinic.msp_id, "Clinic2MSP");
        assert_eq!(clinic.domain, "clinic2.example");
        assert_eq!(clinic.title, "Clinic2");
        assert_eq!(clinic.ports.peer, 10_051);
        assert!(!clinic.has_orderer);
        let titled = network.newcomer("insurer", Some("Insurer of all"), false);
        assert_eq!(titled.unwrap().title, "Insurer of all");
        for wrong in [
            "",
            "2clinic",
            "Clinic",
            "a-b",
            "a/b",
            "..",
            "é",
            &"a".repeat(33),
        ] {
            assert!(network.newcomer(wrong, None, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_two_members_get_the_same_free_port() {
        // Two of a few hundred would meet by chance in nearly every run.
        let mut network = Network::standard(Path::new("net"), true).unwrap();
        for n in 0..97 {
            let name = format!("member{n}");
            let member = network.newcomer(&name, None, true).unwrap();
            network.organizations.push(member);
        }
        let ports: Vec<_> = network
            .organizations
            .iter()
            .flat_map(|member| member.ports.all())
            .collect();
        let different: BTreeSet<_> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
    }

    #[test]
    fn who_stands_in_an_older_file_runs_an_orderer() {
        let network = Network::standard(Path::new("net"), false).unwrap();
        let mut written = serde_json::to_value(&network).unwrap();
        for member in written["organizations"].as_array_mut().unwrap() {
            member.as_object_mut().unwrap().remove("has_orderer");
        }
        let read: Network = serde_json::from_value(written).unwrap();
        assert!(read.organizations.iter().all(|member| member.has_orderer));
    }
}
