//! Provenance, made from transactions: who committed something, where, and who endorsed it.

use serde_json::{Value, json};

use crate::dates;
use crate::ledger::Proof;
use crate::outcome::{Refusal, Refused};
use crate::references;
use crate::register::store_error;
use crate::request::{Answer, Request};
use crate::server::Inner;

/// Transactions that one search proves.
const MAX_PROOFS: usize = 50;

fn organization(msp: &str) -> Value {
    json!({"identifier": {"system": format!("{}:msp", crate::SYSTEM), "value": msp}})
}

fn role(code: &str) -> Value {
    json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": code}]})
}

impl Inner {
    /// A Provenance of a transaction. Its id is the transaction's.
    pub fn provenance_of(&self, proof: &Proof, targets: &[(String, String, u32)]) -> Value {
        let url = |name: &str| format!("{}:{name}", crate::SYSTEM);
        let targets: Vec<Value> = if targets.is_empty() {
            vec![json!({"identifier": {"system": url("transaction"), "value": proof.tx_id}})]
        } else {
            targets
                .iter()
                .map(|(kind, id, version)| json!({"reference": format!("{kind}/{id}/_history/{version}")}))
                .collect()
        };
        let mut agents =
            vec![json!({"type": role("author"), "who": organization(&proof.creator_msp)})];
        for endorser in &proof.endorsers {
            agents.push(json!({"type": role("verifier"), "who": organization(&endorser.msp)}));
        }
        json!({
            "resourceType": "Provenance",
            "id": proof.tx_id,
            "target": targets,
            "recorded": dates::instant_of_seconds(proof.at),
            "agent": agents,
            "extension": [
                {"url": url("channel"), "valueString": proof.channel},
                {"url": url("block"), "valueDecimal": proof.block},
                {"url": url("transaction"), "valueString": proof.tx_id},
                {"url": url("validation"), "valueCode": proof.validation},
            ],
        })
    }

    async fn proven(&self, request: &Request, tx: &str) -> Refused<Value> {
        let proof = self.ledger.proof(&request.caller, tx).await?;
        let caller = &request.caller;
        // What else a transaction wrote is told to those alone whose it is.
        let targets: Vec<(String, String, u32)> = self
            .store
            .written_by(tx)
            .map_err(store_error)?
            .into_iter()
            .filter(|written| {
                if caller.is_person() {
                    caller.sid.as_ref() == Some(&written.sid)
                } else {
                    caller.msp == written.custodian
                }
            })
            .map(|written| (written.kind, written.id, written.version))
            .collect();
        Ok(self.provenance_of(&proof, &targets))
    }

    /// `GET Provenance/[transaction]`.
    pub async fn read_provenance(&self, request: &Request, id: &str) -> Refused<Answer> {
        Ok(Answer {
            tx: Some(id.to_owned()),
            ..Answer::ok(self.proven(request, id).await?)
        })
    }

    /// `GET Provenance?target=Type/id`.
    pub async fn search_provenance(&self, request: &Request) -> Refused<Answer> {
        let target = request.parameter("target").ok_or_else(|| {
            Refusal::malformed("MISSING", "Provenance is searched by target=Type/id")
        })?;
        let local = references::local(target)
            .ok_or_else(|| Refusal::malformed("BAD_PARAMETER", "target is Type/id"))?;
        self.stored(request, local.kind, local.id)?;
        let mut versions = self.versions(request, local.id).await?;
        versions.truncate(MAX_PROOFS);
        let mut entries = Vec::new();
        for version in versions {
            let proof = self.ledger.proof(&request.caller, &version.tx_id).await?;
            let number = version.value.map_or(0, |record| record.version);
            let targets = [(local.kind.to_owned(), local.id.to_owned(), number)];
            entries.push(self.entry(self.provenance_of(&proof, &targets), "match"));
        }
        let mut bundle =
            json!({"resourceType": "Bundle", "type": "searchset", "total": entries.len()});
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        Ok(Answer::ok(bundle))
    }

    fn entry(&self, resource: Value, mode: &str) -> Value {
        let kind = resource["resourceType"].as_str().unwrap_or_default();
        let id = resource["id"].as_str().unwrap_or_default();
        json!({
            "fullUrl": format!("{}/{kind}/{id}", self.settings.base),
            "resource": resource,
            "search": {"mode": mode},
        })
    }

    /// Adds to a page the Provenance of what is on it.
    pub async fn add_provenance(&self, request: &Request, entries: &mut Vec<Value>) -> Refused<()> {
        let system = format!("{}:ledger-tx", crate::SYSTEM);
        let mut transactions: Vec<String> = entries
            .iter()
            .filter_map(|entry| {
                let tags = entry["resource"]["meta"]["tag"].as_array()?;
                let tag = tags
                    .iter()
                    .rev()
                    .find(|tag| tag["system"] == system.as_str())?;
                tag["code"].as_str().map(str::to_owned)
            })
            .collect();
        transactions.sort();
        transactions.dedup();
        for tx in transactions {
            let provenance = self.proven(request, &tx).await?;
            entries.push(self.entry(provenance, "include"));
        }
        Ok(())
    }
}
