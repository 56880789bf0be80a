//! A network of three organizations as `consilium network up` makes it, and its files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use consilium_msp::Certificate;
use consilium_transport::{ClientTls, TlsIdentity};
use serde_json::Value;

/// No test waits so long for one thing unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Network {
    folder: tempfile::TempDir,
    description: Value,
}

impl Network {
    pub fn up() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut network = Self {
            folder,
            description: Value::Null,
        };
        network.run(&["network", "up", "--free-ports", "--dir", network.dir_name()]);
        let text = fs::read(network.dir().join("network.json")).expect("network.json");
        network.description = serde_json::from_slice(&text).expect("JSON");
        network
    }

    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub fn dir_name(&self) -> &str {
        self.dir().to_str().expect("a name in UTF-8")
    }

    /// Runs the program, which must succeed, and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "consilium {arguments:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    pub fn try_run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_consilium"))
            .args(arguments)
            .env("CONSILIUM_NETWORK", self.dir())
            .env("SOFTHSM2_CONF", self.dir().join("softhsm2.conf"))
            .output()
            .expect("the program starts")
    }

    /// Submits a transaction and gives whether it was committed.
    pub fn put(&self, key: &str, value: &str) -> bool {
        let output = self.try_run(&["invoke", "kv", "put", key, value]);
        output.status.success()
    }

    /// The same with the certificates and keys in another folder than the user's own.
    pub fn put_as(&self, organization: &str, folder: &Path, key: &str, value: &str) -> bool {
        let msp_id = self.organization(organization)["msp_id"].as_str();
        let roots = folder.join("tls/ca.crt");
        self.put_at(
            organization,
            &roots,
            msp_id.expect("an MSP id"),
            folder,
            [key, value],
        )
    }

    /// The same at the peer of any organization.
    pub fn put_at(
        &self,
        peer: &str,
        roots: &Path,
        msp_id: &str,
        folder: &Path,
        [key, value]: [&str; 2],
    ) -> bool {
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let gateway = format!("localhost:{}", self.port(peer, "peer"));
        let (msp, roots) = (file("msp"), roots.to_string_lossy().into_owned());
        let (certificate, private) = (file("tls/client.crt"), file("tls/client.key"));
        let output = self.try_run(&[
            "invoke",
            "--gateway",
            &gateway,
            "--msp",
            &msp,
            "--msp-id",
            msp_id,
            "--tls-ca",
            &roots,
            "--tls-cert",
            &certificate,
            "--tls-key",
            &private,
            "kv",
            "put",
            key,
            value,
        ]);
        output.status.success()
    }

    pub fn organization(&self, name: &str) -> &Value {
        let all = self.description["organizations"].as_array();
        let found = all.and_then(|all| all.iter().find(|member| member["name"] == name));
        found.expect("an organization")
    }

    pub fn port(&self, organization: &str, kind: &str) -> u64 {
        let port = self.organization(organization)["ports"][kind].as_u64();
        port.expect("a port")
    }

    pub fn organization_dir(&self, organization: &str) -> PathBuf {
        let domain = format!("{organization}.example");
        self.dir().join("organizations").join(domain)
    }

    pub fn peer_dir(&self, organization: &str) -> PathBuf {
        let name = format!("peers/peer0.{organization}.example");
        self.organization_dir(organization).join(name)
    }

    pub fn orderer_dir(&self, organization: &str) -> PathBuf {
        let name = format!("orderers/orderer0.{organization}.example");
        self.organization_dir(organization).join(name)
    }

    pub fn user_dir(&self, organization: &str, user: &str) -> PathBuf {
        let name = format!("users/{user}@{organization}.example");
        self.organization_dir(organization).join(name)
    }

    pub fn log(&self, node: &str, organization: &str) -> String {
        let file = format!("logs/{node}.{organization}.example.log");
        fs::read_to_string(self.dir().join(file)).unwrap_or_default()
    }

    pub fn pid(&self, node: &str, organization: &str) -> String {
        let file = format!("run/{node}.{organization}.example.pid");
        let text = fs::read_to_string(self.dir().join(file)).expect("a process id");
        text.split(' ').next().expect("a process id").to_owned()
    }

    pub fn signal(&self, signal: &str, node: &str, organization: &str) {
        let pid = self.pid(node, organization);
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Makes a token with a key, and gives its library.
    pub fn token(&self, label: &str, key: &Path, id: &str) -> &'static str {
        const LIBRARIES: [&str; 3] = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
        ];
        let tokens = self.dir().join("tokens");
        fs::create_dir(&tokens).expect("a folder");
        let settings = self.dir().join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\n", tokens.display());
        fs::write(&settings, text).expect("a file");
        let softhsm = |arguments: &[&str]| {
            let output = Command::new("softhsm2-util")
                .args(arguments)
                .env("SOFTHSM2_CONF", &settings)
                .output()
                .expect("softhsm2-util: apt-get install softhsm2");
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        };
        let pins = ["--so-pin", "1234", "--pin", "98765432"];
        let made = ["--init-token", "--free", "--label", label];
        softhsm(&[&made[..], &pins].concat());
        let key = key.to_str().expect("a name in UTF-8");
        softhsm(&[
            "--import", key, "--token", label, "--label", "key", "--id", id, "--pin", "98765432",
        ]);
        let found = LIBRARIES.into_iter().find(|path| Path::new(path).is_file());
        found.expect("SoftHSM: apt-get install softhsm2")
    }

    /// The certificate that a listener shows to an administrator of the organization now.
    pub async fn shown(&self, organization: &str, kind: &str) -> String {
        let tls = self.user_dir(organization, "Admin").join("tls");
        let read = |name: &str| fs::read(tls.join(name)).expect("a file");
        let identity = TlsIdentity::from_pem(&read("client.crt"), &read("client.key"));
        let roots = [Bytes::from(read("ca.crt"))];
        let client = ClientTls::new(Some(identity.expect("an identity")), &roots).expect("TLS");
        let address = format!("localhost:{}", self.port(organization, kind));
        let patience = Duration::from_secs(5);
        let connected = consilium_transport::connect_once(&address, Some(client), patience).await;
        let (_, certificate) = connected.expect("a connection");
        let certificate = certificate.expect("a certificate");
        Certificate::from_der(&certificate)
            .expect("a certificate")
            .serial_hex()
    }

    /// A metric of a node, all its labels.
    pub async fn metrics(&self, organization: &str, kind: &str) -> String {
        let port = self.port(organization, kind);
        let url = format!("http://127.0.0.1:{port}/metrics");
        let answer = reqwest::get(url).await.expect("an answer");
        answer.text().await.expect("a text")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in fs::read_dir(self.dir().join("logs"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let last = &lines[lines.len().saturating_sub(25)..];
                eprintln!("== {}\n{}", entry.path().display(), last.join("\n"));
            }
        }
        self.try_run(&["network", "down", "--dir", self.dir_name()]);
    }
}

