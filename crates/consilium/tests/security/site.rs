//! An orderer, a peer and a certificate authority, each a process of the real program.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use consilium_client::Admin;
use consilium_proto::common::Block;
use consilium_testkit::{Credential, NodeOu, network};
use consilium_transport::{ClientTls, TlsIdentity};
use prost::Message;
use tonic::transport::Channel;

use crate::attempts;
use crate::http;
use crate::people::{People, Shown};
use crate::table::Entry;
use crate::tls::{self, Door};

pub const CHANNEL: &str = "health";
/// Name and secret of the authority's registrar.
pub const REGISTRAR: (&str, &str) = ("registrar", "registrar's secret");
/// Connections that the peer takes from one address; it is told so.
pub const CROWD: usize = 10_000;

const PATIENCE: Duration = Duration::from_secs(60);

/// The network under attack.
pub struct Site {
    pub people: People,
    folder: tempfile::TempDir,
    _processes: Vec<Process>,
    peer: Door,
    chaincode: Door,
    orderer: Door,
    participation: Door,
    operations: Door,
    ca: Door,
    /// The orderer's own TLS certificate, with which it speaks to other orderers.
    orderer_tls: Credential,
}

impl Site {
    pub async fn start() -> Self {
        allow_files();
        let people = People::new();
        let folder = tempfile::tempdir().expect("a folder");
        let [peer, chaincode, orderer, participation, operations, ca] = ports();
        let orderer_tls = people.ordering.tls(&[]);
        let genesis = genesis(&people, orderer, &orderer_tls);
        let operators = people.operators.cert_pem().to_owned();
        let door = |port: u16, root: &str, http2| Door {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            root: root.to_owned(),
            http2,
        };
        let (ours, theirs) = (people.hospital.tls_ca(), people.ordering.tls_ca());
        write_orderer(
            &people,
            folder.path(),
            &orderer_tls,
            [orderer, participation],
        );
        write_peer(&people, folder.path(), [peer, chaincode, operations]);
        let mut site = Self {
            peer: door(peer, ours.cert_pem(), true),
            chaincode: door(chaincode, "", true),
            orderer: door(orderer, theirs.cert_pem(), true),
            participation: door(participation, theirs.cert_pem(), false),
            operations: door(operations, ours.cert_pem(), false),
            ca: door(ca, &operators, false),
            _processes: Vec::new(),
            orderer_tls,
            people,
            folder,
        };
        let home = site.path("ca");
        fs::create_dir_all(&home).expect("a folder");
        fs::write(site.path("secret"), REGISTRAR.1).expect("a file");
        let listen = format!("127.0.0.1:{ca}");
        let secret = site.path("secret");
        site._processes = vec![
            Process::start(
                folder_of(&site),
                "orderer",
                &["orderer", "start", "--config"],
                Some("orderer/orderer.yaml"),
            ),
            Process::start(
                folder_of(&site),
                "peer",
                &["peer", "start", "--config"],
                Some("peer/core.yaml"),
            ),
            Process::start(
                folder_of(&site),
                "ca",
                &[
                    "ca",
                    "start",
                    "--name",
                    "ca",
                    "--organization",
                    "Hospital",
                    "--listen",
                    &listen,
                    "--admin",
                    REGISTRAR.0,
                    "--admin-secret-file",
                    &secret.to_string_lossy(),
                    "--home",
                    &home.to_string_lossy(),
                ],
                None,
            ),
        ];
        site.ca.root = site.ca_root().await;
        site.join(&genesis).await;
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the nodes said last.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for name in ["orderer", "peer", "ca"] {
            let log = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            let from = log.ceil_char_boundary(log.len().saturating_sub(3000));
            all.push_str(&format!("--- {name}\n{}\n", &log[from..]));
        }
        all
    }

    /// Where an entry point is.
    pub fn door(&self, entry: Entry) -> &Door {
        match entry {
            Entry::Endorser | Entry::Gateway | Entry::Deliver | Entry::Discovery => &self.peer,
            Entry::Gossip | Entry::Package => &self.peer,
            Entry::Broadcast | Entry::Cluster => &self.orderer,
            Entry::Participation => &self.participation,
            Entry::Operations => &self.operations,
            Entry::Ca => &self.ca,
            Entry::Chaincode => &self.chaincode,
        }
    }

    /// Connections that one address may have there, by settings or by default.
    pub fn most_of_one_address(&self, entry: Entry) -> usize {
        match entry {
            Entry::Broadcast | Entry::Cluster => CROWD / 10,
            Entry::Participation | Entry::Operations => 2_048,
            Entry::Ca => 512,
            _ => CROWD,
        }
    }

    /// A TLS certificate to show there.
    pub fn shown(&self, entry: Entry, shown: Shown) -> Option<Credential> {
        let trusted = match entry {
            Entry::Participation | Entry::Operations => &self.people.operators,
            Entry::Broadcast | Entry::Cluster => self.people.ordering.tls_ca(),
            _ => self.people.hospital.tls_ca(),
        };
        self.people.tls(trusted, shown)
    }

