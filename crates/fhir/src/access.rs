//! How documents are read again: decided on the ledger, checked against it, then opened.
//!
//! Also a custodian's own staff asks: the decision is what the patient sees in the audit trail.
//! For others the custodian confirms that it released the key, and the reader what arrived.

use consilium_contracts::vault::{Binding, VaultError, hash, verify};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ledger::Call;
use crate::outcome::{Refusal, Refused};
use crate::reactor::off_the_reactor;
use crate::register::new_id;
use crate::request::{Request, set_meta};
use crate::server::Inner;
use crate::store::Document;

/// Documents of one decision.
pub(crate) const MAX_BATCH: usize = 200;

#[derive(Deserialize)]
struct Verdict {
    decision: String,
    code: String,
}

/// One document as the ledger has it, in a decision.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    version: u32,
    ct_hash: String,
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct Decided {
    items: Vec<Item>,
}

/// A permitted access.
struct Granted {
    id: String,
    items: Vec<Item>,
    /// By breaking the glass: there is no release to confirm.
    emergency: bool,
}

/// A document that was read: its content, or that it is not what the ledger says.
pub(crate) type Opened = Result<Value, Tampered>;

/// A document whose bytes, version or key are not those of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tampered {
    pub id: String,
    pub access: String,
}

impl From<Tampered> for Box<Refusal> {
    fn from(tampered: Tampered) -> Self {
        Refusal::tampered(format!(
            "what is stored as {} is not what the ledger says; access {} says so there too. Tell the custodian: other documents are not affected.",
            tampered.id, tampered.access
        ))
    }
}

impl Inner {
    /// Reads documents of one subject at one custodian, at most [`MAX_BATCH`], all or none.
    pub async fn open(&self, request: &Request, documents: &[Document]) -> Refused<Vec<Opened>> {
        let Some(first) = documents.first() else {
            return Ok(Vec::new());
        };
        let granted = self.decide(request, documents).await?;
        let own = request.caller.msp == first.custodian && !request.caller.is_person();
        if !own && !granted.emergency {
            self.release(documents, &granted).await?;
        }
        let opened: Vec<Opened> = off_the_reactor(|| {
            documents
                .iter()
                .map(|document| self.open_one(document, &granted))
                .collect::<Refused<_>>()
        })?;
        let tampered = opened.iter().any(Result::is_err);
        if own && tampered && !granted.emergency {
            self.release(documents, &granted).await?;
        }
        if (!own || tampered) && !granted.emergency {
            self.receive(request, documents, &granted, &opened).await?;
        }
        Ok(opened)
    }

    /// Reads one document.
    pub async fn open_single(&self, request: &Request, document: &Document) -> Refused<Value> {
        let mut opened = self.open(request, std::slice::from_ref(document)).await?;
        match opened.pop() {
            Some(opened) => Ok(opened?),
            None => Err(Refusal::not_found(&document.kind, &document.id)),
        }
    }

