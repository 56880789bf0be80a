//! `consilium config check` on what `cryptogen` made: nothing is wrong with it, and then one thing is.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const ORGANIZATIONS: &str = "
OrdererOrgs:
  - {Domain: example.com, EnableNodeOUs: true, Specs: [{Hostname: orderer, SANS: [localhost]}]}
PeerOrgs:
  - {Domain: org1.example.com, EnableNodeOUs: true, Template: {Count: 1, SANS: [localhost]}, Users: {Count: 1}}
";

const CORE: &str = "
peer:
  id: peer0
  listenAddress: 127.0.0.1:PORT1
  address: peer0.org1.example.com:PORT1
  chaincodeListenAddress: 127.0.0.1:PORT2
  mspConfigPath: PEER/msp
  localMspId: Org1MSP
  fileSystemPath: data
  tls:
    enabled: true
    cert: {file: PEER/tls/server.crt}
    key: {file: PEER/tls/server.key}
    rootcert: {file: PEER/tls/ca.crt}
";

const ORDERER: &str = "
General:
  ListenAddress: 127.0.0.1
  ListenPort: PORT1
  LocalMSPDir: NODE/msp
  LocalMSPID: OrdererMSP
  TLS: {Enabled: true, Certificate: NODE/tls/server.crt, PrivateKey: NODE/tls/server.key, RootCAs: [NODE/tls/ca.crt]}
FileLedger: {Location: data}
Admin:
  ListenAddress: 127.0.0.1:PORT2
  TLS: {Enabled: true, ClientAuthRequired: true, Certificate: NODE/tls/server.crt, PrivateKey: NODE/tls/server.key, ClientRootCAs: [NODE/tls/ca.crt]}
";

