//! Requests that come again, and what a crash left between the store and the ledger.

use http::StatusCode;
use serde_json::{Value, json};

use crate::Fhir;
use crate::ledger::Call;
use crate::outcome::{Refusal, Refused};
use crate::register::store_error;
use crate::request::{Answer, Request};
use crate::server::Inner;
use crate::store::{Known, Pending, Settlement};

impl Inner {
    /// Does a request that was not answered before, one of the same id at a time; `replay` makes
    /// the answer of the one that was remembered. A request that was refused is forgotten, so that
    /// a corrected one may use its id.
    pub async fn once(
        &self,
        request: &Request,
        what: &str,
        replay: fn(&str) -> Answer,
        work: impl Future<Output = Refused<Answer>>,
    ) -> Refused<Answer> {
        // While one is under way its documents are pending, and no leftovers.
        let _turn = match request.request_id()? {
            Some(id) => Some(self.turns.take(&request.caller.msp, id).await),
            None => None,
        };
        if let Some(answer) = self.repeated(request, what).await? {
            return Ok(replay(&answer));
        }
        let done = work.await;
        if done
            .as_ref()
            .is_err_and(|refusal| refusal.status != StatusCode::ACCEPTED)
        {
            self.forget(request);
        }
        done
    }

    /// Looks a repeated request up. Gives the first answer when there is one.
    async fn repeated(&self, request: &Request, what: &str) -> Refused<Option<String>> {
        let Some(id) = request.request_id()? else {
            return Ok(None);
        };
        let msp = request.caller.msp.as_str();
        let body = String::from_utf8_lossy(&request.body);
        let content = [what, request.caller.name.as_str(), &body];
        let mut known = self
            .store
            .begin_request(msp, id, &content)
            .map_err(store_error)?;
        if known == Known::Unfinished {
            self.recover_pending(Some(id)).await?;
            let written = self.store.written_for(msp, id).map_err(store_error)?;
            if let Some(answer) = answer_of(what, &written) {
                known = Known::Answered(answer);
            }
        }
        match known {
            Known::New => Ok(None),
            Known::Answered(answer) => Ok(Some(answer)),
            // What it left is gone: it starts afresh.
            Known::Unfinished => Ok(None),
            Known::Other => Err(Refusal::new(
                StatusCode::CONFLICT,
                "conflict",
                "REQUEST_ID_REUSED",
                "this X-Request-Id was used for another request",
            )),
        }
    }

    fn forget(&self, request: &Request) {
        if let Ok(Some(id)) = request.request_id()
            && let Err(error) = self.store.forget_request(&request.caller.msp, id)
        {
            tracing::warn!(%error, "a refused request id stays");
        }
    }

    /// Asks the ledger about what a crash left pending.
    pub async fn recover_pending(&self, request: Option<&str>) -> Refused<(usize, usize)> {
        let pending = self.store.pending().map_err(store_error)?;
        let (mut settled, mut discarded) = (0, 0);
        for document in pending {
            if request.is_some() && document.request.as_deref() != request {
                continue;
            }
            match self.committed_version(&document).await? {
                Some((tx, at)) => {
                    let settlement = Settlement {
                        tx: &tx.0,
                        block: tx.1,
                        at,
                        ..Settlement::default()
                    };
                    self.store
                        .settle(&[(document.id, document.version)], &settlement)
                        .map_err(store_error)?;
                    settled += 1;
                }
                None => {
                    self.store
                        .discard(&[(document.id, document.version)])
                        .map_err(store_error)?;
                    discarded += 1;
                }
            }
        }
        Ok((settled, discarded))
    }

    /// The transaction and block that committed exactly these bytes, and when.
    async fn committed_version(&self, document: &Pending) -> Refused<Option<((String, u64), i64)>> {
        let Some(custodian) = self.settings.custodians.get(&document.custodian) else {
            return Ok(None);
        };
        let call = Call::new("records", "RecordHistory", json!({"id": document.id}));
        let history: Value = match self.ask(&custodian.key_service, call).await {
            Ok(history) => history,
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let found = history.as_array().into_iter().flatten().find(|entry| {
            entry["value"]["version"].as_u64() == Some(document.version.into())
                && entry["value"]["ctHash"].as_str() == Some(&document.ct_hash)
        });
        let Some(entry) = found else { return Ok(None) };
        let tx = entry["txId"].as_str().unwrap_or_default().to_owned();
        let proof = self.ledger.proof(&custodian.key_service, &tx).await?;
        let at = entry["at"].as_i64().unwrap_or_default();
        Ok(Some(((tx, proof.block), at.saturating_mul(1000))))
    }
}

/// What a request would have been answered, of what it wrote before a crash.
fn answer_of(what: &str, written: &[(String, String, u32, String)]) -> Option<String> {
    let (kind, id, version, tx) = written.first()?;
    if what != "transaction" {
        let location = format!("{kind}/{id}/_history/{version}");
        return Some(json!({"location": location, "version": version, "tx": tx}).to_string());
    }
    let entries = written
        .iter()
        .map(|(kind, id, _, tx)| crate::bundle::created(kind, id, tx, None))
        .collect();
    Some(crate::bundle::response("transaction-response", entries).to_string())
}

/// The answer to a create or update that was made before: where it is, without its content.
pub(crate) fn created_before(answer: &str) -> Answer {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    let version = answer["version"]
        .as_u64()
        .and_then(|v| u32::try_from(v).ok());
    Answer {
        status: if version == Some(1) {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        },
        version,
        location: text("location"),
        tx: text("tx"),
        ..Answer::default()
    }
}

impl Fhir {
    /// Settles what a crash left between the store and the ledger: documents whose transaction
    /// was committed become readable, the others are removed. Gives the number of both.
    ///
    /// # Errors
    /// The ledger or the store does not answer.
    pub async fn recover(&self) -> Result<(usize, usize), Box<Refusal>> {
        self.inner.recover_pending(None).await
    }
}
