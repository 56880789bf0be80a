//! What an organization has approved, and what a channel has agreed on.

use clap::Args;
use consilium_client::lifecycle_args;
use consilium_proto::lifecycle::{
    ChaincodeSource, QueryApprovedChaincodeDefinitionArgs, QueryApprovedChaincodeDefinitionResult,
    QueryApprovedChaincodeDefinitionsArgs, QueryApprovedChaincodeDefinitionsResult,
    QueryChaincodeDefinitionArgs, QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsArgs,
    QueryChaincodeDefinitionsResult, chaincode_source,
};

use super::{ChannelArgs, OutputArgs, decoded, query};
use crate::commands::{
    golang,
    peer::{Environment, Rest, flags, targets::TargetArgs},
};

/// Arguments of `queryapproved`.
#[derive(Debug, Args)]
pub struct QueryApprovedArgs {
    #[command(flatten)]
    of: ChannelArgs,
    /// The sequence number of the chaincode definition for the channel.
    #[arg(
        long,
        default_value = "0",
        hide_default_value = true,
        value_parser = flags::integer,
        value_name = "NUMBER"
    )]
    sequence: i64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    _rest: Rest,
}

/// Arguments of `querycommitted`.
#[derive(Debug, Args)]
pub struct QueryCommittedArgs {
    #[command(flatten)]
    of: ChannelArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    _rest: Rest,
}

/// Prints what the organization has approved: one definition, or all.
///
/// # Errors
/// Something is missing, or what the peer answered.
pub async fn approved(environment: &Environment, args: &QueryApprovedArgs) -> anyhow::Result<()> {
    let ChannelArgs { channel, name } = &args.of;
    anyhow::ensure!(
        !channel.is_empty(),
        "The required parameter 'channelID' is empty. Rerun the command with -C flag"
    );
    anyhow::ensure!(
        !name.is_empty() || args.sequence == 0,
        "Specifying parameter 'sequence' is invalid without parameter 'name'. Rerun the command with -n flag"
    );
    let call = match name.as_str() {
        "" => lifecycle_args(
            "QueryApprovedChaincodeDefinitions",
            &QueryApprovedChaincodeDefinitionsArgs {},
        ),
        name => lifecycle_args(
            "QueryApprovedChaincodeDefinition",
            &QueryApprovedChaincodeDefinitionArgs {
                name: name.to_owned(),
                sequence: args.sequence,
            },
        ),
    };
    let (command, targets) = ("queryapproved", &args.targets);
    let answer = query(environment, command, Some(channel), targets, "", call).await?;
    let printed = match (args.output.is_json(), name.is_empty()) {
        (true, all) => json("QueryApprovedChaincodeDefinition", all, &answer)?,
        (false, false) => approved_one(channel, name, &decoded(answer)?),
        (false, true) => approved_all(channel, &decoded(answer)?),
    };
    print!("{printed}");
    Ok(())
}

/// Prints what the channel has agreed on: one definition, or all.
///
/// # Errors
/// Something is missing, or what the peer answered.
pub async fn committed(environment: &Environment, args: &QueryCommittedArgs) -> anyhow::Result<()> {
    let ChannelArgs { channel, name } = &args.of;
    anyhow::ensure!(!channel.is_empty(), "channel name must be specified");
    let call = match name.as_str() {
        "" => lifecycle_args(
            "QueryChaincodeDefinitions",
            &QueryChaincodeDefinitionsArgs {},
        ),
        name => lifecycle_args(
            "QueryChaincodeDefinition",
            &QueryChaincodeDefinitionArgs {
                name: name.to_owned(),
            },
        ),
    };
    let (command, targets) = ("querycommitted", &args.targets);
    let answer = query(environment, command, Some(channel), targets, "", call).await?;
    let printed = match (args.output.is_json(), name.is_empty()) {
        (true, all) => json("QueryChaincodeDefinition", all, &answer)?,
        (false, false) => committed_one(channel, name, &decoded(answer)?),
        (false, true) => committed_all(channel, &decoded(answer)?),
    };
    print!("{printed}");
    Ok(())
}

/// The answer to `query`, or to the same for all, as one JSON object.
fn json(query: &str, all: bool, answer: &[u8]) -> anyhow::Result<String> {
    let several = if all { "s" } else { "" };
    let name = format!("lifecycle.{query}{several}Result");
    Ok(golang::json_indented(&name, answer)? + "\n")
}

