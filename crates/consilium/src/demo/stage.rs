//! Who acts in the demo, and how a step is told and checked.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use comfy_table::{ContentArrangement, Table, presets};
use consilium_client::{Call, ClientError, Gateway};
use serde_json::Value;

use crate::{
    commands::connect::{Target, target_of},
    network::{Network, Registrar},
};

/// Users of the demo: organization, name, role (`hc.role`).
const CAST: [(&str, &str, &str); 10] = [
    ("hospital", "clerk", "records"),
    ("hospital", "physician", "physician"),
    ("hospital", "supply", "supply"),
    ("maker", "regulatory", "regulatory"),
    ("maker", "shipping", "shipping"),
    ("maker", "vigilance", "vigilance"),
    ("regulator", "certifier", "certifier"),
    ("regulator", "recall", "recall"),
    ("regulator", "auditor", "auditor"),
    ("regulator", "inspector", "inspector"),
];

/// The people of the demo, each with a gateway of its organization.
pub struct Stage {
    gateways: BTreeMap<String, Gateway>,
    /// One per organization: a step is over when every peer has committed it, since the next one
    /// may be another organization's.
    observers: Vec<Gateway>,
    table: Table,
    /// Ids of all transactions that were acknowledged as committed.
    pub acknowledged: Vec<String>,
    refused: usize,
    steps: usize,
}

impl Stage {
    /// Enrols the cast and `patients` (name, pseudonym) and connects everybody.
    ///
    /// # Errors
    /// A CA refuses, or a peer cannot be reached.
    pub async fn open(network: &Network, patients: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut gateways = BTreeMap::new();
        let mut observers = Vec::new();
        for organization in &network.organizations {
            let registrar = Registrar::connect(network, organization).await?;
            let target = target_of(network, &format!("{}/User1", organization.name))?;
            let shared = target.gateway().await?;
            observers.push(shared.clone());
            let mut enrol = Vec::new();
            for (owner, name, role) in CAST {
                if owner == organization.name {
                    enrol.push((name, vec![("hc.role", role)]));
                }
            }
            if organization.name == "hospital" {
                for (name, sid) in patients {
                    enrol.push((*name, vec![("hc.role", "patient"), ("hc.sid", *sid)]));
                }
            }
            for (name, attributes) in enrol {
                registrar.user(name, "client", &attributes).await?;
                let identity = format!("{}/{name}", organization.name);
                let Target { signer, .. } = target_of(network, &identity)?;
                gateways.insert(identity, shared.clone().with_signer(signer));
            }
        }
        Ok(Self {
            gateways,
            observers,
            table: empty_table(),
            acknowledged: Vec::new(),
            refused: 0,
            steps: 0,
        })
    }

    /// The gateway of `hospital/physician` and the like.
    ///
    /// # Errors
    /// Nobody of that name.
    pub fn gateway(&self, who: &str) -> anyhow::Result<&Gateway> {
        self.gateways
            .get(who)
            .with_context(|| format!("nobody called {who} is in the demo"))
    }

    /// Submits and expects the commit; tells it as `what`.
    ///
    /// # Errors
    /// Anything but a valid commit.
    pub async fn does(
        &mut self,
        who: &str,
        what: &str,
        contract: &str,
        function: &str,
        args: Value,
    ) -> anyhow::Result<Value> {
        let (answer, _) = self.submit(who, contract, function, &args).await?;
        let outcome = match answer["code"].as_str() {
            Some(code) => format!("{} {code}", answer["decision"].as_str().unwrap_or_default()),
            None => answer["state"].as_str().unwrap_or("done").to_owned(),
        };
        self.tell(who, what, outcome.trim());
        Ok(answer)
    }

    /// Submits and expects a committed verdict with `code`: the refusal itself is on the ledger.
    ///
    /// # Errors
    /// Another verdict.
    pub async fn is_decided(
        &mut self,
        who: &str,
        what: &str,
        call: (&str, &str, Value),
        code: &str,
    ) -> anyhow::Result<Value> {
        let (contract, function, args) = call;
        let (answer, block) = self.submit(who, contract, function, &args).await?;
        let found = answer["code"].as_str().unwrap_or_default();
        if found != code {
            bail!("{who}: {what}: expected the verdict {code}, found {answer}");
        }
        let decision = answer["decision"].as_str().unwrap_or_default();
        self.tell(who, what, &format!("{decision} {code}, in block {block}"));
        Ok(answer)
    }

    /// Submits and expects the contract to refuse with `code`; nothing is ordered.
    ///
    /// # Errors
    /// It is accepted, or refused for another reason.
    pub async fn is_refused(
        &mut self,
        who: &str,
        what: &str,
        call: (&str, &str, Value),
        code: &str,
    ) -> anyhow::Result<()> {
        let (contract, function, args) = call;
        let call = Call::new(contract, function, [args.to_string()]);
        match self.gateway(who)?.submit(call).await {
            Ok(_) => bail!("{who}: {what}: was accepted, but {code} was expected"),
            Err(error) => {
                let text = error.to_string();
                if !text.contains(code) {
                    bail!("{who}: {what}: expected {code}, found: {text}");
                }
                self.refused += 1;
                self.tell(who, what, &format!("refused: {code}"));
                Ok(())
            }
        }
    }

    /// Evaluates.
    ///
    /// # Errors
    /// The contract refuses.
    pub async fn reads(
        &self,
        who: &str,
        contract: &str,
        function: &str,
        args: Value,
    ) -> anyhow::Result<Value> {
        let call = Call::new(contract, function, [args.to_string()]);
        let answer = self.gateway(who)?.evaluate(call).await?;
        serde_json::from_slice(&answer)
            .with_context(|| format!("{contract} {function} did not answer JSON"))
    }

    async fn submit(
        &mut self,
        who: &str,
        contract: &str,
        function: &str,
        args: &Value,
    ) -> anyhow::Result<(Value, u64)> {
        let call = Call::new(contract, function, [args.to_string()]);
        let gateway = self.gateway(who)?;
        let committed = match gateway.submit(call.clone()).await {
            // Somebody else changed what the contract had read: run it again on the new state.
            Err(ClientError::Invalid { .. }) => gateway.submit(call).await,
            other => other,
        }
        .with_context(|| format!("{who}: {contract} {function}"))?;
        for observer in &self.observers {
            observer.commit_status(&committed.tx_id).await?;
        }
        self.acknowledged.push(committed.tx_id.clone());
        let answer = if committed.payload.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&committed.payload)?
        };
        Ok((answer, committed.block))
    }

    /// Adds a line to the story.
    pub fn tell(&mut self, who: &str, what: &str, outcome: &str) {
        self.steps += 1;
        self.table.add_row([who, what, outcome]);
    }

    /// Prints the story so far under a heading and begins a new one.
    pub fn end_act(&mut self, heading: &str) {
        println!("\n{heading}\n{}", self.table);
        self.table = empty_table();
    }

    /// Steps told, and how many of them were refusals of a contract.
    pub fn counts(&self) -> (usize, usize) {
        (self.steps, self.refused)
    }
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["who", "does what", "outcome"]);
    table
}

impl Stage {
    /// Acknowledges a recall for one unit, without a line of its own in the story.
    ///
    /// # Errors
    /// The contract refuses.
    pub async fn acknowledges(&mut self, who: &str, args: Value) -> anyhow::Result<()> {
        self.submit(who, "devices", "AcknowledgeRecall", &args)
            .await
            .map(drop)
    }
}
