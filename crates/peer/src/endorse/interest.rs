//! What a gateway has to know to plan further endorsements: chaincodes and collections touched, and
//! the key-level policies met on the way (`fabric: core/endorser/endorser.go` buildChaincodeInterest).

use bytes::Bytes;
use consilium_ledger::{SimulationResults, TouchedNamespace};
use consilium_proto::{common, protos};

/// The interest of a simulation; system chaincodes are planned for without one.
pub(super) fn of(
    results: &SimulationResults,
    is_system: impl Fn(&str) -> bool,
) -> protos::ChaincodeInterest {
    protos::ChaincodeInterest {
        chaincodes: results
            .namespaces
            .iter()
            .filter(|namespace| !is_system(&namespace.name))
            .flat_map(calls)
            .collect(),
    }
}

fn calls(namespace: &TouchedNamespace) -> Vec<protos::ChaincodeCall> {
    let mut calls = Vec::new();
    if namespace.needs_namespace_policy || !namespace.key_policies.is_empty() {
        calls.push(protos::ChaincodeCall {
            name: namespace.name.clone(),
            key_policies: policies(&namespace.key_policies),
            disregard_namespace_policy: !namespace.needs_namespace_policy,
            ..Default::default()
        });
    }
    calls.extend(
        namespace
            .collections
            .iter()
            .map(|collection| protos::ChaincodeCall {
                name: namespace.name.clone(),
                collection_names: vec![collection.name.clone()],
                no_private_reads: !collection.read_private,
                key_policies: policies(&collection.key_policies),
                ..Default::default()
            }),
    );
    calls
}

/// A stored policy that does not parse cannot be planned for; validation refuses it in any case.
fn policies(encoded: &[Bytes]) -> Vec<common::SignaturePolicyEnvelope> {
    encoded
        .iter()
        .filter_map(|policy| consilium_proto::decode(policy).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_ledger::TouchedCollection;
    use prost::Message as _;

    fn results(namespaces: Vec<TouchedNamespace>) -> SimulationResults {
        SimulationResults {
            public: Bytes::new(),
            private: None,
            namespaces,
            height: 1,
        }
    }

    #[test]
    fn system_chaincodes_are_left_out() {
        let touched = ["_lifecycle", "records"].map(|name| TouchedNamespace {
            name: name.to_owned(),
            needs_namespace_policy: true,
            ..Default::default()
        });
        let interest = of(&results(touched.to_vec()), |name| name == "_lifecycle");
        let names: Vec<_> = interest
            .chaincodes
            .iter()
            .map(|call| call.name.as_str())
            .collect();
        assert_eq!(names, ["records"]);
    }

    #[test]
    fn the_namespace_policy_is_disregarded_only_if_every_written_key_has_its_own() {
        let policy = Bytes::from(common::SignaturePolicyEnvelope::default().encode_to_vec());
        for (needs, key_policies, expected) in [
            (true, vec![], Some((0, false))),
            (true, vec![policy.clone()], Some((1, false))),
            (false, vec![policy.clone(), policy], Some((2, true))),
            (false, vec![], None),
        ] {
            let touched = TouchedNamespace {
                name: "cc".to_owned(),
                needs_namespace_policy: needs,
                key_policies,
                ..Default::default()
            };
            let interest = of(&results(vec![touched]), |_| false);
            let got = interest
                .chaincodes
                .first()
                .map(|call| (call.key_policies.len(), call.disregard_namespace_policy));
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn each_collection_is_a_call_that_says_whether_clear_values_were_read() {
        let collection = |name: &str, read_private| TouchedCollection {
            name: name.to_owned(),
            read_private,
            wrote: true,
            key_policies: vec![],
        };
        let touched = TouchedNamespace {
            name: "cc".to_owned(),
            collections: vec![collection("a", true), collection("b", false)],
            ..Default::default()
        };
        let interest = of(&results(vec![touched]), |_| false);
        let calls: Vec<_> = interest
            .chaincodes
            .iter()
            .map(|call| (call.collection_names.join(","), call.no_private_reads))
            .collect();
        assert_eq!(calls, [("a".to_owned(), false), ("b".to_owned(), true)]);
    }
}