    /// A gRPC connection as those have it who may, and the hash of the certificate that it is bound to.
    pub async fn channel(&self, entry: Entry) -> Result<(Channel, Bytes), String> {
        let credential = match entry {
            Entry::Cluster => self.orderer_tls.clone(),
            _ => self.shown(entry, Shown::Good).expect("a certificate"),
        };
        self.channel_as(entry, &credential).await
    }

    pub async fn channel_as(
        &self,
        entry: Entry,
        credential: &Credential,
    ) -> Result<(Channel, Bytes), String> {
        let (certificate, key) = (&credential.cert_pem, &credential.key_pem);
        let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes())
            .map_err(|error| error.to_string())?;
        let hash = Bytes::copy_from_slice(&identity.leaf_hash());
        let door = self.door(entry);
        let roots = [Bytes::copy_from_slice(door.root.as_bytes())];
        let tls = ClientTls::new(Some(identity), &roots).map_err(|error| error.to_string())?;
        let address = format!("localhost:{}", door.address.port());
        let connecting = consilium_transport::connect_once(&address, Some(tls), PATIENCE);
        let (channel, _) = connecting.await.map_err(|error| error.to_string())?;
        Ok((channel, hash))
    }

    /// Whether those who may are served.
    pub async fn serves(&self, entry: Entry) -> Result<(), String> {
        let answer = match entry {
            Entry::Chaincode => {
                // Only a process that this peer started has a certificate for it.
                let greeting = tls::greeting(self.door(entry), None).await;
                return match greeting.as_str() {
                    "TLS alert certificate_required" => Ok(()),
                    other => Err(other.to_owned()),
                };
            }
            Entry::Participation => self.get(entry, "/participation/v1/channels").await,
            Entry::Operations => self.get(entry, "/metrics").await,
            Entry::Ca => self.get(entry, "/cainfo").await,
            Entry::Package => {
                let (channel, _) = self.channel(entry).await?;
                let admin = Admin::new(channel, self.people.admin());
                let channels = admin.channels().await.map_err(|error| error.to_string())?;
                format!("OK {channels:?}")
            }
            _ => {
                let client: Arc<dyn consilium_msp::Signer> = self.people.client();
                attempts::ask(self, entry, &client, CHANNEL).await
            }
        };
        match answer.starts_with("OK") {
            true => Ok(()),
            false => Err(answer),
        }
    }

    async fn get(&self, entry: Entry, path: &str) -> String {
        let credential = self.shown(entry, Shown::Good);
        let request = http::request("GET", path, &[], b"");
        match http::exchange(self.door(entry), credential.as_ref(), &request).await {
            Ok(answer) if answer.status == 200 => "OK".to_owned(),
            Ok(answer) => format!("{} {}", answer.status, answer.body),
            Err(error) => error,
        }
    }

    /// The root of the authority's own TLS certificate, once it listens.
    async fn ca_root(&self) -> String {
        let home = self.path("ca");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if tokio::net::TcpStream::connect(self.ca.address)
                .await
                .is_ok()
            {
                return certificates_in(&home);
            }
            assert!(Instant::now() < deadline, "no authority\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn join(&self, genesis: &Block) {
        let block = genesis.encode_to_vec();
        let boundary = "of-the-suite";
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"config-block\"; \
             filename=\"block\"\r\n\r\n"
        );
        let body = [
            head.as_bytes(),
            &block,
            format!("\r\n--{boundary}--\r\n").as_bytes(),
        ]
        .concat();
        let kind = format!("multipart/form-data; boundary={boundary}");
        let path = "/participation/v1/channels";
        let request = http::request("POST", path, &[("content-type", &kind)], &body);
        let credential = self.shown(Entry::Participation, Shown::Good);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = http::exchange(&self.participation, credential.as_ref(), &request).await;
            match answer {
                Ok(answer) if answer.status == 201 => break,
                Ok(answer) => panic!("{} {}\n{}", answer.status, answer.body, self.logs()),
                Err(error) => assert!(Instant::now() < deadline, "{error}\n{}", self.logs()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        loop {
            if let Ok((channel, _)) = self.channel(Entry::Endorser).await {
                let admin = Admin::new(channel, self.people.admin());
                admin.join(block.into()).await.expect("the peer joins");
                break;
            }
            assert!(Instant::now() < deadline, "no peer\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for entry in Entry::ALL {
            while let Err(reason) = self.serves(entry).await {
                assert!(
                    Instant::now() < deadline,
                    "{entry}: {reason}\n{}",
                    self.logs()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn folder_of(site: &Site) -> &Path {
    site.folder.path()
}

fn genesis(people: &People, port: u16, tls: &Credential) -> Block {
    let consenter = network::consenter("127.0.0.1", port, tls);
    let members = [&people.ordering, &people.hospital];
    let mut profile = network::profile(CHANNEL, &members, vec![consenter]);
    profile.organizations[0].is_application = false;
    let hospital = &mut profile.organizations[1];
    hospital.msp_config.revocation_list = vec![people.revocations().into()];
    network::block(&profile)
}

/// Files that the nodes' settings name.
fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn write_orderer(people: &People, folder: &Path, tls: &Credential, ports: [u16; 2]) {
    let folder = folder.join("orderer");
    let identity = people.ordering.issue("orderer", NodeOu::Orderer);
    let written = people
        .ordering
        .write_msp(&folder.join("msp"), Some(&identity));
    written
        .and_then(|()| people.ordering.write_tls(&folder.join("tls"), tls))
        .expect("folders");
    write(
        &folder,
        "tls/hospital.crt",
        people.hospital.tls_ca().cert_pem(),
    );
    write(&folder, "tls/operators.crt", people.operators.cert_pem());
    let [listen, admin] = ports;
    let settings = format!(
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
    RootCAs: [tls/ca.crt]
    ClientRootCAs: [tls/ca.crt]
  Limits:
    Connections: {{Total: {total}, PerAddress: {few}, RequestPause: 1s, Stall: 2s}}
FileLedger: {{Location: data}}
Admin:
  ListenAddress: 127.0.0.1:{admin}
  TLS:
    Enabled: true
    Certificate: tls/server.crt
    PrivateKey: tls/server.key
    ClientAuthRequired: true
    ClientRootCAs: [tls/operators.crt]
",
        msp_id = people.ordering.msp_id(),
        few = CROWD / 10,
        total = CROWD / 5,
    );
    write(&folder, "orderer.yaml", &settings);
}

fn write_peer(people: &People, folder: &Path, ports: [u16; 3]) {
    let folder = folder.join("peer");
    let identity = people.hospital.issue("peer0", NodeOu::Peer);
    let written = people
        .hospital
        .write_msp(&folder.join("msp"), Some(&identity));
    let tls = people.hospital.tls(&[]);
    written
        .and_then(|()| people.hospital.write_tls(&folder.join("tls"), &tls))
        .expect("folders");
    write(&folder, "tls/operators.crt", people.operators.cert_pem());
    // What is revoked on the channel, operators also put where the node reads its own MSP.
    let list = STANDARD.encode(people.revocations());
    let list = format!("-----BEGIN X509 CRL-----\n{list}\n-----END X509 CRL-----\n");
    write(&folder, "msp/crls/crl.pem", &list);
    // It takes no package; but with it there is a listener for what builders start.
    write(&folder, "builder/bin/detect", "#!/bin/sh\nexit 1\n");
    write(&folder, "builder/bin/build", "#!/bin/sh\nexit 1\n");
    for program in ["detect", "build"] {
        let path = folder.join("builder/bin").join(program);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    let [listen, chaincode, operations] = ports;
    let settings = format!(
        "peer:
  id: peer0
  listenAddress: 127.0.0.1:{listen}
  address: localhost:{listen}
  chaincodeListenAddress: 127.0.0.1:{chaincode}
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
  limits:
    connections: {{total: {total}, perAddress: {CROWD}, requestPause: 1s, stall: 2s}}
chaincode:
  externalBuilders: [{{name: nobody, path: builder}}]
operations:
  listenAddress: 127.0.0.1:{operations}
  tls:
    enabled: true
    clientAuthRequired: false
    cert: {{file: tls/server.crt}}
    key: {{file: tls/server.key}}
    clientRootCAs: {{files: [tls/operators.crt]}}
",
        msp_id = people.hospital.msp_id(),
        total = CROWD + 1000,
    );
    write(&folder, "core.yaml", &settings);
}

/// All certificates in a folder: one of them is the authority's root.
fn certificates_in(folder: &Path) -> String {
    let mut found = String::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.push_str(&certificates_in(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "pem" || extension == "crt")
        {
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text.contains("BEGIN CERTIFICATE") {
                found.push_str(&text);
                found.push('\n');
            }
        }
    }
    found
}

/// Free ports; all are taken at once so that they differ.
fn ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

/// Ten thousand connections are as many files.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum;
    let raised = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, raised).expect("as many files as the system allows");
    let enough = most.is_none_or(|most| most > CROWD as u64 + 2_000);
    assert!(
        enough,
        "this test needs {} open files: ulimit -Hn is {most:?}",
        CROWD + 2_000
    );
}

/// A running node; killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(folder: &Path, name: &str, args: &[&str], settings: Option<&str>) -> Self {
        let log = File::create(folder.join(format!("{name}.log"))).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_consilium"));
        command
            .args(args)
            .env_remove("FABRIC_LOGGING_SPEC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(settings) = settings {
            command.arg(folder.join(settings));
        }
        Self(command.spawn().expect("the program starts"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A signer whose signatures are of something else than what is sent.
pub struct Tampering(pub Arc<consilium_msp::SoftwareSigner>);

impl consilium_msp::Signer for Tampering {
    fn msp_id(&self) -> &str {
        self.0.msp_id()
    }

    fn serialized(&self) -> &Bytes {
        self.0.serialized()
    }

    fn certificate(&self) -> &Arc<consilium_msp::Certificate> {
        self.0.certificate()
    }

    fn sign(&self, message: &[u8]) -> Result<Bytes, consilium_msp::SignError> {
        self.0.sign(&[message, b"!"].concat())
    }
}
