//! Bulk import: lines of NDJSON, registered batch by batch, going on after a kill where the last
//! batch was committed.
//!
//! The server gives ids here too, but derives them from the job and the id in the source, so that
//! references between lines hold in whatever order they come, and so that a line that is imported
//! twice by one job is one record. A patient has to come before what is about it.

use std::collections::BTreeMap;
use std::io::BufRead;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::ledger::Call;
use crate::outcome::{Issue, Refusal, Refused};
use crate::references::{self, Places};
use crate::register::{RECORDS, Ready, records, store_error};
use crate::request::Request;
use crate::server::Inner;
use crate::store::Position;
use crate::{Fhir, Identity, validate};

/// Bytes of one line.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// What is imported, and as whom.
#[derive(Debug, Clone)]
pub struct Import {
    /// Its name, under which it goes on: 1 to 40 letters, digits, `-` and `.`.
    pub job: String,
    /// Whose records they become: an identity with `hc.role` `records` or `physician`.
    pub caller: Identity,
    /// Resources that one transaction registers, at most 1,000.
    pub batch: usize,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Lines that were dealt with, those of earlier runs included.
    pub lines: u64,
    /// Resources that are on the ledger.
    pub stored: u64,
    /// Lines that were refused.
    pub refused: u64,
}

impl From<Position> for Progress {
    fn from(position: Position) -> Self {
        Progress {
            lines: position.line,
            stored: position.stored,
            refused: position.refused,
        }
    }
}

/// Why an import stopped. What was committed before stays, and the next run goes on after it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source cannot be read.
    #[error("the source cannot be read: {0}")]
    Source(#[from] std::io::Error),
    /// A transaction or the store failed.
    #[error("line {line}: {sentence}")]
    Stopped {
        /// The first line of the batch.
        line: u64,
        /// Why.
        sentence: String,
    },
}

impl Fhir {
    /// How far a job has come.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn progress(&self, job: &str) -> Result<Progress, crate::StoreError> {
        Ok(self.inner.store.position(job)?.into())
    }

    /// Imports from where the job stopped to the end of the source. `progress` is called after
    /// each batch, `refused` for each line that is no valid resource, with its number from 1.
    ///
    /// # Errors
    /// [`ImportError`]; run it again to go on.
    pub async fn import(
        &self,
        import: &Import,
        mut source: impl BufRead + Send,
        mut progress: impl FnMut(Progress) + Send,
        mut refused: impl FnMut(u64, &[Issue]) + Send,
    ) -> Result<Progress, ImportError> {
        let inner = &self.inner;
        let stopped = |line: u64, refusal: &Refusal| ImportError::Stopped {
            line,
            sentence: refusal
                .issues
                .first()
                .map(|issue| format!("{}: {}", issue.code, issue.sentence))
                .unwrap_or_default(),
        };
        let valid_job = references::is_id(&import.job) && import.job.len() <= 40;
        if !valid_job {
            return Err(ImportError::Stopped {
                line: 0,
                sentence: "a job's name is 1 to 40 letters, digits, '-' or '.'".to_owned(),
            });
        }
        let mut position = inner
            .settled(&import.job)
            .await
            .map_err(|refusal| stopped(0, &refusal))?;
        let mut line = 0;
        let mut batch = Batch::default();
        loop {
            let mut text = Vec::new();
            let read = std::io::Read::take(&mut source, MAX_LINE).read_until(b'\n', &mut text)?;
            if read > 0 {
                line += 1;
                if line <= position.line {
                    continue;
                }
                batch.lines += 1;
                if !text.trim_ascii().is_empty() {
                    match inner.import_line(import, &text, &batch.patients) {
                        Ok(ready) => batch.add(ready),
                        Err(refusal) => {
                            batch.refused += 1;
                            refused(line, &refusal.issues);
                        }
                    }
                }
            }
            let full = batch.ready.len() >= import.batch.clamp(1, 1000);
            if batch.lines > 0 && (full || read == 0) {
                let first = position.line + 1;
                position = inner
                    .import_batch(import, std::mem::take(&mut batch), position)
                    .await
                    .map_err(|refusal| stopped(first, &refusal))?;
                progress(position.into());
            }
            if read == 0 {
                return Ok(position.into());
            }
        }
    }
}

#[derive(Default)]
struct Batch {
    ready: Vec<Ready>,
    /// Pseudonyms of the patients in it, by reference.
    patients: BTreeMap<String, String>,
    lines: u64,
    refused: u64,
}

impl Batch {
    fn add(&mut self, ready: Ready) {
        if ready.kind == "Patient" {
            self.patients
                .insert(format!("Patient/{}", ready.id), ready.sid.clone());
        }
        self.ready.push(ready);
    }
}

