//! A peer with builders: its folders, its listener, and a package for it.

use crate::support::scripts::everything;
use crate::support::service::{Script, register};
use crate::support::{Consortium, ORG1};
use consilium_chaincode::{Credentials, Endpoint, ExternalBuilder, HostOptions};
use consilium_transport::{ClientTls, TlsIdentity, grpc_server, incoming, listen};
use flate2::{Compression, write::GzEncoder};
use futures_util::FutureExt;
use serde::Deserialize;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tonic::transport::Channel;

/// Far more than anything here takes; only a hang reaches it.
const BOUND: Duration = Duration::from_secs(60);

/// Builders in a folder, each a few lines of shell.
pub struct Builders {
    pub folder: TempDir,
    pub known: Vec<ExternalBuilder>,
}

impl Builders {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            known: Vec::new(),
        }
    }

    /// A builder with these programs. `OUT` in them is a folder that the test can look into.
    pub fn with(mut self, name: &str, programs: &[(&str, &str)]) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.join("bin")).unwrap();
        for (program, text) in programs {
            let file = path.join("bin").join(program);
            let text = text.replace("OUT", &self.folder.path().to_string_lossy());
            fs::write(&file, format!("#!/bin/sh\nset -e\n{text}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.known.push(ExternalBuilder {
            name: name.to_owned(),
            path,
            propagate_environment: vec!["CARGO_PKG_NAME".to_owned()],
        });
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Takes everything.
pub const ALL: (&str, &str) = ("detect", "exit 0");
/// Copies the source.
pub const COPY: (&str, &str) = ("build", "cp -R \"$1/.\" \"$3\"; echo built >> OUT/builds");
/// Says how to reach the peer, and is there.
pub const WAIT: (&str, &str) = (
    "run",
    "echo $$ >> OUT/pids; cp \"$2/chaincode.json\" OUT/new.$$; mv OUT/new.$$ OUT/launched.$$; sleep 1000 & wait",
);

/// A package of `kind` with these files as its code.
pub fn package(kind: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut code = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        append(&mut code, name, content.as_bytes());
    }
    let code = code.into_inner().unwrap().finish().unwrap();
    let mut package = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let metadata = format!(r#"{{"path":"p","type":"{kind}","label":"cc"}}"#);
    append(&mut package, "metadata.json", metadata.as_bytes());
    append(&mut package, "code.tar.gz", &code);
    package.into_inner().unwrap().finish().unwrap()
}

fn append(tape: &mut tar::Builder<GzEncoder<Vec<u8>>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tape.append_data(&mut header, name, content).unwrap();
}

/// A consortium whose first peer has builders and listens for chaincode.
pub struct Site {
    pub consortium: Consortium,
    pub address: String,
}

impl Site {
    pub async fn new(builders: &Builders) -> Self {
        let credentials = Credentials::new("127.0.0.1").unwrap();
        Self::with(builders, Some(credentials), |options| options).await
    }

    pub async fn with(
        builders: &Builders,
        credentials: Option<Arc<Credentials>>,
        adjust: impl Fn(HostOptions) -> HostOptions,
    ) -> Self {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let endpoint = Endpoint {
            address: address.clone(),
            credentials: credentials.clone(),
        };
        let consortium = Consortium::with(|mut options| {
            let folder = options.install_dir.parent().unwrap();
            options.launch.builds_dir = folder.join("builds");
            options.launch.builders = builders.known.clone();
            options.launch.endpoint = Some(endpoint.clone());
            adjust(options)
        });
        let tls = credentials.as_ref().map(|made| made.server_tls().unwrap());
        let serving = grpc_server()
            .add_service(consortium.peers[ORG1].host.chaincode_support())
            .serve_with_incoming(incoming(listener, tls));
        tokio::spawn(async move { serving.await.unwrap() });
        Self {
            consortium,
            address,
        }
    }

    pub fn builds(&self) -> PathBuf {
        self.consortium.peers[ORG1].folder.path().join("builds")
    }
}

/// What `chaincode.json` says.
#[derive(Debug, Deserialize)]
pub struct Launched {
    pub chaincode_id: String,
    pub peer_address: String,
    pub client_cert: String,
    pub client_key: String,
    pub root_cert: String,
    pub mspid: String,
}

impl Launched {
    /// Waits for the next process to say what it was told.
    pub async fn next(builders: &Builders) -> Self {
        let file = eventually("a launched process", || {
            let entries = fs::read_dir(builders.folder.path()).unwrap();
            entries.flatten().map(|entry| entry.path()).find(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with("launched.")
            })
        })
        .await;
        let told = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        fs::remove_file(file).unwrap();
        told
    }

    /// Connects with these credentials.
    pub async fn connect(&self) -> Channel {
        let tls = if self.root_cert.is_empty() {
            None
        } else {
            let (certificate, key) = (self.client_cert.as_bytes(), self.client_key.as_bytes());
            let identity = TlsIdentity::from_pem(certificate, key).unwrap();
            let roots = [self.root_cert.clone().into()];
            Some(ClientTls::new(Some(identity), &roots).unwrap())
        };
        consilium_transport::connect(&self.peer_address, tls, BOUND)
            .await
            .unwrap()
    }

    /// Registers as what it was launched as, and does whatever it is asked.
    pub async fn register(&self) -> tokio::task::JoinHandle<()> {
        let peer = self.connect().await;
        register(peer, &self.chaincode_id, script()).await.unwrap()
    }
}

pub fn script() -> Script {
    Arc::new(|call| everything(call).boxed())
}

/// Whether a process is there and no zombie.
pub fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim();
    !state.is_empty() && !state.starts_with('Z')
}

/// Whether there is an entry for a process at all, be it a zombie.
pub fn is_listed(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

pub async fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < BOUND {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain for {what}");
}
