//! Who has to endorse what concerns a card, beyond the contract's policy (healthcare.md R10).

use consilium_proto::common::signature_policy::{NOutOf, Type};
use consilium_proto::common::{
    MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope, msp_principal, msp_role,
};
use prost::Message;

use crate::failure::Failure;
use crate::key::composite_key;
use crate::purge::own_collection;
use crate::request::Call;
use crate::roles::Part;

/// The policy that a peer of the bureau and one of any regulator endorse.
fn both(bureau: &str, regulators: &[String]) -> Vec<u8> {
    let principal = |msp: &str| {
        let role = MspRole {
            msp_identifier: msp.to_owned(),
            role: msp_role::MspRoleType::Peer as i32,
        };
        MspPrincipal {
            principal_classification: msp_principal::Classification::Role as i32,
            principal: role.encode_to_vec().into(),
        }
    };
    let signed_by = |index: usize| SignaturePolicy {
        // There are as many principals as organizations configured, which a block has to hold.
        r#type: Some(Type::SignedBy(index as i32)),
    };
    let out_of = |n: i32, rules: Vec<SignaturePolicy>| SignaturePolicy {
        r#type: Some(Type::NOutOf(NOutOf { n, rules })),
    };
    let any_regulator = (1..=regulators.len()).map(signed_by).collect();
    SignaturePolicyEnvelope {
        version: 0,
        rule: Some(out_of(2, vec![signed_by(0), out_of(1, any_regulator)])),
        identities: std::iter::once(bureau)
            .chain(regulators.iter().map(String::as_str))
            .map(principal)
            .collect(),
    }
    .encode_to_vec()
}

impl Call<'_> {
    /// The card bureau: the first of the citizens' organizations that is no provider.
    pub(super) fn bureau(&mut self) -> Result<String, Failure> {
        let config = self.config()?;
        config
            .members(Part::Citizen)
            .iter()
            .find(|msp| !config.plays(msp, Part::Provider))
            .cloned()
            .ok_or_else(|| {
                Failure::rule(
                    "NO_BUREAU",
                    "the configuration names no organization of citizens that is no provider: Configure with a card bureau",
                )
            })
    }

    /// Whether the caller is the card bureau's issuer.
    pub(super) fn is_issuer(&mut self) -> Result<bool, Failure> {
        Ok(self.bureau()? == self.msp() && self.role() == Some("issuer"))
    }

    /// Refuses everybody but the card bureau's issuer.
    pub(super) fn require_issuer(&mut self) -> Result<String, Failure> {
        let bureau = self.bureau()?;
        if bureau != self.msp() {
            return Err(Failure::forbidden(
                "WRONG_ORG",
                format!("{} is for the card bureau, {bureau}", self.function()),
            ));
        }
        self.require_role(&["issuer"])?;
        Ok(bureau)
    }

    /// From now on bureau and regulator both endorse what is written to this key.
    pub(super) fn guard(&mut self, object_type: &str, attributes: &[&str]) -> Result<(), Failure> {
        let bureau = self.bureau()?;
        let policy = both(&bureau, self.config()?.members(Part::Regulator));
        let key = composite_key(object_type, attributes)?;
        Ok(self.stub.set_key_policy(&key, &policy)?)
    }

    /// Makes the bureau's endorsement necessary for this transaction, by a private write that only
    /// it can endorse. Nothing is read, so that two of them do not conflict.
    pub(super) fn mark_bureau(&mut self, handle: &str) -> Result<(), Failure> {
        let collection = own_collection(&self.bureau()?);
        let key = composite_key("mark", &[handle])?;
        let tx_id = self.stub.tx_id().to_owned();
        Ok(self.stub.put_private(&collection, &key, tx_id.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_asks_for_the_bureau_and_one_regulator() {
        let bytes = both("Z", &["R1".to_owned(), "R2".to_owned()]);
        let policy = SignaturePolicyEnvelope::decode(&bytes[..]).unwrap();
        let names: Vec<_> = policy
            .identities
            .iter()
            .map(|p| MspRole::decode(&p.principal[..]).unwrap())
            .map(|role| (role.msp_identifier, role.role))
            .collect();
        let peer = msp_role::MspRoleType::Peer as i32;
        assert_eq!(names, ["Z", "R1", "R2"].map(|msp| (msp.to_owned(), peer)));
        let Some(Type::NOutOf(rule)) = policy.rule.unwrap().r#type else {
            panic!("a threshold")
        };
        assert_eq!((rule.n, rule.rules.len()), (2, 2));
        assert_eq!(rule.rules[0].r#type, Some(Type::SignedBy(0)));
        let Some(Type::NOutOf(any)) = &rule.rules[1].r#type else {
            panic!("a threshold")
        };
        assert_eq!((any.n, any.rules.len()), (1, 2));
    }
}