const CHANNEL: &str = "
Profiles:
  One:
    Policies: &Usual
      Readers: {Type: ImplicitMeta, Rule: ANY Readers}
      Writers: {Type: ImplicitMeta, Rule: ANY Writers}
      Admins: {Type: ImplicitMeta, Rule: MAJORITY Admins}
    Capabilities: {V3_0: true}
    Orderer:
      OrdererType: etcdraft
      EtcdRaft:
        Consenters:
          - {Host: orderer.example.com, Port: 7050, ClientTLSCert: NODE/tls/server.crt, ServerTLSCert: NODE/tls/server.crt}
      Organizations:
        - Name: Orderer
          ID: OrdererMSP
          MSPDir: crypto/ordererOrganizations/example.com/msp
          OrdererEndpoints: ['orderer.example.com:7050']
          Policies: &Orderer
            Readers: {Type: Signature, Rule: \"OR('OrdererMSP.member')\"}
            Writers: {Type: Signature, Rule: \"OR('OrdererMSP.member')\"}
            Admins: {Type: Signature, Rule: \"OR('OrdererMSP.admin')\"}
      Policies: {<<: *Usual, BlockValidation: {Type: ImplicitMeta, Rule: ANY Writers}}
      Capabilities: {V2_0: true}
    Application:
      Organizations:
        - Name: Org1
          ID: Org1MSP
          MSPDir: crypto/peerOrganizations/org1.example.com/msp
          AnchorPeers: [{Host: peer0.org1.example.com, Port: 7051}]
          Policies:
            Readers: {Type: Signature, Rule: \"OR('Org1MSP.member')\"}
            Writers: {Type: Signature, Rule: \"OR('Org1MSP.member')\"}
            Admins: {Type: Signature, Rule: \"OR('Org1MSP.admin')\"}
            Endorsement: {Type: Signature, Rule: \"OR('Org1MSP.peer')\"}
      Policies:
        <<: *Usual
        Endorsement: {Type: ImplicitMeta, Rule: MAJORITY Endorsement}
        LifecycleEndorsement: {Type: ImplicitMeta, Rule: MAJORITY Endorsement}
      Capabilities: {V2_5: true}
";

fn consilium(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consilium"));
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if ["CORE_", "ORDERER_", "CONFIGTX_"]
            .iter()
            .any(|prefix| shown.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    let output = command.args(arguments).current_dir(folder).output();
    output.expect("the program starts")
}

/// Writes a file with free ports and the folders of nodes in their places, and checks it.
fn check(folder: &Path, file: &str, text: &str) -> (Option<i32>, String) {
    let free = [0, 0].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let ports = free
        .each_ref()
        .map(|listener| listener.local_addr().expect("bound").port());
    drop(free);
    let text = text
        .replace("PORT1", &ports[0].to_string())
        .replace("PORT2", &ports[1].to_string())
        .replace(
            "PEER",
            "crypto/peerOrganizations/org1.example.com/peers/peer0.org1.example.com",
        )
        .replace(
            "NODE",
            "crypto/ordererOrganizations/example.com/orderers/orderer.example.com",
        );
    fs::write(folder.join(file), text).expect("written");
    let output = consilium(folder, &["config", "check", file]);
    let said = String::from_utf8(output.stdout).expect("a text");
    (output.status.code(), said)
}

#[test]
fn mistakes_are_found_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("crypto.yaml"), ORGANIZATIONS).expect("written");
    let made = consilium(
        folder,
        &[
            "cryptogen",
            "generate",
            "--config",
            "crypto.yaml",
            "--output",
            "crypto",
        ],
    );
    assert!(made.status.success(), "{made:?}");

    for (file, text, fact) in [
        (
            "core.yaml",
            CORE,
            "signs as peer0.org1.example.com, a peer of Org1MSP",
        ),
        (
            "orderer.yaml",
            ORDERER,
            "signs as orderer.example.com, a orderer of OrdererMSP",
        ),
        (
            "configtx.yaml",
            CHANNEL,
            "organizations OrdererMSP, Org1MSP",
        ),
    ] {
        let (code, said) = check(folder, file, text);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(fact), "{said}");
        assert!(
            !said.contains("warning") && !said.contains("MISTAKE"),
            "{said}"
        );
    }

    for (file, text, from, to, expected) in [
        (
            "core.yaml",
            CORE,
            "peer:",
            "pear:",
            "MISTAKE none of peer (core.yaml)",
        ),
        ("core.yaml", CORE, "  id: peer0\n", "", "missing field `id`"),
        (
            "core.yaml",
            CORE,
            "127.0.0.1:PORT2",
            "127.0.0.1:PORT1",
            "is taken by peer.listenAddress",
        ),
        (
            "core.yaml",
            CORE,
            "address: peer0.org1.example.com",
            "address: other.example.com",
            "others dial other.example.com",
        ),
        (
            "core.yaml",
            CORE,
            "address: peer0.org1.example.com:PORT1",
            "address: 0.0.0.0:PORT1",
            "nobody can dial 0.0.0.0",
        ),
        (
            "core.yaml",
            CORE,
            "PEER/tls/server.key",
            "PEER/msp/keystore/priv_sk",
            "MISTAKE peer.tls.key.file",
        ),
        (
            "core.yaml",
            CORE,
            "PEER/tls/server.crt",
            "absent.crt",
            "MISTAKE peer.tls.cert.file: ",
        ),
        (
            "core.yaml",
            CORE,
            "PEER/tls/ca.crt",
            "PEER/msp/cacerts/ca.org1.example.com-cert.pem",
            "not issued by any of the trusted",
        ),
        (
            "core.yaml",
            CORE,
            "enabled: true",
            "enabled: false",
            "MISTAKE peer.tls.enabled",
        ),
        (
            "core.yaml",
            CORE,
            "PEER/msp",
            "crypto/peerOrganizations/org1.example.com/users/User1@org1.example.com/msp",
            "is a client, and not a peer",
        ),
        (
            "core.yaml",
            CORE,
            "  id: peer0",
            "  id: peer0\n  gosip: {}",
            "warning peer.gosip: is not supported",
        ),
        (
            "orderer.yaml",
            ORDERER,
            "ClientAuthRequired: true",
            "ClientAuthRequired: false",
            "MISTAKE Admin.TLS",
        ),
        (
            "orderer.yaml",
            ORDERER,
            "ClientRootCAs: [NODE/tls/ca.crt]",
            "ClientRootCAs: []",
            "trusts no administrator",
        ),
        (
            "orderer.yaml",
            ORDERER,
            "NODE/msp",
            "nowhere",
            "MISTAKE General.LocalMSPDir",
        ),
        (
            "configtx.yaml",
            CHANNEL,
            "OR('Org1MSP.peer')",
            "OR('Org2MSP.peer')",
            "names Org2MSP, which is the ID of no organization",
        ),
        (
            "configtx.yaml",
            CHANNEL,
            "Host: orderer.example.com",
            "Host: elsewhere.example.com",
            "others dial elsewhere.example.com",
        ),
        (
            "configtx.yaml",
            CHANNEL,
            "OrdererEndpoints: ['orderer.example.com:7050']",
            "OrdererEndpoints: [orderer.example.com]",
            "is not of the form HOST:PORT",
        ),
        (
            "configtx.yaml",
            CHANNEL,
            "OrdererType: etcdraft",
            "OrdererType: raft",
            "unknown orderer type: raft",
        ),
        (
            "configtx.yaml",
            CHANNEL,
            "Port: 7050,",
            "Prot: 7050,",
            "no such key: configtxgen refuses it",
        ),
        (
            "configtx.yaml",
            CHANNEL,
            "Capabilities: {V2_5: true}",
            "Capabilities: {V9_9: true}",
            "no node accepts the channel",
        ),
        (
            "configtx.yaml",
            CHANNEL,
            "MAJORITY Endorsement}\n      Capabilities",
            "SOME Endorsement}\n      Capabilities",
            "SOME Endorsement",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let (code, said) = check(folder, file, &text.replace(from, to));
        assert!(said.contains(expected), "{from} → {to}\n{said}");
        let is_mistake = said.contains("MISTAKE");
        assert_eq!(code, Some(i32::from(is_mistake)), "{said}");
    }

    let msp = "crypto/peerOrganizations/org1.example.com/msp";
    let output = consilium(folder, &["config", "check", msp, "--msp-id", "Org1MSP"]);
    let said = String::from_utf8(output.stdout).expect("a text");
    assert!(
        said.contains("Org1MSP trusts ca.org1.example.com"),
        "{said}"
    );
    assert!(output.status.success(), "{said}");
}