    async fn decide(&self, request: &Request, documents: &[Document]) -> Refused<Granted> {
        let purpose = request.purpose()?;
        let restricted = documents.iter().any(|d| d.confidentiality != "N");
        if restricted && !purpose.stated {
            return Err(Refusal::forbidden(
                "PURPOSE",
                "restricted documents are read for a stated purpose: X-Purpose-Of-Use, or purpose_of_use in the token",
            ));
        }
        let mut ids: Vec<&str> = documents.iter().map(|d| d.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let (id, target) = (new_id(), json!({"records": ids}));
        let emergency = purpose.code == "ETREAT";
        let call = if emergency {
            let (reason, place) = request.emergency()?;
            Call::new(
                "records",
                "BreakGlass",
                json!({"accessId": id, "target": target, "reasonCode": reason, "placeRef": place}),
            )
        } else {
            Call::new(
                "records",
                "RequestAccess",
                json!({"accessId": id, "target": target, "purpose": purpose.code}),
            )
        };
        let committed = self.submit(&request.caller, call).await?;
        let verdict: Verdict = serde_json::from_slice(&committed.payload)
            .map_err(|error| Refusal::internal("reading a verdict", error))?;
        if verdict.decision != "Permitted" {
            return Err(Refusal::verdict(&verdict.code, &id));
        }
        let call = Call::new("records", "ReadAccess", json!({"accessId": id}));
        let decided: Decided = self.ask(&request.caller, call).await?;
        Ok(Granted {
            id,
            items: decided.items,
            emergency,
        })
    }

    /// Which of some documents a request would be permitted, without leaving a trace.
    pub async fn permitted(&self, request: &Request, documents: &[Document]) -> Refused<Vec<bool>> {
        let purpose = request.purpose()?.code;
        if purpose == "ETREAT" {
            return Ok(vec![true; documents.len()]);
        }
        let ids: Vec<&str> = documents.iter().map(|d| d.id.as_str()).collect();
        let call = Call::new(
            "records",
            "EvaluateAccess",
            json!({"target": {"records": ids}, "purpose": purpose}),
        );
        let decided: Decided = self.ask(&request.caller, call).await?;
        Ok(documents
            .iter()
            .map(|document| {
                decided.items.iter().any(|item| {
                    item.id == document.id
                        && matches!(item.code.as_str(), "CONSENT" | "LAW" | "SUBJECT")
                })
            })
            .collect())
    }

    async fn release(&self, documents: &[Document], granted: &Granted) -> Refused<()> {
        let custodian = &documents[0].custodian;
        let Some(keeper) = self.settings.custodians.get(custodian) else {
            return Err(Refusal::internal(
                "releasing a key",
                format!("no key service is configured for {custodian}"),
            ));
        };
        let keys: Vec<u8> = documents
            .iter()
            .flat_map(|document| document.sealed.wrapped_key.iter().copied())
            .collect();
        let call = Call::new(
            "records",
            "ConfirmRelease",
            json!({"accessId": granted.id, "keyFingerprint": hash(&keys)}),
        );
        self.submit(&keeper.key_service, call).await?;
        Ok(())
    }

    async fn receive(
        &self,
        request: &Request,
        documents: &[Document],
        granted: &Granted,
        opened: &[Opened],
    ) -> Refused<()> {
        let received: Vec<Value> = documents
            .iter()
            .zip(opened)
            .map(|(document, opened)| {
                let found = hash(&document.sealed.ciphertext);
                let said = granted.items.iter().find(|item| item.id == document.id);
                // A wrong key or version leaves the bytes as they were: that is no receipt either.
                let intact = said.is_some_and(|item| item.ct_hash == found);
                let told = if opened.is_err() && intact {
                    hash(document.sealed.wrapped_key.as_slice())
                } else {
                    found
                };
                json!({"id": document.id, "ctHash": told})
            })
            .collect();
        let call = Call::new(
            "records",
            "ConfirmReceipt",
            json!({"accessId": granted.id, "received": received}),
        );
        self.submit(&request.caller, call).await?;
        Ok(())
    }

    fn open_one(&self, document: &Document, granted: &Granted) -> Refused<Opened> {
        let tampered = Tampered {
            id: format!("{}/{}", document.kind, document.id),
            access: granted.id.clone(),
        };
        let item = granted.items.iter().find(|item| item.id == document.id);
        let intact = item.is_some_and(|item| {
            item.version == document.version
                && verify(&document.sealed.ciphertext, &item.ct_hash).is_ok()
        });
        if !intact {
            tracing::error!(record = %document.id, "TAMPERED");
            return Ok(Err(tampered));
        }
        self.decrypt(document, tampered)
    }

    /// Opens bytes that were compared with the ledger.
    pub fn decrypt(&self, document: &Document, tampered: Tampered) -> Refused<Opened> {
        let binding = Binding {
            record_id: &document.id,
            version: document.version,
            sid: &document.sid,
        };
        let opened = self.vault.open(
            &document.custodian,
            document.epoch,
            &binding,
            &document.sealed,
        );
        match opened {
            Ok(plaintext) => {
                let mut resource: Value = serde_json::from_slice(&plaintext)
                    .map_err(|error| Refusal::internal("reading a document", error))?;
                set_meta(&mut resource, document.version, document.at, &document.tx);
                Ok(Ok(resource))
            }
            Err(VaultError::NoKey) => Err(Refusal::new(
                http::StatusCode::GONE,
                "deleted",
                "ERASED",
                "the key of this document was destroyed",
            )),
            Err(VaultError::Tampered) => {
                tracing::error!(record = %document.id, "TAMPERED");
                Ok(Err(tampered))
            }
            Err(error) => Err(Refusal::internal("opening a document", error)),
        }
    }
}
