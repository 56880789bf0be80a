//! The lifecycle on real ledgers: two organizations, each with its own peer.

mod support;

use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_chaincode::lifecycle::{package_id, package_in_process};
use consilium_proto::lifecycle::{
    CheckCommitReadinessArgs, CheckCommitReadinessResult, GetInstalledChaincodePackageArgs,
    GetInstalledChaincodePackageResult, InstallChaincodeArgs, InstallChaincodeResult,
    QueryApprovedChaincodeDefinitionArgs, QueryApprovedChaincodeDefinitionResult,
    QueryApprovedChaincodeDefinitionsArgs, QueryApprovedChaincodeDefinitionsResult,
    QueryChaincodeDefinitionArgs, QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsArgs,
    QueryChaincodeDefinitionsResult, QueryInstalledChaincodeArgs, QueryInstalledChaincodesArgs,
    QueryInstalledChaincodesResult, chaincode_source,
};
use consilium_proto::protos::{CollectionConfigPackage, Response, TxValidationCode};
use consilium_protocol::rwset::TxRwSet;
use prost::Message;
use support::{CHANNEL, Consortium, ORG1, ORG2, Proposed, ask, ask_lifecycle, definition};

fn decoded<M: Message + Default>(response: Response) -> M {
    assert_eq!(response.status, 200, "{}", response.message);
    M::decode(response.payload).expect("the promised message")
}

fn kv() -> Vec<u8> {
    package_in_process("kv_1", "kv").expect("a good label")
}

#[tokio::test]
async fn a_contract_answers_once_both_organizations_agreed_to_it() {
    let consortium = Consortium::new();
    consortium.deploy(&definition("kv", 1, "1.0"), &kv()).await;
    consortium
        .submit(&[ORG1, ORG2], &ask("kv", &["put", "a", "1"]))
        .await;
    let response = consortium.respond(ORG2, &ask("kv", &["get", "a"])).await;
    assert_eq!(&response.payload[..], b"1");
    let endorsed = consortium
        .execute(ORG1, &ask("kv", &["get", "a"]))
        .await
        .expect("a response");
    assert_eq!(endorsed.chaincode_id.name, "kv");
    assert_eq!(endorsed.chaincode_id.version, "1.0");
    assert!(consortium.peers[ORG1].host.available(CHANNEL, "kv"));
    assert!(!consortium.peers[ORG1].host.available(CHANNEL, "nothing"));
}

#[tokio::test]
async fn every_invocation_reads_the_committed_sequence_and_nothing_else_of_the_definition() {
    let consortium = Consortium::new();
    consortium.deploy(&definition("kv", 1, "1.0"), &kv()).await;
    let call = consortium
        .endorse(&[ORG1, ORG2], &ask("kv", &["put", "a", "1"]))
        .await;
    let results = TxRwSet::parse(&call.results.public).expect("a read-write set");
    let read: Vec<(&str, Vec<&str>)> = results
        .namespaces
        .iter()
        .map(|ns| {
            (
                ns.name.as_str(),
                ns.reads.iter().map(|read| read.key.as_str()).collect(),
            )
        })
        .collect();
    assert_eq!(
        read,
        [
            ("_lifecycle", vec!["namespaces/fields/kv/Sequence"]),
            ("kv", vec![])
        ]
    );
}

#[tokio::test]
async fn what_is_missing_for_an_invocation_is_said() {
    let consortium = Consortium::new();
    let call = ask("kv", &["get", "a"]);
    let refusal = |cause: &str| {
        format!(
            "make sure the chaincode kv has been successfully defined on channel {CHANNEL} and try again: {cause}"
        )
    };
    let failed = consortium
        .execute(ORG1, &call)
        .await
        .expect_err("not defined");
    assert_eq!(failed.to_string(), refusal("chaincode kv not found"));

    let id = package_id("kv_1", &kv());
    let one = definition("kv", 1, "1.0");
    consortium.approve(ORG1, &one, &id).await;
    consortium
        .submit(
            &[ORG1],
            &ask_lifecycle("CommitChaincodeDefinition", &one.commit()),
        )
        .await;
    let failed = consortium
        .execute(ORG1, &call)
        .await
        .expect_err("not installed");
    assert_eq!(
        failed.to_string(),
        refusal("chaincode definition for 'kv' exists, but chaincode is not installed")
    );
    let failed = consortium
        .execute(ORG2, &call)
        .await
        .expect_err("not approved");
    assert_eq!(
        failed.to_string(),
        refusal(
            "chaincode definition for 'kv' at sequence 1 on channel 'mychannel' has not yet been approved by this org"
        )
    );
    consortium.install(&kv());
    assert_eq!(consortium.respond(ORG1, &call).await.status, 404);
    consortium.approve(ORG2, &one, &id).await;
    assert_eq!(consortium.respond(ORG2, &call).await.status, 404);
}

