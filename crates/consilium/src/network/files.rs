//! Configuration files of the nodes of a local network.

use std::{fs, path::Path};

use anyhow::Context;

use super::plan::{Network, Organization};

/// Writes `orderer.yaml`.
///
/// # Errors
/// The file cannot be written.
pub fn write_orderer(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let ports = organization.ports;
    let roots = root_files(network, organization, "      ");
    let yaml = format!(
        "General:
  ListenAddress: 127.0.0.1
  ListenPort: {listen}
  LocalMSPDir: msp
  LocalMSPID: {msp_id}
  TLS:
    Enabled: true
    Certificate: tls/server.crt
    PrivateKey: tls/server.key
    ClientAuthRequired: true
    RootCAs:
{roots}
    ClientRootCAs:
{roots}
  Certificates:
    Renewal:
      URL: {authority}
      RootCert: tls/ca.crt
FileLedger:
  Location: data
Admin:
  ListenAddress: 127.0.0.1:{admin}
  TLS:
    Enabled: true
    Certificate: tls/server.crt
    PrivateKey: tls/server.key
    ClientAuthRequired: true
    ClientRootCAs:
      - tls/ca.crt
Operations:
  ListenAddress: 127.0.0.1:{operations}
",
        listen = ports.orderer,
        msp_id = organization.msp_id,
        admin = ports.orderer_admin,
        operations = ports.orderer_operations,
        authority = organization.ca_url(),
    );
    write(
        &network.orderer_dir(organization).join("orderer.yaml"),
        &yaml,
    )
}

/// Writes `core.yaml`.
///
/// # Errors
/// The file cannot be written.
pub fn write_peer(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let ports = organization.ports;
    let yaml = format!(
        "peer:
  id: peer0.{domain}
  networkId: {channel}
  listenAddress: 127.0.0.1:{listen}
  address: localhost:{listen}
  chaincodeListenAddress: 127.0.0.1:{chaincode_port}
  mspConfigPath: msp
  localMspId: {msp_id}
  fileSystemPath: data
  gossip:
    externalEndpoint: localhost:{listen}
  tls:
    enabled: true
    clientAuthRequired: true
    cert: {{file: tls/server.crt}}
    key: {{file: tls/server.key}}
    rootcert: {{file: tls/ca.crt}}
    clientRootCAs:
      files:
{roots}
  certificates:
    renewal:
      url: {authority}
      rootCert: tls/ca.crt
{chaincode}operations:
  listenAddress: 127.0.0.1:{operations}
",
        chaincode_port = ports.peer_chaincode,
        chaincode = chaincode(network),
        domain = organization.domain,
        channel = network.channel,
        listen = ports.peer,
        msp_id = organization.msp_id,
        roots = root_files(network, organization, "        "),
        operations = ports.peer_operations,
        authority = organization.ca_url(),
    );
    write(&network.peer_dir(organization).join("core.yaml"), &yaml)
}

/// Writes `gateway.yaml`.
///
/// # Errors
/// The file cannot be written.
pub fn write_gateway(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let yaml = format!(
        "listenAddress: 127.0.0.1:{listen}
externalUrl: {url}
tls:
  cert: tls/server.crt
  key: tls/server.key
  clientRootCAs:
    - tls/ca.crt
peer:
  address: {peer}
  rootCert: tls/ca.crt
  clientCert: tls/server.crt
  clientKey: tls/server.key
channel: {channel}
mspId: {msp_id}
wallet: ../../users
data: data
pseudonymKey: {pseudonym_key}
{key_service}",
        key_service = key_service(organization),
        listen = organization.ports.gateway,
        url = organization.gateway_url(),
        peer = organization.peer_endpoint(),
        channel = network.channel,
        msp_id = organization.msp_id,
        pseudonym_key = network.pseudonym_key().display(),
    );
    write(
        &network.gateway_dir(organization).join("gateway.yaml"),
        &yaml,
    )
}

/// Only providers and research keep records (`consilium_contracts::roles`). A gateway without a key
/// service takes a maker's Device for a unit, and searches what others keep.
fn key_service(organization: &Organization) -> String {
    match organization.msp_id.as_str() {
        "HospitalMSP" | "ClinicMSP" | "ResearchMSP" => format!("keyService: {KEY_SERVICE}\n"),
        _ => String::new(),
    }
}

/// The user that confirms at a gateway that keys of documents were released.
pub const KEY_SERVICE: &str = "keys";

/// Variables of a developer's shell that the usual tools of the four languages want to see.
const PROPAGATED: [&str; 10] = [
    "HOME",
    "GOCACHE",
    "GOFLAGS",
    "GOMODCACHE",
    "GOPATH",
    "GOPROXY",
    "JAVA_HOME",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cache",
    "npm_config_registry",
];

/// The section of `core.yaml` about chaincode; nothing for what the peers do by themselves.
fn chaincode(network: &Network) -> String {
    if network.builders.is_empty() && !network.development {
        return String::new();
    }
    let mode = if network.development { "dev" } else { "net" };
    let mut yaml = format!("chaincode:\n  mode: {mode}\n");
    if !network.builders.is_empty() {
        yaml.push_str("  externalBuilders:\n");
    }
    for folder in &network.builders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        // JSON strings are YAML strings, whatever is in them.
        let [name, path] =
            [name, folder.to_string_lossy()].map(|text| serde_json::Value::from(text).to_string());
        let propagated = PROPAGATED.join(", ");
        yaml.push_str(&format!(
            "    - name: {name}\n      path: {path}\n      propagateEnvironment: [{propagated}]\n"
        ));
    }
    yaml
}

/// The TLS roots of all organizations, relative to a node's folder, the own first.
fn root_files(network: &Network, own: &Organization, indent: &str) -> String {
    let mut members: Vec<_> = network.organizations.iter().collect();
    members.sort_by_key(|member| member.name != own.name);
    let lines: Vec<_> = members
        .iter()
        .map(|member| {
            format!(
                "{indent}- ../../../{}/msp/tlscacerts/tlsca-cert.pem",
                member.domain
            )
        })
        .collect();
    lines.join("\n")
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
