//! Whether somebody may practise at the moment of a transaction: the registry's answer.
//!
//! The registry is the contract [`crate::providers`], on the same channel, under the name that
//! the configuration of the asking contract gives. It is read in the asking transaction, so that
//! a suspension that is committed first makes that transaction invalid.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::failure::Failure;
use crate::request::Call;

/// What `Check` and `CheckOrganization` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub active: bool,
    /// Why not: `UNKNOWN`, `SUSPENDED`, `EXPIRED`, ….
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Standing {
    pub fn active() -> Self {
        Standing {
            active: true,
            reason: String::new(),
        }
    }

    pub fn inactive(reason: &str) -> Self {
        Standing {
            active: false,
            reason: reason.to_owned(),
        }
    }
}

impl Call<'_> {
    /// Whether the caller (`hc.pid`, at `hc.facility` if that is in the certificate) holds a
    /// credential for `role` that is in force. Active where the contract has no registry.
    pub fn practitioner_standing(&mut self, role: &str) -> Result<Standing, Failure> {
        let creator = self.stub.creator();
        let attribute = |name| creator.attribute(name).map(str::to_owned);
        let (pid, facility) = (attribute("hc.pid"), attribute("hc.facility"));
        let msp = self.msp().to_owned();
        self.standing_of(pid.as_deref(), &msp, role, facility.as_deref())
    }

    /// As [`Call::practitioner_standing`], of somebody who is not the caller.
    pub fn standing_of(
        &mut self,
        pid: Option<&str>,
        msp: &str,
        role: &str,
        facility: Option<&str>,
    ) -> Result<Standing, Failure> {
        if self.config()?.registry.is_empty() {
            return Ok(Standing::active());
        }
        let Some(pid) = pid else {
            return Ok(Standing::inactive("NO_PID"));
        };
        let question = match facility {
            Some(facility) => json!({"pid": pid, "org": msp, "role": role, "facility": facility}),
            None => json!({"pid": pid, "org": msp, "role": role}),
        };
        self.ask_registry("Check", &question)
    }

    /// Refuses a caller whose credential for `role` is not in force with 403 `CREDENTIAL`.
    pub fn require_practitioner(&mut self, role: &str) -> Result<(), Failure> {
        let standing = self.practitioner_standing(role)?;
        if standing.active {
            return Ok(());
        }
        Err(Failure::forbidden(
            "CREDENTIAL",
            format!(
                "{} needs a credential for {role} that is in force, the registry says {}",
                self.function(),
                standing.reason
            ),
        ))
    }

    /// As [`Call::require_practitioner`], for the caller's own `hc.role`.
    pub fn require_own_credential(&mut self) -> Result<(), Failure> {
        let role = self.role().unwrap_or_default().to_owned();
        self.require_practitioner(&role)
    }

    /// Whether an organization is registered, active and licensed for `scope`. Active where the
    /// contract has no registry.
    pub fn organization_standing(&mut self, msp: &str, scope: &str) -> Result<Standing, Failure> {
        if self.config()?.registry.is_empty() {
            return Ok(Standing::active());
        }
        self.ask_registry("CheckOrganization", &json!({"msp": msp, "scope": scope}))
    }

    fn ask_registry(
        &mut self,
        function: &str,
        question: &serde_json::Value,
    ) -> Result<Standing, Failure> {
        let registry = self.config()?.registry.clone();
        let answer = self.ask(&registry, function, question)?;
        if !answer.is_endorsable() {
            return Err(Failure::new(
                500,
                "REGISTRY",
                format!("{registry} does not answer {function}: {}", answer.message),
            ));
        }
        serde_json::from_slice(&answer.payload).map_err(|error| {
            Failure::new(
                500,
                "REGISTRY",
                format!("{registry} answers {function} with something else: {error}"),
            )
        })
    }
}