fn approved_one(
    channel: &str,
    name: &str,
    found: &QueryApprovedChaincodeDefinitionResult,
) -> String {
    let shown = approval(
        found.sequence,
        &found.version,
        found.init_required,
        found.source.as_ref(),
        &found.endorsement_plugin,
        &found.validation_plugin,
    );
    format!(
        "Approved chaincode definition for chaincode '{name}' on channel '{channel}':\n{shown}\n"
    )
}

fn approved_all(channel: &str, found: &QueryApprovedChaincodeDefinitionsResult) -> String {
    let mut text = format!("Approved chaincode definitions on channel '{channel}':\n");
    for one in &found.approved_chaincode_definitions {
        let shown = approval(
            one.sequence,
            &one.version,
            one.init_required,
            one.source.as_ref(),
            &one.endorsement_plugin,
            &one.validation_plugin,
        );
        text.push_str(&format!("name: {}, {shown}\n", one.name));
    }
    text
}

fn approval(
    sequence: i64,
    version: &str,
    init_required: bool,
    source: Option<&ChaincodeSource>,
    endorsement_plugin: &str,
    validation_plugin: &str,
) -> String {
    let package_id = match source.and_then(|source| source.r#type.as_ref()) {
        Some(chaincode_source::Type::LocalPackage(local)) => local.package_id.as_str(),
        Some(chaincode_source::Type::Unavailable(_)) | None => "",
    };
    format!(
        "sequence: {sequence}, version: {version}, init-required: {init_required}, package-id: {package_id}, \
         endorsement plugin: {endorsement_plugin}, validation plugin: {validation_plugin}"
    )
}

fn committed_one(channel: &str, name: &str, found: &QueryChaincodeDefinitionResult) -> String {
    let shown = commitment(
        &found.version,
        found.sequence,
        &found.endorsement_plugin,
        &found.validation_plugin,
    );
    let approvals = found.approvals.iter();
    let approvals = approvals.map(|(organization, approved)| format!("{organization}: {approved}"));
    let approvals: Vec<_> = approvals.collect();
    format!(
        "Committed chaincode definition for chaincode '{name}' on channel '{channel}':\n{shown}, Approvals: [{}]\n",
        approvals.join(", ")
    )
}

fn committed_all(channel: &str, found: &QueryChaincodeDefinitionsResult) -> String {
    let mut text = format!("Committed chaincode definitions on channel '{channel}':\n");
    for one in &found.chaincode_definitions {
        let shown = commitment(
            &one.version,
            one.sequence,
            &one.endorsement_plugin,
            &one.validation_plugin,
        );
        text.push_str(&format!("Name: {}, {shown}\n", one.name));
    }
    text
}

fn commitment(version: &str, sequence: i64, endorsement: &str, validation: &str) -> String {
    format!(
        "Version: {version}, Sequence: {sequence}, Endorsement Plugin: {endorsement}, Validation Plugin: {validation}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approvals_and_commitments_read_as_fabric_prints_them() {
        let approved = QueryApprovedChaincodeDefinitionResult {
            sequence: 2,
            version: "1.0".into(),
            endorsement_plugin: "escc".into(),
            validation_plugin: "vscc".into(),
            init_required: true,
            source: Some(ChaincodeSource {
                r#type: Some(chaincode_source::Type::LocalPackage(
                    chaincode_source::Local {
                        package_id: "notes:ab".into(),
                    },
                )),
            }),
            ..Default::default()
        };
        assert_eq!(
            approved_one("c", "notes", &approved),
            "Approved chaincode definition for chaincode 'notes' on channel 'c':\n\
             sequence: 2, version: 1.0, init-required: true, package-id: notes:ab, endorsement plugin: escc, validation plugin: vscc\n"
        );
        let committed = QueryChaincodeDefinitionResult {
            sequence: 2,
            version: "1.0".into(),
            endorsement_plugin: "escc".into(),
            validation_plugin: "vscc".into(),
            approvals: [("B".to_owned(), false), ("A".to_owned(), true)].into(),
            ..Default::default()
        };
        assert_eq!(
            committed_one("c", "notes", &committed),
            "Committed chaincode definition for chaincode 'notes' on channel 'c':\n\
             Version: 1.0, Sequence: 2, Endorsement Plugin: escc, Validation Plugin: vscc, Approvals: [A: true, B: false]\n"
        );
    }
}
