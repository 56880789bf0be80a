//! A ledger in memory behind [`Ledger`], for tests of this surface and of what stands on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consilium_contracts::Caller;
use consilium_contracts::testing::{Proposal, TestLedger, Validity};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::Identity;
use crate::ledger::{Call, Committed, Endorser, Ledger, LedgerError, Proof};

/// A function, and the call that comes before the next one of it.
type Race = (&'static str, Identity, Call);

/// A [`TestLedger`] with the built-in contracts.
#[derive(Clone)]
pub struct MemoryLedger {
    ledger: Arc<Mutex<TestLedger>>,
    proofs: Arc<Mutex<BTreeMap<String, Proof>>>,
    conflicts: Arc<Mutex<usize>>,
    unavailable: Arc<Mutex<bool>>,
    lost: Arc<Mutex<bool>>,
    before: Arc<Mutex<Option<Race>>>,
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLedger {
    /// Empty.
    pub fn new() -> Self {
        MemoryLedger {
            ledger: Arc::new(Mutex::new(TestLedger::new())),
            proofs: Arc::default(),
            conflicts: Arc::default(),
            unavailable: Arc::default(),
            lost: Arc::default(),
            before: Arc::default(),
        }
    }

    /// The ledger itself.
    pub fn with<T>(&self, look: impl FnOnce(&mut TestLedger) -> T) -> T {
        look(&mut self.ledger.lock())
    }

    /// Lets the next transactions lose against another one.
    pub fn lose(&self, times: usize) {
        *self.conflicts.lock() = times;
    }

    /// Takes endorsers and orderers away, or brings them back.
    pub fn set_unavailable(&self, unavailable: bool) {
        *self.unavailable.lock() = unavailable;
    }

    /// Commits the next transaction and lets nobody know.
    pub fn lose_next_answer(&self) {
        *self.lost.lock() = true;
    }

    /// Commits another call just before the next one of a function: the race that was lost.
    pub fn before_next(&self, function: &'static str, caller: Identity, call: Call) {
        *self.before.lock() = Some((function, caller, call));
    }

    fn proposal(caller: &Identity, call: &Call) -> Proposal {
        let attributes = [
            ("hc.role", &caller.role),
            ("hc.sid", &caller.sid),
            ("hc.pid", &caller.pid),
        ];
        let attributes: Vec<(&str, &str)> = attributes
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
            .collect();
        let creator = Caller::for_tests(&caller.msp, &caller.name, &attributes);
        let mut proposal = Proposal::new(call.chaincode, call.function, &creator).json(&call.args);
        if let Some(id) = &call.request_id {
            proposal = proposal.arg(id);
        }
        for (name, value) in &call.transient {
            proposal = proposal.transient(name, value);
        }
        proposal
    }

    fn submit_now(&self, caller: &Identity, call: &Call) -> Result<Committed, LedgerError> {
        if *self.unavailable.lock() {
            return Err(LedgerError::Unavailable(
                "no endorsers are there".to_owned(),
            ));
        }
        let first = {
            let mut before = self.before.lock();
            before.take_if(|(function, _, _)| *function == call.function)
        };
        if let Some((_, other, first)) = first {
            self.submit_now(&other, &first)?;
        }
        let mut ledger = self.ledger.lock();
        let simulation = ledger.endorse(Self::proposal(caller, call));
        let response = simulation.response.clone();
        if !response.is_endorsable() {
            return Err(LedgerError::Refused {
                status: response.status,
                message: response.message,
            });
        }
        let tx_id = simulation.tx_id().to_owned();
        let conflict = {
            let mut left = self.conflicts.lock();
            let conflict = *left > 0;
            *left = left.saturating_sub(1);
            conflict
        };
        let invalid = |code: &str| LedgerError::Invalid {
            tx_id: tx_id.clone(),
            code: code.to_owned(),
        };
        if conflict {
            return Err(invalid("MVCC_READ_CONFLICT"));
        }
        match ledger.commit(simulation) {
            Validity::Valid => {}
            Validity::MvccReadConflict => return Err(invalid("MVCC_READ_CONFLICT")),
            Validity::PhantomReadConflict => return Err(invalid("PHANTOM_READ_CONFLICT")),
        }
        let block = ledger.height();
        self.proofs.lock().insert(
            tx_id.clone(),
            Proof {
                tx_id: tx_id.clone(),
                channel: "health".to_owned(),
                block,
                validation: "VALID".to_owned(),
                at: ledger.now(),
                creator_msp: caller.msp.clone(),
                endorsers: ["HospitalMSP", "RegulatorMSP"]
                    .map(|msp| Endorser {
                        msp: msp.to_owned(),
                    })
                    .to_vec(),
            },
        );
        if std::mem::take(&mut *self.lost.lock()) {
            return Err(LedgerError::Pending { tx_id });
        }
        Ok(Committed {
            tx_id,
            block,
            payload: response.payload,
        })
    }
}

impl Ledger for MemoryLedger {
    fn submit<'a>(
        &'a self,
        caller: &'a Identity,
        call: Call,
    ) -> BoxFuture<'a, Result<Committed, LedgerError>> {
        async move {
            // As on the way to a ledger: others get their turn.
            tokio::task::yield_now().await;
            self.submit_now(caller, &call)
        }
        .boxed()
    }

    fn evaluate<'a>(
        &'a self,
        caller: &'a Identity,
        call: Call,
    ) -> BoxFuture<'a, Result<Bytes, LedgerError>> {
        async move {
            let response = self.ledger.lock().evaluate(Self::proposal(caller, &call));
            if response.is_endorsable() {
                Ok(response.payload)
            } else {
                Err(LedgerError::Refused {
                    status: response.status,
                    message: response.message,
                })
            }
        }
        .boxed()
    }

    fn proof<'a>(
        &'a self,
        _caller: &'a Identity,
        tx_id: &'a str,
    ) -> BoxFuture<'a, Result<Proof, LedgerError>> {
        async move {
            self.proofs
                .lock()
                .get(tx_id)
                .cloned()
                .ok_or_else(|| LedgerError::UnknownTransaction(tx_id.to_owned()))
        }
        .boxed()
    }
}