#[tokio::test]
async fn readiness_names_who_approved_and_what_differs() {
    let consortium = Consortium::new();
    let one = definition("kv", 1, "1.0");
    let asked = |version: &str| CheckCommitReadinessArgs {
        name: "kv".into(),
        sequence: 1,
        version: version.into(),
        ..CheckCommitReadinessArgs::default()
    };
    consortium.approve(ORG1, &one, "").await;
    let readiness: CheckCommitReadinessResult = decoded(
        consortium
            .respond(ORG2, &ask_lifecycle("CheckCommitReadiness", &asked("1.0")))
            .await,
    );
    assert_eq!(
        readiness.approvals.clone().into_iter().collect::<Vec<_>>(),
        [("Org1MSP".to_owned(), true), ("Org2MSP".to_owned(), false)]
    );
    assert_eq!(
        readiness.mismatches["Org2MSP"].items,
        ["ChaincodeParameters"]
    );
    let readiness: CheckCommitReadinessResult = decoded(
        consortium
            .respond(ORG2, &ask_lifecycle("CheckCommitReadiness", &asked("2.0")))
            .await,
    );
    assert_eq!(readiness.mismatches["Org1MSP"].items, ["EndorsementInfo"]);
    let wrong = CheckCommitReadinessArgs {
        sequence: 3,
        ..asked("1.0")
    };
    let refused = consortium
        .respond(ORG1, &ask_lifecycle("CheckCommitReadiness", &wrong))
        .await;
    assert_eq!(
        refused.message,
        "failed to invoke backing implementation of 'CheckCommitReadiness': requested sequence is 3, but new definition must be sequence 1"
    );
}

#[tokio::test]
async fn a_peer_does_not_sign_a_commit_that_its_organization_did_not_approve() {
    let consortium = Consortium::new();
    let one = definition("kv", 1, "1.0");
    consortium.approve(ORG1, &one, "").await;
    let commit = ask_lifecycle("CommitChaincodeDefinition", &one.commit());
    let refused = consortium.respond(ORG2, &commit).await;
    assert_eq!(
        (refused.status, refused.message.as_str()),
        (
            500,
            "failed to invoke backing implementation of 'CommitChaincodeDefinition': chaincode definition not agreed to by this org (Org2MSP)"
        )
    );
    assert_eq!(consortium.respond(ORG1, &commit).await.status, 200);
}

#[tokio::test]
async fn sequences_go_up_one_by_one_and_content_must_change() {
    let consortium = Consortium::new();
    let one = definition("kv", 1, "1.0");
    let refusal = async |proposed: &Proposed, package_id: &str| {
        let ask = ask_lifecycle(
            "ApproveChaincodeDefinitionForMyOrg",
            &proposed.approval(package_id),
        );
        let response = consortium.respond(ORG1, &ask).await;
        let prefix =
            "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': ";
        response
            .message
            .strip_prefix(prefix)
            .unwrap_or(&response.message)
            .to_owned()
    };
    let at = |sequence| Proposed {
        sequence,
        ..one.clone()
    };
    assert_eq!(
        refusal(&at(0), "").await,
        "requested sequence is 0, but first definable sequence number is 1"
    );
    assert_eq!(
        refusal(&at(2), "").await,
        "requested sequence 2 is larger than the next available sequence number 1"
    );
    assert_eq!(
        refusal(&at(-1), "").await,
        "currently defined sequence 0 is larger than requested sequence -1"
    );
    consortium.approve(ORG1, &one, "p:1").await;
    assert_eq!(
        refusal(&one, "p:1").await,
        "attempted to redefine uncommitted sequence (1) for namespace kv with unchanged content"
    );
    consortium.approve(ORG1, &one, "p:2").await;
    consortium
        .submit(
            &[ORG1],
            &ask_lifecycle("CommitChaincodeDefinition", &one.commit()),
        )
        .await;
    assert_eq!(
        refusal(&one, "p:2").await,
        "attempted to redefine the current committed sequence (1) for namespace kv"
    );
    let other = Proposed {
        version: "1.1".into(),
        ..one.clone()
    };
    assert_eq!(
        refusal(&other, "p:2").await,
        "attempted to redefine the current committed sequence (1) for namespace kv with different parameters: expected Version '1.0' does not match passed Version '1.1'"
    );
    assert_eq!(
        refusal(&at(0), "").await,
        "currently defined sequence 1 is larger than requested sequence 0"
    );
    // The package may change at the committed sequence.
    consortium.approve(ORG1, &one, "p:3").await;
    let malformed = Proposed {
        name: "_kv".into(),
        ..one.clone()
    };
    assert!(
        refusal(&malformed, "")
            .await
            .starts_with("error validating chaincode definition: invalid chaincode name '_kv'")
    );
}

