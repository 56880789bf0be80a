//! The records story: registering fingerprints, then consent, access, refusal, tampering.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use consilium_client::{Call, ClientError, Gateway};
use consilium_contracts::vault::{self, Binding, Fingerprint, KeyRing, SUITE, Sealed};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{population::Population, stage::Stage};

/// Transactions under way at a time.
const CONCURRENCY: usize = 16;
/// How long a client keeps trying while a leader is missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A patient's records as registered.
pub struct Registered {
    /// Pseudonym.
    pub sid: String,
    /// Record ids with their kind and vault file.
    pub records: Vec<Stored>,
    /// FHIR ids of procedures.
    pub procedures: Vec<String>,
}

/// One document in the hospital's vault.
pub struct Stored {
    /// Id on the ledger.
    pub id: String,
    /// Coarse kind.
    pub kind: &'static str,
    /// Ciphertext on disk.
    pub path: PathBuf,
    /// Key, wrapped for this patient.
    pub wrapped_key: Vec<u8>,
    /// What was registered.
    pub fingerprint: Fingerprint,
}

/// The hospital's vault: keys in memory, ciphertexts in files.
pub struct Vault {
    /// Keys by patient.
    pub keys: KeyRing,
    sector: [u8; 32],
    dir: PathBuf,
}

/// How the load went.
pub struct Load {
    /// Ids of the acknowledged transactions.
    pub acknowledged: Vec<String>,
    /// Time from proposal to commit of each, in milliseconds, sorted.
    pub latencies: Vec<f64>,
    /// Duration of the whole load.
    pub elapsed: Duration,
    /// Calls that were repeated because no leader or peer answered.
    pub repeated: usize,
}

impl Vault {
    /// An empty vault in `dir`, with a fresh pseudonym key.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            keys: KeyRing::new(),
            sector: rand::random(),
            dir: dir.to_owned(),
        })
    }

    /// Encrypts every document and returns, per patient, what goes to the ledger.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn fill(&mut self, population: &Population) -> anyhow::Result<Vec<(Registered, Value)>> {
        let mut all = Vec::new();
        for patient in &population.patients {
            let sid = vault::pseudonym(&self.sector, "MR", &patient.mrn);
            let mut records = Vec::new();
            let mut entries = Vec::new();
            for document in &patient.documents {
                let id = format!("rec-{:032x}", rand::random::<u128>());
                let binding = Binding {
                    record_id: &id,
                    version: 1,
                    sid: &sid,
                };
                let Sealed {
                    ciphertext,
                    wrapped_key,
                    fingerprint,
                } = self.keys.seal(1, &binding, &document.bytes)?;
                let path = self.dir.join(&id);
                fs::write(&path, &ciphertext)?;
                entries.push(json!({
                    "id": id, "sid": sid, "kind": document.kind,
                    "ctHash": fingerprint.ct_hash, "ptCommit": fingerprint.pt_commit,
                    "size": fingerprint.size, "suite": SUITE, "epoch": 1,
                    "vaultRef": format!("vault:{id}"), "fhir": document.references,
                }));
                records.push(Stored {
                    id,
                    kind: document.kind,
                    path,
                    wrapped_key,
                    fingerprint,
                });
            }
            let registered = Registered {
                sid,
                records,
                procedures: patient.procedures.clone(),
            };
            all.push((registered, json!({ "records": entries })));
        }
        Ok(all)
    }

    /// Decrypts a document and checks it against its fingerprint.
    ///
    /// # Errors
    /// The file is missing, or was tampered with.
    pub fn read(&self, sid: &str, record: &Stored) -> anyhow::Result<Vec<u8>> {
        let sealed = Sealed {
            ciphertext: fs::read(&record.path)?,
            wrapped_key: record.wrapped_key.clone(),
            fingerprint: record.fingerprint.clone(),
        };
        let binding = Binding {
            record_id: &record.id,
            version: 1,
            sid,
        };
        Ok(self.keys.open(1, &binding, &sealed)?)
    }
}

