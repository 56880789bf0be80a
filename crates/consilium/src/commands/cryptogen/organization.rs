//! The folders of an organization, under the names that Fabric's cryptogen gives them.
//! fabric: cmd/cryptogen/main.go, internal/cryptogen/msp
//!
//! ```text
//! peerOrganizations/org1.example.com/
//!     ca/      ca.org1.example.com-cert.pem, priv_sk
//!     tlsca/   tlsca.org1.example.com-cert.pem, priv_sk
//!     msp/     what others need to verify members
//!     peers/   peer0.org1.example.com/{msp,tls}
//!     users/   Admin@org1.example.com/{msp,tls}, User1@…
//! ```

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::authority::{Authority, Key, Request, Use};
use super::specification::{Node, Organization};

/// What an organization runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Peers, and users besides the administrator.
    Peers,
    /// Orderers.
    Orderers,
}

impl Kind {
    /// `peer` or `orderer`: of names, and of the unit in certificates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peers => "peer",
            Self::Orderers => "orderer",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Peers => "peerOrganizations",
            Self::Orderers => "ordererOrganizations",
        }
    }
}

/// Where an organization lies.
struct Site<'a> {
    folder: PathBuf,
    kind: Kind,
    spec: &'a Organization,
    signing: Authority,
    tls: Authority,
}

/// Someone with folders of their own.
struct Member<'a> {
    name: &'a str,
    unit: &'static str,
    hosts: &'a [String],
    algorithm: &'a str,
}

/// Makes an organization.
///
/// # Errors
/// What could not be made, in the words of Fabric's cryptogen.
pub fn generate(base: &Path, kind: Kind, spec: &Organization) -> anyhow::Result<()> {
    let domain = spec.domain.as_str();
    if kind == Kind::Peers {
        println!("{domain}");
    }
    let folder = base.join(kind.folder()).join(domain);
    let create = |called: &str, below: &str, name: String| {
        let doing = || format!("Error generating {called} for org {domain}:\n");
        let (authority, key) = Authority::create(domain, &name, &spec.ca).with_context(doing)?;
        let below = folder.join(below);
        write_secret(&below.join("priv_sk"), key.as_bytes()).with_context(doing)?;
        write(
            &certificate(&below, &authority.name),
            authority.certificate_pem.as_bytes(),
        )
        .with_context(doing)?;
        anyhow::Ok(authority)
    };
    let name = spec.ca.common_name.as_str();
    let site = Site {
        signing: create("signCA", "ca", name.to_owned())?,
        tls: create("tlsCA", "tlsca", format!("tls{name}"))?,
        folder,
        kind,
        spec,
    };
    site.verifying_msp()
        .with_context(|| format!("Error generating MSP for org {domain}:\n"))?;
    site.nodes()?;
    if kind == Kind::Peers {
        site.users()?;
    }
    site.administrator()?;
    site.admin_certificates(&site.folder.join("msp"))?;
    site.admin_certificates_of_nodes()
}

/// Adds the nodes and users that a specification names and that are not there yet; an organization
/// that is not there at all is made.
///
/// # Errors
/// What could not be made or read.
pub fn extend(base: &Path, kind: Kind, spec: &Organization) -> anyhow::Result<()> {
    let folder = base.join(kind.folder()).join(&spec.domain);
    if !folder.exists() {
        return generate(base, kind, spec);
    }
    let open = |below: &str, name: String| {
        let below = folder.join(below);
        let doing = || format!("cannot use the authority in {}", below.display());
        let key = fs::read(file_that_ends(&below, "_sk").with_context(doing)?)?;
        let pem = fs::read(file_that_ends(&below, ".pem").with_context(doing)?)?;
        Authority::open(&name, &spec.ca, &pem, &key).with_context(doing)
    };
    let name = spec.ca.common_name.as_str();
    let site = Site {
        signing: open("ca", name.to_owned())?,
        tls: open("tlsca", format!("tls{name}"))?,
        folder,
        kind,
        spec,
    };
    site.nodes()?;
    site.admin_certificates_of_nodes()?;
    if kind == Kind::Peers {
        site.users()?;
    }
    Ok(())
}