#[tokio::test]
async fn a_second_definition_writes_only_what_changed() {
    let consortium = Consortium::new();
    let id = consortium.deploy(&definition("kv", 1, "1.0"), &kv()).await;
    let two = definition("kv", 2, "2.0");
    for peer in [ORG1, ORG2] {
        consortium.approve(peer, &two, &id).await;
    }
    let commit = ask_lifecycle("CommitChaincodeDefinition", &two.commit());
    let endorsed = consortium.endorse(&[ORG1, ORG2], &commit).await;
    let results = TxRwSet::parse(&endorsed.results.public).expect("a read-write set");
    let lifecycle = results
        .namespaces
        .iter()
        .find(|ns| ns.name == "_lifecycle")
        .expect("lifecycle");
    let written: Vec<&str> = lifecycle
        .writes
        .iter()
        .map(|write| write.key.as_str())
        .collect();
    assert_eq!(
        written,
        [
            "namespaces/fields/kv/EndorsementInfo",
            "namespaces/fields/kv/Sequence"
        ]
    );
    consortium.commit(&[endorsed]);
    let endorsed = consortium
        .execute(ORG1, &ask("kv", &["get", "a"]))
        .await
        .expect("a response");
    assert_eq!(endorsed.chaincode_id.version, "2.0");
}

#[tokio::test]
async fn installed_packages_are_listed_with_their_uses_and_given_back_byte_for_byte() {
    let consortium = Consortium::new();
    let install = InstallChaincodeArgs {
        chaincode_install_package: kv().into(),
    };
    let install = ask_lifecycle("InstallChaincode", &install).on("");
    let installed: InstallChaincodeResult = decoded(consortium.respond(ORG1, &install).await);
    assert_eq!(installed.package_id, package_id("kv_1", &kv()));
    assert_eq!(installed.label, "kv_1");
    let again = consortium.respond(ORG1, &install).await;
    assert_eq!(
        again.message,
        format!(
            "failed to invoke backing implementation of 'InstallChaincode': chaincode already successfully installed (package ID '{}')",
            installed.package_id
        )
    );
    let file = consortium.peers[ORG1]
        .packages()
        .join(format!("{}.tar.gz", installed.package_id.replace(':', ".")));
    assert_eq!(std::fs::read(file).expect("Fabric's file name"), kv());

    let get = GetInstalledChaincodePackageArgs {
        package_id: installed.package_id.clone(),
    };
    let package: GetInstalledChaincodePackageResult = decoded(
        consortium
            .respond(
                ORG1,
                &ask_lifecycle("GetInstalledChaincodePackage", &get).on(""),
            )
            .await,
    );
    assert_eq!(package.chaincode_install_package, kv());
    let unknown = QueryInstalledChaincodeArgs {
        package_id: "kv_2:00".into(),
    };
    let missing = consortium
        .respond(
            ORG1,
            &ask_lifecycle("QueryInstalledChaincode", &unknown).on(""),
        )
        .await;
    assert_eq!(
        (missing.status, missing.message.as_str()),
        (404, "chaincode install package 'kv_2:00' not found")
    );

    let one = definition("kv", 1, "1.0");
    consortium.approve(ORG1, &one, &installed.package_id).await;
    consortium
        .submit(
            &[ORG1],
            &ask_lifecycle("CommitChaincodeDefinition", &one.commit()),
        )
        .await;
    let list = ask_lifecycle("QueryInstalledChaincodes", &QueryInstalledChaincodesArgs {}).on("");
    let list: QueryInstalledChaincodesResult = decoded(consortium.respond(ORG1, &list).await);
    let [only] = &list.installed_chaincodes[..] else {
        panic!("one package")
    };
    let uses = &only.references[CHANNEL].chaincodes;
    assert_eq!(
        (uses[0].name.as_str(), uses[0].version.as_str()),
        ("kv", "1.0")
    );
}