/// Registers the records of all patients, one transaction per patient, and calls `half_way` once
/// when half of them are committed. A call that nobody answers is repeated with the same request id,
/// so that it counts once however often it arrives.
///
/// # Errors
/// The contract refuses, or no leader is found for a minute.
pub async fn load(
    gateway: &Gateway,
    batches: Vec<Value>,
    half_way: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Load> {
    let total = batches.len();
    let bar = ProgressBar::new(total as u64);
    if let Ok(style) = ProgressStyle::with_template(
        "  registering records {bar:40} {pos}/{len} patients, {per_sec}",
    ) {
        bar.set_style(style);
    }
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let done = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let work = async {
        let mut tasks = Vec::new();
        for (number, batch) in batches.into_iter().enumerate() {
            let permit = permits.clone().acquire_owned().await?;
            let (gateway, done, bar) = (gateway.clone(), done.clone(), bar.clone());
            tasks.push(tokio::spawn(async move {
                let outcome = register(&gateway, batch, number).await;
                done.fetch_add(1, Ordering::Relaxed);
                bar.inc(1);
                drop(permit);
                outcome
            }));
        }
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await??);
        }
        anyhow::Ok(results)
    };
    let interlude = async {
        while done.load(Ordering::Relaxed) < total / 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        half_way().await
    };
    let (results, interlude) = tokio::join!(work, interlude);
    bar.finish_and_clear();
    interlude?;
    let results = results?;
    let mut latencies: Vec<_> = results.iter().map(|result| result.1).collect();
    latencies.sort_by(f64::total_cmp);
    Ok(Load {
        repeated: results.iter().map(|result| result.2).sum(),
        acknowledged: results.into_iter().map(|result| result.0).collect(),
        latencies,
        elapsed: started.elapsed(),
    })
}

async fn register(
    gateway: &Gateway,
    batch: Value,
    number: usize,
) -> anyhow::Result<(String, f64, usize)> {
    let request_id = format!("load-{number}-{:08x}", rand::random::<u32>());
    let args = [batch.to_string(), request_id];
    let started = Instant::now();
    let mut repeated = 0;
    loop {
        let began = Instant::now();
        match gateway
            .submit(Call::new("records", "RegisterRecords", &args))
            .await
        {
            Ok(committed) => {
                return Ok((
                    committed.tx_id,
                    began.elapsed().as_secs_f64() * 1000.0,
                    repeated,
                ));
            }
            Err(error @ (ClientError::Invalid { .. } | ClientError::Refused { .. }))
                if started.elapsed() < PATIENCE
                    && (error.is_transient() || matches!(error, ClientError::Invalid { .. })) =>
            {
                repeated += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error).context("registering records"),
        }
    }
}

