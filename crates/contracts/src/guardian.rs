//! Who may speak for whom, in contracts that have subjects: `ward~guardianSid~sid`, in the
//! contract's own state.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};

/// `ward~guardianSid~sid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ward {
    until: i64,
    evidence_hash: String,
    linked: bool,
}

/// A guardian and whom it speaks for, by their pseudonyms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Guardianship {
    pub guardian_sid: String,
    pub sid: String,
}

impl Guardianship {
    fn check(&self) -> Result<(), Failure> {
        fields::sid("guardianSid", &self.guardian_sid)?;
        fields::sid("sid", &self.sid)
    }

    pub fn key(&self) -> [&str; 2] {
        [&self.guardian_sid, &self.sid]
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LinkGuardian {
    guardian_sid: String,
    sid: String,
    until: i64,
    evidence_hash: String,
}

/// `LinkGuardian`, once the contract has let the caller in.
pub(crate) fn link(call: &mut Call<'_>) -> Result<(Guardianship, Outcome), Failure> {
    let args: LinkGuardian = call.args()?;
    let pair = Guardianship {
        guardian_sid: args.guardian_sid,
        sid: args.sid,
    };
    pair.check()?;
    fields::hash("evidenceHash", &args.evidence_hash)?;
    if pair.guardian_sid == pair.sid {
        return Err(Failure::rule(
            "SELF_GUARDIAN",
            "nobody is their own guardian",
        ));
    }
    if args.until <= call.now {
        return Err(Failure::rule("PERIOD", "a guardianship ends in the future"));
    }
    let ward = Ward {
        until: args.until,
        evidence_hash: args.evidence_hash,
        linked: true,
    };
    call.store("ward", &pair.key(), &ward)?;
    let id = call.stub.tx_id().to_owned();
    let outcome = Outcome::changed(&id, "Linked").event(call, "GuardianLinked", &id, "Linked", "");
    Ok((pair, outcome))
}

/// `UnlinkGuardian`, once the contract has let the caller in.
pub(crate) fn unlink(call: &mut Call<'_>) -> Result<(Guardianship, Outcome), Failure> {
    let pair: Guardianship = call.args()?;
    pair.check()?;
    let mut ward: Ward = call
        .load("ward", &pair.key())?
        .ok_or_else(|| Failure::not_found("no such guardianship"))?;
    if !ward.linked {
        return Err(Failure::conflict(
            "BAD_STATE",
            "the guardianship is Unlinked, UnlinkGuardian needs Linked",
        ));
    }
    ward.linked = false;
    call.store("ward", &pair.key(), &ward)?;
    let id = call.stub.tx_id().to_owned();
    let outcome =
        Outcome::changed(&id, "Unlinked").event(call, "GuardianUnlinked", &id, "Unlinked", "");
    Ok((pair, outcome))
}

impl Call<'_> {
    /// Whether somebody is the guardian of this person now.
    pub fn is_guardian(&mut self, guardian_sid: &str, sid: &str) -> Result<bool, Failure> {
        let ward: Option<Ward> = self.load("ward", &[guardian_sid, sid])?;
        Ok(ward.is_some_and(|ward| ward.linked && self.now < ward.until))
    }
}