#[tokio::test]
async fn packages_survive_a_restart_and_damaged_files_do_not_stop_it() {
    let consortium = Consortium::new();
    let id = consortium.install(&kv());
    let peer = &consortium.peers[ORG1];
    std::fs::write(peer.packages().join("evil.tar.gz"), b"no gzip").expect("a file");
    let other = format!("kv_9.{}.tar.gz", "0".repeat(64));
    std::fs::write(peer.packages().join(other), kv()).expect("a file");
    let host = Consortium::host_with(&peer.packages(), Vec::new(), peer.support.clone());
    let ids: Vec<String> = host
        .installed()
        .iter()
        .map(|package| package.id.clone())
        .collect();
    assert_eq!(ids, [id]);
}

#[tokio::test]
async fn a_package_for_a_contract_that_is_not_here_is_not_kept() {
    let consortium = Consortium::new();
    let peer = &consortium.peers[ORG1];
    let package = package_in_process("x", "no-such-contract").expect("a good label");
    let refused = peer.host.install(&package).expect_err("unknown contract");
    assert_eq!(
        refused.to_string(),
        "could not build chaincode: this peer has no contract named 'no-such-contract'"
    );
    assert!(peer.host.installed().is_empty());
    assert_eq!(
        std::fs::read_dir(peer.packages())
            .expect("a folder")
            .count(),
        0
    );
}