/// Consent and access for one patient, with the refusals.
///
/// # Errors
/// Any step with another outcome than the story's.
pub async fn story(
    stage: &mut Stage,
    vault: &Vault,
    patient: &Registered,
    name: &str,
) -> anyhow::Result<()> {
    let sid = &patient.sid;
    let subject = format!("hospital/{name}");
    let note = patient
        .records
        .iter()
        .find(|record| record.kind == "clinical-note")
        .context("the patient has a clinical note")?;
    let lab = patient
        .records
        .iter()
        .find(|record| record.kind == "lab")
        .context("the patient has laboratory results")?;
    let access = |id: &str, record: &Stored, purpose: &str| {
        json!({
            "accessId": id, "target": {"records": [record.id]}, "purpose": purpose,
        })
    };
    let id = |tag: &str| format!("{tag}-{name}");

    stage
        .is_refused(
            "maker/regulatory",
            "registers a record of a patient",
            ("records", "RegisterRecords", json!({"records": []})),
            "WRONG_ORG",
        )
        .await?;
    stage
        .is_decided(
            "regulator/auditor",
            "asks for a clinical note, without consent",
            ("records", "RequestAccess", access(&id("a1"), note, "TREAT")),
            "NO_CONSENT",
        )
        .await?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let consent = json!({
        "sid": sid,
        "consent": {
            "id": id("consent"),
            "period": {"to": seconds + 30 * 24 * 3600},
            "provisions": [{
                "type": "permit", "orgs": ["RegulatorMSP"],
                "purposes": ["HRESCH"], "kinds": ["lab"],
            }],
        },
    });
    stage
        .is_refused(
            "hospital/physician",
            "consents in the patient's place",
            ("records", "PutConsent", consent.clone()),
            "NOT_SUBJECT",
        )
        .await?;
    stage
        .does(
            &subject,
            "consents: laboratory results, for research by the regulator, 30 days",
            "records",
            "PutConsent",
            consent,
        )
        .await?;
    let permitted = stage
        .does(
            "regulator/auditor",
            "asks for laboratory results, for research",
            "records",
            "RequestAccess",
            access(&id("a2"), lab, "HRESCH"),
        )
        .await?;
    ensure!(
        permitted["decision"] == "Permitted",
        "expected a permit, found {permitted}"
    );
    stage
        .does(
            "hospital/clerk",
            "releases the document's key",
            "records",
            "ConfirmRelease",
            json!({"accessId": id("a2"), "keyFingerprint": vault::hash(&lab.wrapped_key)}),
        )
        .await?;
    let document = vault.read(sid, lab)?;
    let resource: Value = serde_json::from_slice(&document)?;
    stage.tell(
        "regulator/auditor",
        "decrypts and verifies it",
        &format!(
            "{} of {} bytes, fingerprint as on the ledger",
            resource["resourceType"].as_str().unwrap_or("resource"),
            document.len()
        ),
    );
    stage
        .does(
            "regulator/auditor",
            "confirms receipt",
            "records",
            "ConfirmReceipt",
            json!({"accessId": id("a2"), "received": [{"id": lab.id, "ctHash": lab.fingerprint.ct_hash}]}),
        )
        .await?;
    stage
        .is_decided(
            "regulator/auditor",
            "asks for the clinical note, which the consent does not cover",
            (
                "records",
                "RequestAccess",
                access(&id("a3"), note, "HRESCH"),
            ),
            "NO_CONSENT",
        )
        .await?;

    let intact = fs::read(&lab.path)?;
    let mut flipped = intact.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&lab.path, &flipped)?;
    let outcome = vault.read(sid, lab);
    fs::write(&lab.path, &intact)?;
    let error = outcome.err().context("a flipped bit went unnoticed")?;
    stage.tell("somebody", "flips one bit in the vault", &error.to_string());
    let checked = stage
        .reads(
            "regulator/auditor",
            "records",
            "Verify",
            json!({"id": lab.id, "ctHash": vault::hash(&flipped)}),
        )
        .await?;
    ensure!(
        checked.to_string().contains("TAMPERED"),
        "expected TAMPERED, found {checked}"
    );
    stage.tell(
        "regulator/auditor",
        "asks the ledger about the changed file",
        "TAMPERED",
    );

    stage
        .does(
            &subject,
            "withdraws the consent",
            "records",
            "RevokeConsent",
            json!({"sid": sid, "id": id("consent")}),
        )
        .await?;
    stage
        .is_decided(
            "regulator/auditor",
            "asks again",
            ("records", "RequestAccess", access(&id("a4"), lab, "HRESCH")),
            "NO_CONSENT",
        )
        .await?;
    stage
        .does(
            "hospital/physician",
            "breaks the glass in an emergency",
            "records",
            "BreakGlass",
            json!({
                "accessId": id("a5"), "target": {"records": [note.id]},
                "reasonCode": "unconscious", "placeRef": "Location/er",
            }),
        )
        .await?;
    stage
        .does(
            "regulator/auditor",
            "reviews the emergency access",
            "records",
            "ReviewBreakGlass",
            json!({"accessId": id("a5"), "verdict": "Justified"}),
        )
        .await?;
    let accounts = stage
        .reads(&subject, "records", "Accounting", json!({"sid": sid}))
        .await?;
    let entries = accounts["entries"].as_array().map_or(0, Vec::len);
    ensure!(
        entries == 5,
        "expected 5 entries in the accounting, found {entries}"
    );
    stage.tell(
        &subject,
        "reads who asked for what",
        &format!("{entries} decisions, refusals included"),
    );
    Ok(())
}
