//! Clients that call a peer all the time, whether it is there or not.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use consilium_client::{Admin, Call};
use consilium_msp::SoftwareSigner;
use consilium_testkit::{NodeOu, Organization, validation::CHANNEL};
use parking_lot::Mutex;
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::{CONTRACT, KEYS, site::connect};

const CLIENTS: usize = 4;

/// What clients found out.
#[derive(Default)]
struct Findings {
    /// Which of the peer's processes the counts below are about.
    process: u64,
    answered: u64,
    /// Number of the newest block that an answer showed.
    seen: u64,
    /// Answers of all processes.
    total: u64,
    /// An answer that no whole block gives.
    wrong: Option<String>,
}

/// The clients; they end when this is dropped.
pub struct Load {
    findings: Arc<Mutex<Findings>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(runtime: &Runtime, organization: &Organization, address: &str) -> Self {
        let findings = Arc::<Mutex<Findings>>::default();
        let root = organization.tls_root_pem();
        let clients = (0..CLIENTS).map(|number| {
            let signer = organization.signer(&format!("user{number}"), NodeOu::Client);
            let client = run(findings.clone(), root.clone(), address.to_owned(), signer);
            runtime.spawn(client)
        });
        Self {
            clients: clients.collect(),
            findings,
        }
    }

    /// Answers of the process that runs.
    pub fn answered(&self) -> u64 {
        self.findings.lock().answered
    }

    /// Number of the newest block that it showed.
    pub fn seen(&self) -> u64 {
        self.findings.lock().seen
    }

    /// Answers of all processes.
    pub fn total(&self) -> u64 {
        self.findings.lock().total
    }

    /// Begins to count anew, before another process starts.
    pub fn forget(&self) {
        let mut findings = self.findings.lock();
        findings.process += 1;
        findings.answered = 0;
        findings.seen = 0;
    }

    /// Fails the test when an answer was wrong.
    pub fn check(&self) {
        assert_eq!(self.findings.lock().wrong, None);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for client in &self.clients {
            client.abort();
        }
    }
}

async fn run(
    findings: Arc<Mutex<Findings>>,
    root: Bytes,
    address: String,
    signer: Arc<SoftwareSigner>,
) {
    loop {
        let process = findings.lock().process;
        if let Ok(connection) = connect(&root, &address).await {
            let admin = Admin::new(connection, signer.clone());
            // Until the peer is gone, or does not know the channel or the contract yet.
            while let Ok((block, is_whole)) = ask(&admin).await {
                let mut findings = findings.lock();
                if findings.process != process {
                    break;
                }
                findings.seen = findings.seen.max(block);
                findings.answered += 1;
                findings.total += 1;
                if let Err(what) = is_whole {
                    findings.wrong = Some(what);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

type Answer = Result<(u64, Result<(), String>), consilium_client::ClientError>;

/// One call of each kind: the newest block that they show, and whether each shows a whole one.
async fn ask(admin: &Admin) -> Answer {
    let height = admin.chain_info(CHANNEL).await?.height;
    let arguments = || ["range", "", ""].map(|text| Bytes::from_static(text.as_bytes()));
    // Endorsed by this peer, and evaluated by its gateway.
    let endorsed = admin.query(CHANNEL, CONTRACT, arguments().to_vec()).await?;
    let call = Call {
        chaincode: CONTRACT.to_owned(),
        args: arguments().to_vec(),
        ..Call::default()
    };
    let evaluated = admin.gateway(CHANNEL).evaluate(call).await?;
    let mut newest = height.saturating_sub(1);
    let mut is_whole = Ok(());
    for answer in [endorsed, evaluated] {
        match block_of(&answer) {
            Ok(block) => newest = newest.max(block),
            Err(what) => is_whole = Err(what),
        }
    }
    Ok((newest, is_whole))
}

/// The block whose number stands under all keys; 0 before the first.
fn block_of(answer: &[u8]) -> Result<u64, String> {
    let wrong = || format!("no whole block: {}", String::from_utf8_lossy(answer));
    let entries: serde_json::Value = serde_json::from_slice(answer).map_err(|_| wrong())?;
    let entries = entries.as_array().ok_or_else(wrong)?;
    let Some(first) = entries.first() else {
        return Ok(0);
    };
    let keys = entries.iter().map(|entry| entry["key"].as_str());
    let is_same = |entry: &serde_json::Value| entry["value"] == first["value"];
    if !keys.eq(KEYS.map(Some)) || !entries.iter().all(is_same) {
        return Err(wrong());
    }
    let number = first["value"].as_str().and_then(|text| text.parse().ok());
    number.ok_or_else(wrong)
}