#[tokio::test]
async fn definitions_and_approvals_can_be_queried() {
    let consortium = Consortium::new();
    let id = consortium.deploy(&definition("kv", 1, "1.0"), &kv()).await;
    let two = definition("kv", 2, "2.0");
    consortium.approve(ORG1, &two, &id).await;

    let args = QueryChaincodeDefinitionArgs { name: "kv".into() };
    let committed: QueryChaincodeDefinitionResult = decoded(
        consortium
            .respond(ORG2, &ask_lifecycle("QueryChaincodeDefinition", &args))
            .await,
    );
    assert_eq!((committed.sequence, committed.version.as_str()), (1, "1.0"));
    assert_eq!(
        (
            committed.endorsement_plugin.as_str(),
            committed.validation_plugin.as_str()
        ),
        ("escc", "vscc")
    );
    assert!(committed.approvals.values().all(|approved| *approved));
    let list = ask_lifecycle(
        "QueryChaincodeDefinitions",
        &QueryChaincodeDefinitionsArgs {},
    );
    let list: QueryChaincodeDefinitionsResult = decoded(consortium.respond(ORG2, &list).await);
    assert_eq!(
        list.chaincode_definitions
            .iter()
            .map(|d| d.name.as_str())
            .collect::<Vec<_>>(),
        ["kv"]
    );
    let missing = QueryChaincodeDefinitionArgs {
        name: "nothing".into(),
    };
    let missing = consortium
        .respond(ORG2, &ask_lifecycle("QueryChaincodeDefinition", &missing))
        .await;
    assert_eq!(
        (missing.status, missing.message.as_str()),
        (404, "namespace nothing is not defined")
    );

    let latest = QueryApprovedChaincodeDefinitionArgs {
        name: "kv".into(),
        sequence: 0,
    };
    let ask_latest = ask_lifecycle("QueryApprovedChaincodeDefinition", &latest);
    for (peer, sequence) in [(ORG1, 2), (ORG2, 1)] {
        let approved: QueryApprovedChaincodeDefinitionResult =
            decoded(consortium.respond(peer, &ask_latest).await);
        assert_eq!(approved.sequence, sequence);
        let source = approved.source.and_then(|source| source.r#type);
        assert!(
            matches!(source, Some(chaincode_source::Type::LocalPackage(local)) if local.package_id == id)
        );
    }
    let third = QueryApprovedChaincodeDefinitionArgs {
        name: "kv".into(),
        sequence: 3,
    };
    let refused = consortium
        .respond(
            ORG1,
            &ask_lifecycle("QueryApprovedChaincodeDefinition", &third),
        )
        .await;
    assert!(refused.message.ends_with(
        "could not fetch approved chaincode definition (name: 'kv', sequence: '3') on channel 'mychannel'"), "{}", refused.message);
    let all = ask_lifecycle(
        "QueryApprovedChaincodeDefinitions",
        &QueryApprovedChaincodeDefinitionsArgs {},
    );
    let all: QueryApprovedChaincodeDefinitionsResult =
        decoded(consortium.respond(ORG1, &all).await);
    let all: Vec<i64> = all
        .approved_chaincode_definitions
        .iter()
        .map(|d| d.sequence)
        .collect();
    assert_eq!(all, [1, 2]);
}

#[tokio::test]
async fn a_version_that_requires_init_is_initialized_once_before_anything_else() {
    let consortium = Consortium::new();
    let mut one = definition("kv", 1, "1.0");
    one.init_required = true;
    let id = consortium.deploy(&one, &kv()).await;
    let call = ask("kv", &["get", "a"]);
    let failure = async |ask: &support::Ask| {
        let text = consortium
            .execute(ORG1, ask)
            .await
            .expect_err("no response")
            .to_string();
        text.split_once("invalid invocation: ")
            .expect("an invalid invocation")
            .1
            .to_owned()
    };
    let uninitialized =
        "chaincode 'kv' has not been initialized for this version, must call as init first";
    assert_eq!(failure(&call).await, uninitialized);
    consortium.submit(&[ORG1, ORG2], &call.clone().init()).await;
    assert_eq!(consortium.respond(ORG1, &call).await.status, 404);
    assert_eq!(
        failure(&call.clone().init()).await,
        "chaincode 'kv' is already initialized but called as init"
    );

    one.sequence = 2;
    one.version = "2.0".into();
    for peer in [ORG1, ORG2] {
        consortium.approve(peer, &one, &id).await;
    }
    consortium
        .submit(
            &[ORG1, ORG2],
            &ask_lifecycle("CommitChaincodeDefinition", &one.commit()),
        )
        .await;
    assert_eq!(failure(&call).await, uninitialized);

    consortium
        .deploy(
            &definition("free", 1, "1.0"),
            &package_in_process("free", "kv").expect("label"),
        )
        .await;
    assert_eq!(
        failure(&ask("free", &["get", "a"]).init()).await,
        "chaincode 'free' does not require initialization but called as init"
    );
}

#[tokio::test]
async fn callers_are_told_how_to_call() {
    let consortium = Consortium::new();
    let message = async |ask: &support::Ask| consortium.respond(ORG1, ask).await.message;
    assert_eq!(
        message(&ask("_lifecycle", &[])).await,
        "lifecycle scc must be invoked with arguments"
    );
    assert_eq!(
        message(&ask("_lifecycle", &["a", "b", "c"])).await,
        "lifecycle scc operations require exactly two arguments but received 3"
    );
    assert_eq!(
        message(&ask("_lifecycle", &["Nothing", ""])).await,
        "failed to invoke backing implementation of 'Nothing': receiver *lifecycle.Invocation.Nothing does not exist"
    );
    assert_eq!(
        message(&ask("_lifecycle", &["QueryChaincodeDefinition", ""]).on("other")).await,
        "could not get channelconfig for channel 'other'"
    );
    let garbage = message(&ask("_lifecycle", &["QueryChaincodeDefinition", "\u{7f}"])).await;
    assert!(garbage.contains("could not decode input arg"), "{garbage}");
    consortium.peers[ORG1]
        .support
        .refused
        .lock()
        .insert("_lifecycle/QueryChaincodeDefinitions".into());
    assert_eq!(
        message(&ask("_lifecycle", &["QueryChaincodeDefinitions", ""])).await,
        "Failed to authorize invocation due to failed ACL check: _lifecycle/QueryChaincodeDefinitions is refused"
    );
}

#[tokio::test]
async fn a_spoilt_definition_makes_one_chaincode_unusable_and_nothing_else() {
    // A chaincode cannot write there; two conspiring endorsers can sign whatever they like.
    for garbage in [&b"\xff\xff\xff"[..], b"", b"\x1a\x00"] {
        for field in ["Sequence", "EndorsementInfo", "Collections"] {
            let consortium = Consortium::new();
            consortium.deploy(&definition("kv", 1, "1.0"), &kv()).await;
            consortium
                .deploy(
                    &definition("other", 1, "1.0"),
                    &package_in_process("other", "kv").expect("label"),
                )
                .await;
            let key = format!("namespaces/fields/kv/{field}");
            let mut call = consortium
                .endorse(&[ORG1, ORG2], &ask("other", &["put", "a", "1"]))
                .await;
            spoil(&mut call, &key, garbage, &consortium);
            let reader = consortium.peers[ORG1].ledger().reader().expect("a reader");
            let outcome = lifecycle::definition(&reader, "kv");
            assert!(
                !matches!(outcome, Ok(Some(_))),
                "{field} {garbage:?}: {outcome:?}"
            );
            assert!(
                consortium
                    .execute(ORG1, &ask("kv", &["get", "a"]))
                    .await
                    .is_err()
            );
            assert_eq!(
                consortium
                    .respond(ORG1, &ask("other", &["get", "b"]))
                    .await
                    .status,
                404
            );
            let list = ask_lifecycle(
                "QueryChaincodeDefinitions",
                &QueryChaincodeDefinitionsArgs {},
            );
            let list: QueryChaincodeDefinitionsResult =
                decoded(consortium.respond(ORG2, &list).await);
            assert_eq!(list.chaincode_definitions.len(), 1);
        }
    }
}

/// Commits a transaction like `call` that writes `value` to a key of `_lifecycle`.
fn spoil(call: &mut support::Endorsed, key: &str, value: &'static [u8], consortium: &Consortium) {
    use consilium_protocol::rwset::{KvWrite, NsRwSet};
    let write = KvWrite {
        key: key.to_owned(),
        is_delete: value.is_empty(),
        value: Bytes::from_static(value),
    };
    let namespace = NsRwSet {
        name: "_lifecycle".into(),
        writes: vec![write],
        ..NsRwSet::default()
    };
    call.replace_results(
        TxRwSet {
            namespaces: vec![namespace],
        }
        .encode(),
    );
    assert_eq!(
        consortium.commit(std::slice::from_ref(call)),
        [TxValidationCode::Valid]
    );
}

#[tokio::test]
async fn collections_are_checked_before_an_organization_approves_them() {
    let consortium = Consortium::new();
    let refusal = async |collections: CollectionConfigPackage| {
        let proposed = Proposed {
            collections: Some(collections),
            ..definition("kv", 1, "1.0")
        };
        let ask = ask_lifecycle("ApproveChaincodeDefinitionForMyOrg", &proposed.approval(""));
        let message = consortium.respond(ORG1, &ask).await.message;
        let prefix = "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': error validating chaincode definition: ";
        message.strip_prefix(prefix).unwrap_or(&message).to_owned()
    };
    use support::collections::{members, of, package};
    assert_eq!(
        refusal(package(vec![of("_x", members(&["Org1MSP"]))])).await,
        "invalid collection name '_x'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'"
    );
    let twice = vec![
        of("x", members(&["Org1MSP"])),
        of("x", members(&["Org1MSP"])),
    ];
    assert_eq!(
        refusal(package(twice)).await,
        "collection-name: x -- found duplicate in collection configuration"
    );
    assert_eq!(
        refusal(package(vec![of("x", members(&["Org9MSP"]))])).await,
        "collection-name: x -- collection member 'Org9MSP' is not part of the channel"
    );
    let mut counts = of("x", members(&["Org1MSP"]));
    (counts.required_peer_count, counts.maximum_peer_count) = (2, 1);
    assert_eq!(
        refusal(package(vec![counts])).await,
        "collection-name: x -- maximum peer count (1) cannot be less than the required peer count (2)"
    );
    let mut open = of("x", members(&["Org1MSP"]));
    open.member_orgs_policy = None;
    assert_eq!(
        refusal(package(vec![open])).await,
        "collection-name: x -- collection member policy is not set"
    );
    let both = support::collections::all_of(&["Org1MSP", "Org2MSP"]);
    assert!(
        refusal(package(vec![of("x", both)]))
            .await
            .contains("signature policy is not an OR concatenation, NOutOf 2")
    );

    let mut kept = of("x", members(&["Org1MSP"]));
    kept.block_to_live = 5;
    let first = Proposed {
        collections: Some(package(vec![kept.clone()])),
        ..definition("kv", 1, "1.0")
    };
    consortium.approve(ORG1, &first, "").await;
    consortium
        .submit(
            &[ORG1],
            &ask_lifecycle("CommitChaincodeDefinition", &first.commit()),
        )
        .await;
    assert_eq!(
        refusal(CollectionConfigPackage::default()).await,
        "the proposed collection config does not contain previously defined collections"
    );
    assert_eq!(
        refusal(package(vec![of("y", members(&["Org1MSP"]))])).await,
        "existing collection [x] missing in the proposed collection configuration"
    );
    kept.block_to_live = 6;
    assert_eq!(
        refusal(package(vec![kept])).await,
        "the BlockToLive in an existing collection [x] modified. Existing value [5]"
    );
}
