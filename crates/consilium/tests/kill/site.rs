//! A peer's folder, and the program that runs on it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use consilium_client::Admin;
use consilium_testkit::{
    NodeOu,
    validation::{CHANNEL, Generator},
};
use consilium_transport::ClientTls;

/// No test waits so long for one thing unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Dials a peer; an error says that nobody answers.
pub async fn connect(
    tls_root: &bytes::Bytes,
    address: &str,
) -> Result<tonic::transport::Channel, String> {
    let tls = ClientTls::new(None, std::slice::from_ref(tls_root)).expect("TLS");
    // Once: a later process is another peer to the clients.
    consilium_transport::connect_once(address, Some(tls), Duration::from_secs(5))
        .await
        .map(|(connection, _)| connection)
        .map_err(|error| error.to_string())
}

pub struct Site {
    folder: tempfile::TempDir,
    port: u16,
    admin: Arc<consilium_msp::SoftwareSigner>,
    tls_root: bytes::Bytes,
}

impl Site {
    /// A peer of the first organization, which finds all orderers of the channel at one address.
    pub fn new(generator: &Generator, orderer: &str) -> Self {
        let organization = &generator.people().organizations[0];
        let folder = folder();
        let path = folder.path();
        let identity = organization.issue("peer0", NodeOu::Peer);
        let written = organization
            .write_msp(&path.join("msp"), Some(&identity))
            .and_then(|()| organization.write_tls(&path.join("tls"), &organization.tls(&[])));
        written.expect("folders");
        // Free now, and nobody else's by the time the peer listens, if the system is kind.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let overrides: Vec<String> = Generator::ORDERERS
            .iter()
            .map(|from| {
                format!("      - {{from: '{from}', to: '{orderer}', caCertsFile: tls/ca.crt}}\n")
            })
            .collect();
        let yaml = format!(
            "peer:
  id: peer0
  listenAddress: 127.0.0.1:{port}
  address: 127.0.0.1:{port}
  mspConfigPath: msp
  localMspId: {msp_id}
  fileSystemPath: data
  tls:
    enabled: true
    cert: {{file: tls/server.crt}}
    key: {{file: tls/server.key}}
    rootcert: {{file: tls/ca.crt}}
  gossip:
    pvtData: {{pullRetryThreshold: 0s}}
  deliveryclient:
    reConnectBackoffThreshold: 200ms
    addressOverrides:
{overrides}",
            msp_id = organization.msp_id(),
            overrides = overrides.concat(),
        );
        fs::write(path.join("core.yaml"), yaml).expect("a file");
        Self {
            port,
            admin: organization.signer("admin", NodeOu::Admin),
            tls_root: organization.tls_root_pem(),
            folder,
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The channel's folder, if it is joined.
    pub fn ledger(&self) -> Option<PathBuf> {
        let folder = self.path().join("data/ledgers").join(CHANNEL);
        folder.exists().then_some(folder)
    }

    /// What the last process had to say.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.path().join("log")).unwrap_or_default();
        let from = log.len().saturating_sub(6000);
        log[log.ceil_char_boundary(from)..].to_owned()
    }

    pub fn start(&self) -> Process {
        let log = File::create(self.path().join("log")).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_consilium"))
            .args(["peer", "start", "--config"])
            .arg(self.path().join("core.yaml"))
            .env_remove("FABRIC_LOGGING_SPEC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Process {
            child,
            log: self.path().join("log"),
        }
    }

    /// An administrator of the peer, as soon as it listens.
    pub async fn admin(&self, process: &mut Process) -> Admin {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(connection) = connect(&self.tls_root, &self.address()).await {
                return Admin::new(connection, self.admin.clone());
            }
            process.check();
            assert!(Instant::now() < deadline, "nobody listens\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// `consilium ledger verify`, which checks orderers' signatures, too.
    pub fn verify_by_command(&self) {
        let output = Command::new(env!("CARGO_BIN_EXE_consilium"))
            .args(["ledger", "verify", "--channel", CHANNEL, "--config"])
            .arg(self.path().join("core.yaml"))
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{errors}");
        assert!(said.contains("everything is as it was written"), "{said}");
    }
}

/// A folder in memory where there is one: what is killed is the process, not the machine.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(folder) = tempfile::tempdir_in(memory)
    {
        return folder;
    }
    tempfile::tempdir().expect("a folder")
}

/// A running peer; killed at the latest when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Fails the test when the process has ended by itself.
    pub fn check(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child") {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            panic!("the peer ended by itself with {status}\n{log}");
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.check();
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }

    /// `kill`, and waits for the orderly end.
    pub fn terminate(mut self) {
        let killed = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(killed.expect("kill runs").success());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("the peer does not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        assert!(status.success(), "{status}\n{log}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