pub fn serial(file: &Path) -> String {
    let pem = fs::read(file).expect("a certificate file");
    let certificate = Certificate::from_pem(&pem).expect("a certificate");
    certificate.serial_hex()
}

/// Asks until the answer is yes.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let begin = Instant::now();
    while !check().await {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// An application that submits one transaction after the other. One that fails is tried again, for a while.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    worker: thread::JoinHandle<()>,
}

impl Load {
    pub fn begin(network: &Network) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, counted) = (stop.clone(), done.clone());
        let dir = network.dir().to_owned();
        let worker = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let number = counted.load(Ordering::Relaxed);
                let begin = Instant::now();
                loop {
                    let output = Command::new(env!("CARGO_BIN_EXE_consilium"))
                        .args(["invoke", "kv", "put", "load", &number.to_string()])
                        .env("CONSILIUM_NETWORK", &dir)
                        .output()
                        .expect("the program starts");
                    if output.status.success() {
                        break;
                    }
                    let text = String::from_utf8_lossy(&output.stderr);
                    assert!(begin.elapsed() < PATIENCE, "no retry cures it: {text}");
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, done, worker }
    }

    /// Waits until some more are committed.
    pub async fn went_on(&self, when: &str) {
        let before = self.done.load(Ordering::Relaxed);
        eventually(when, || async {
            self.done.load(Ordering::Relaxed) > before + 2
        })
        .await;
    }

    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.worker.join().expect("every transaction was committed");
    }
}
