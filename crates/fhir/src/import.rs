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
use crate::reactor::off_the_reactor;
use crate::references::{self, Places};
use crate::register::{RECORDS, Ready, records, store_error};
use crate::request::{Answer, Request};
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

impl Import {
    /// Organizations do not share their jobs' names.
    fn key(&self) -> String {
        format!("{}/{}", self.caller.msp, self.job)
    }
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
    /// How far an import has come.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn progress(&self, import: &Import) -> Result<Progress, crate::StoreError> {
        Ok(self.inner.store.position(&import.key())?.into())
    }

    /// Imports from where the job stopped to the end of the source. `progress` is called after
    /// each batch, `refused` for each line that is no valid resource, with its number from 1.
    ///
    /// # Errors
    /// [`ImportError`]; run it again to go on.
    pub async fn import(
        &self,
        import: &Import,
        source: impl BufRead + Send,
        progress: impl FnMut(Progress) + Send,
        refused: impl FnMut(u64, &[Issue]) + Send,
    ) -> Result<Progress, ImportError> {
        self.inner.import(import, source, progress, refused).await
    }
}

impl Inner {
    async fn import(
        &self,
        import: &Import,
        mut source: impl BufRead + Send,
        mut progress: impl FnMut(Progress) + Send,
        mut refused: impl FnMut(u64, &[Issue]) + Send,
    ) -> Result<Progress, ImportError> {
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
        // A job that is posted twice at a time: the second goes on where the first ends.
        let _turn = self.turns.take(&import.caller.msp, &import.key()).await;
        let mut position = self
            .settled(import)
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
                    let ready =
                        off_the_reactor(|| self.import_line(import, &text, &batch.patients));
                    match ready {
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
                position = self
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

/// Resources that one transaction of a posted import registers.
const POSTED_BATCH: usize = 500;
/// Refused lines that an answer names.
const MAX_TOLD: usize = 100;

impl Inner {
    /// `POST $import?job=name` with NDJSON: imports it, and answers how far the job is. Posted
    /// again it goes on. `GET` only asks.
    pub async fn import_posted(&self, request: &Request, posted: bool) -> Refused<Answer> {
        let job = request.parameter("job").ok_or_else(|| {
            Refusal::malformed("MISSING", "an import has a name: $import?job=night-1")
        })?;
        self.custodian_of(&request.caller)?;
        let import = Import {
            job: job.to_owned(),
            caller: request.caller.clone(),
            batch: POSTED_BATCH,
        };
        let mut told = Vec::new();
        let progress = if posted {
            request.is_ndjson()?;
            let refused = |line: u64, issues: &[Issue]| {
                if told.len() < MAX_TOLD
                    && let Some(issue) = issues.first()
                {
                    let place = issue.expression.as_deref().unwrap_or("the line");
                    told.push(format!(
                        "line {line}: {} at {place}: {}",
                        issue.code, issue.sentence
                    ));
                }
            };
            self.import(&import, &request.body[..], |_| {}, refused)
                .await
                .map_err(|error| stopped_import(&error))?
        } else {
            self.store
                .position(&import.key())
                .map_err(store_error)?
                .into()
        };
        let mut values = vec![
            ("job", job.into()),
            ("lines", progress.lines.into()),
            ("stored", progress.stored.into()),
            ("refused", progress.refused.into()),
        ];
        values.extend(told.into_iter().map(|line| ("issue", line.into())));
        Ok(Answer::ok(crate::operation::parameters(values)))
    }
}

fn stopped_import(error: &ImportError) -> Box<Refusal> {
    let mut refusal = Refusal::new(
        http::StatusCode::SERVICE_UNAVAILABLE,
        "transient",
        "STOPPED",
        format!("{error}. What came before is stored: post it again to go on"),
    );
    refusal.retry_after = Some(5);
    if matches!(error, ImportError::Stopped { line: 0, .. }) {
        refusal.status = http::StatusCode::BAD_REQUEST;
        refusal.issues[0].kind = "invalid";
        refusal.retry_after = None;
    }
    refusal
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
    async fn settled(&self, import: &Import) -> Refused<Position> {
        let (key, prefix) = (import.key(), format!("import:{}:", import.job));
        let pending = self.store.pending().map_err(store_error)?;
        let left = pending
            .into_iter()
            .filter(|document| document.custodian == import.caller.msp)
            .filter_map(|document| document.request)
            .find(|request| request.starts_with(&prefix));
        if let Some(request) = left {
            let (settled, _) = self.recover_pending(Some(&request)).await?;
            if settled > 0
                && let Some(position) = parse_request(&request)
            {
                self.store
                    .note_position(&key, &position)
                    .map_err(store_error)?;
            }
        }
        self.store.position(&key).map_err(store_error)
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
                    format!("{kind}/{}", self.import_id(import, kind, id)),
                );
            }
        });
        references::rewrite(&mut resource, &places);
        let id = self.import_id(import, &kind, &id);
        self.ready(&kind, id, 1, resource, &kind, patients)
    }

    /// The id that a job gives: a keyed hash, so that the source's ids do not show.
    fn import_id(&self, import: &Import, kind: &str, id: &str) -> String {
        let bytes = self.store.blind(&["import", &import.key(), kind, id]);
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
        let key = import.key();
        if fresh.is_empty() {
            self.store
                .note_position(&key, &after)
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
            Some((&key, after)),
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