impl Inner {
    /// Where a job stands after what a crash left of its last batch was settled.
    async fn settled(&self, job: &str) -> Refused<Position> {
        let pending = self.store.pending().map_err(store_error)?;
        let own: Vec<String> = pending
            .into_iter()
            .filter_map(|document| document.request)
            .filter(|request| request.starts_with(&format!("import:{job}:")))
            .collect();
        if let Some(request) = own.first() {
            let (settled, _) = self.recover_pending(Some(request)).await?;
            if settled > 0
                && let Some(position) = parse_request(request)
            {
                self.store
                    .note_position(job, &position)
                    .map_err(store_error)?;
            }
        }
        self.store.position(job).map_err(store_error)
    }

    fn import_line(
        &self,
        import: &Import,
        line: &[u8],
        patients: &BTreeMap<String, String>,
    ) -> Refused<Ready> {
        let mut resource: Value = serde_json::from_slice(line).map_err(|error| {
            Refusal::malformed(
                "NOT_JSON",
                format!("the line stops making sense at column {}", error.column()),
            )
        })?;
        let kind = validate::kind_of(&resource, "Resource")
            .map_err(|issue| Refusal::of(http::StatusCode::BAD_REQUEST, vec![issue]))?
            .to_owned();
        if !RECORDS.contains(&kind.as_str()) {
            return Err(Refusal::not_supported(format!(
                "a {kind} is not stored as a record"
            )));
        }
        let issues = validate::check(&resource, &kind);
        if !issues.is_empty() {
            return Err(Refusal::of(http::StatusCode::BAD_REQUEST, issues));
        }
        let Some(id) = resource["id"].as_str().map(str::to_owned) else {
            return Err(Refusal::rule(
                "NO_ID",
                "a resource that is imported has an id, which others refer to",
            ));
        };
        let mut places = Places::new();
        crate::element::walk(&resource, &kind, &mut |_, object| {
            let Some(text) = object.get("reference").and_then(Value::as_str) else {
                return;
            };
            let known = match references::local(text) {
                Some(local) if RECORDS.contains(&local.kind) => Some((local.kind, local.id)),
                _ => None,
            };
            if let Some((kind, id)) = known {
                places.insert(
                    text.to_owned(),
                    format!("{kind}/{}", self.import_id(&import.job, kind, id)),
                );
            }
        });
        references::rewrite(&mut resource, &places);
        let id = self.import_id(&import.job, &kind, &id);
        self.ready(&kind, id, 1, resource, &kind, patients)
    }

    /// The id that a job gives: a keyed hash, so that the source's ids do not show.
    fn import_id(&self, job: &str, kind: &str, id: &str) -> String {
        let bytes = self.store.blind(&["import", job, kind, id]);
        uuid::Builder::from_custom_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    async fn import_batch(
        &self,
        import: &Import,
        mut batch: Batch,
        before: Position,
    ) -> Refused<Position> {
        // A line that came twice is one record; one of an earlier batch is there already.
        let mut seen = std::collections::BTreeSet::new();
        let mut fresh = Vec::with_capacity(batch.ready.len());
        for ready in std::mem::take(&mut batch.ready) {
            let known = self
                .store
                .current(&ready.kind, &ready.id)
                .map_err(store_error)?;
            if seen.insert(ready.id.clone()) && known.is_none() {
                fresh.push(ready);
            }
        }
        let after = Position {
            line: before.line + batch.lines,
            stored: before.stored + fresh.len() as u64,
            refused: before.refused + batch.refused,
        };
        if fresh.is_empty() {
            self.store
                .note_position(&import.job, &after)
                .map_err(store_error)?;
            return Ok(after);
        }
        let custodian = self.custodian_of(&import.caller)?;
        let documents = self.seal(&custodian, &fresh)?;
        let mut headers = HeaderMap::new();
        if let Ok(value) = request_of(&import.job, &after).parse() {
            headers.insert("x-request-id", value);
        }
        let request = Request {
            caller: import.caller.clone(),
            query: Vec::new(),
            headers,
            body: Bytes::new(),
        };
        let call = Call::new("records", "RegisterRecords", records(&documents));
        self.commit(
            &request,
            &documents,
            call,
            |_| String::new(),
            Some((&import.job, after)),
        )
        .await?;
        Ok(after)
    }
}

/// The request id of a batch says where the job is after it.
fn request_of(job: &str, after: &Position) -> String {
    // Three counters of a line each stay far below what is left of 64 characters.
    format!(
        "import:{job}:{}.{}.{}",
        after.line, after.stored, after.refused
    )
    .chars()
    .take(64)
    .collect()
}

fn parse_request(request: &str) -> Option<Position> {
    let mut numbers = request.rsplit(':').next()?.split('.').map(str::parse);
    Some(Position {
        line: numbers.next()?.ok()?,
        stored: numbers.next()?.ok()?,
        refused: numbers.next()?.ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_says_where_the_job_is_after_it() {
        let position = Position {
            line: 12,
            stored: 10,
            refused: 2,
        };
        assert_eq!(
            parse_request(&request_of("night-1", &position)),
            Some(position)
        );
        assert_eq!(parse_request("import:night:1.2"), None);
    }
}