impl Site<'_> {
    fn nodes_folder(&self) -> PathBuf {
        self.folder.join(format!("{}s", self.kind.name()))
    }

    fn nodes(&self) -> anyhow::Result<()> {
        for node in &self.spec.specs {
            let member = Member {
                name: &node.common_name,
                unit: self.kind.name(),
                hosts: &node.hosts,
                algorithm: &node.public_key_algorithm,
            };
            self.member(&self.nodes_folder(), &member)?;
        }
        Ok(())
    }

    fn users(&self) -> anyhow::Result<()> {
        for number in 1..=self.spec.users.count {
            let member = Member {
                name: &format!("User{number}@{}", self.spec.domain),
                unit: "client",
                hosts: &[],
                algorithm: self.spec.users.algorithm(),
            };
            self.member(&self.folder.join("users"), &member)?;
        }
        Ok(())
    }

    fn admin(&self) -> String {
        format!("Admin@{}", self.spec.domain)
    }

    fn administrator(&self) -> anyhow::Result<()> {
        let member = Member {
            name: &self.admin(),
            unit: if self.spec.enable_node_ous {
                "admin"
            } else {
                "client"
            },
            hosts: &[],
            algorithm: "ecdsa",
        };
        self.member(&self.folder.join("users"), &member)
    }

    /// Makes `msp` and `tls` of somebody who is not there yet.
    fn member(&self, below: &Path, member: &Member<'_>) -> anyhow::Result<()> {
        let folder = below.join(member.name);
        if folder.exists() {
            return Ok(());
        }
        self.local_msp(&folder.join("msp"), member)
            .and_then(|()| self.tls_folder(&folder.join("tls"), member))
            .with_context(|| format!("Error generating local MSP for {}:\n", member.name))
    }

    fn local_msp(&self, folder: &Path, member: &Member<'_>) -> anyhow::Result<()> {
        let (key, pem) = Key::generate(member.algorithm)?;
        let issued = self.signing.issue(&Request {
            name: member.name,
            unit: self.spec.enable_node_ous.then_some(member.unit),
            hosts: &[],
            key: &key,
            usage: Use::Identity,
        })?;
        self.authorities(folder)?;
        write_secret(&folder.join("keystore/priv_sk"), pem.as_bytes())?;
        write(
            &certificate(&folder.join("signcerts"), member.name),
            issued.as_bytes(),
        )?;
        if !self.spec.enable_node_ous {
            write(
                &certificate(&folder.join("admincerts"), member.name),
                issued.as_bytes(),
            )?;
        }
        Ok(())
    }

    fn tls_folder(&self, folder: &Path, member: &Member<'_>) -> anyhow::Result<()> {
        let (key, pem) = Key::generate(member.algorithm)?;
        let issued = self.tls.issue(&Request {
            name: member.name,
            unit: None,
            hosts: member.hosts,
            key: &key,
            usage: Use::Tls,
        })?;
        let files = match member.unit {
            "client" | "admin" => "client",
            _ => "server",
        };
        write(&folder.join("ca.crt"), self.tls.certificate_pem.as_bytes())?;
        write(&folder.join(format!("{files}.crt")), issued.as_bytes())?;
        write_secret(&folder.join(format!("{files}.key")), pem.as_bytes())
    }

    /// The organization's MSP: what others need to verify its members.
    fn verifying_msp(&self) -> anyhow::Result<()> {
        self.authorities(&self.folder.join("msp"))
    }

    /// The authorities' certificates and, with NodeOUs, `config.yaml`.
    fn authorities(&self, msp: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(msp.join("admincerts"))?;
        for (below, authority) in [("cacerts", &self.signing), ("tlscacerts", &self.tls)] {
            write(
                &certificate(&msp.join(below), &authority.name),
                authority.certificate_pem.as_bytes(),
            )?;
        }
        if self.spec.enable_node_ous {
            let file = format!("cacerts/{}-cert.pem", self.signing.name);
            write(&msp.join("config.yaml"), node_ous(&file).as_bytes())?;
        }
        Ok(())
    }

    /// The administrator's certificate becomes the only one in `admincerts`, where no unit tells who
    /// the administrators are.
    fn admin_certificates(&self, msp: &Path) -> anyhow::Result<()> {
        if self.spec.enable_node_ous {
            return Ok(());
        }
        let name = self.admin();
        let folder = msp.join("admincerts");
        let target = certificate(&folder, &name);
        if target.exists() {
            return Ok(());
        }
        let source = self.folder.join("users").join(&name).join("msp/signcerts");
        let source = certificate(&source, &name);
        let copied = fs::read(&source)
            .with_context(|| source.display().to_string())
            .and_then(|content| {
                if folder.exists() {
                    fs::remove_dir_all(&folder)?;
                }
                write(&target, &content)
            });
        copied.with_context(|| format!("Error copying admin cert for org {}:\n", self.spec.domain))
    }

    fn admin_certificates_of_nodes(&self) -> anyhow::Result<()> {
        let nodes: &[Node] = &self.spec.specs;
        nodes.iter().try_for_each(|node| {
            self.admin_certificates(&self.nodes_folder().join(&node.common_name).join("msp"))
        })
    }
}

/// `config.yaml` of an MSP in which a certificate's unit tells what its owner is.
fn node_ous(certificate: &str) -> String {
    let roles = ["Client", "Peer", "Admin", "Orderer"].map(|role| {
        format!(
            "    {role}OUIdentifier:\n        Certificate: {certificate}\n        \
             OrganizationalUnitIdentifier: {}\n",
            role.to_lowercase()
        )
    });
    format!("NodeOUs:\n    Enable: true\n{}", roles.concat())
}

fn certificate(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}-cert.pem"))
}

/// The last file below a folder whose name ends so, as Fabric looks for keys and certificates.
fn file_that_ends(folder: &Path, end: &str) -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    found.sort();
    found
        .pop()
        .with_context(|| format!("there is no file *{end}"))
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_with(path, content, 0o644)
}

fn write_secret(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_with(path, content, 0o600)
}

fn write_with(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    use std::io::Write as _;
    let written = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        options.open(path)?.write_all(content)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
