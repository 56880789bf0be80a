//! Who has approved a definition. fabric: internal/peer/lifecycle/chaincode/checkcommitreadiness.go

use std::collections::BTreeMap;

use clap::Args;
use consilium_client::ApprovedDefinition;
use consilium_proto::lifecycle::{
    CheckCommitReadinessResult, check_commit_readiness_result::Mismatches,
};
use prost::Message;

use super::{OutputArgs, decoded, definitions::DefinitionArgs, query};
use crate::commands::{
    golang,
    peer::{Environment, GoFlag, Rest, targets::TargetArgs},
};

/// Arguments of `checkcommitreadiness`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct ReadinessArgs {
    #[command(flatten)]
    definition: DefinitionArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Output additional information to identify discrepancies when an organization's approval is
    /// false.
    #[arg(long, switch = false)]
    inspect: bool,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    _rest: Rest,
}

/// Prints who has approved a definition.
///
/// # Errors
/// Something is missing, or what the peer answered.
pub async fn print(environment: &Environment, args: &ReadinessArgs) -> anyhow::Result<()> {
    let definition = args.definition.definition()?;
    let channel = &args.definition.of.channel;
    let (command, targets) = ("checkcommitreadiness", &args.targets);
    let call = definition.readiness();
    let answer = query(environment, command, Some(channel), targets, "", call).await?;
    let result = decoded(answer)?;
    if args.output.is_json() {
        let shown = for_json(result, args.inspect).encode_to_vec();
        let name = "lifecycle.CheckCommitReadinessResult";
        println!("{}", golang::json_indented(name, &shown)?);
    } else {
        print!("{}", as_text(channel, &definition, &result, args.inspect));
    }
    Ok(())
}

fn for_json(mut result: CheckCommitReadinessResult, inspect: bool) -> CheckCommitReadinessResult {
    result.mismatches = match inspect {
        true => result.mismatches.into_iter().map(described).collect(),
        false => BTreeMap::new(),
    };
    result
}

fn described((organization, found): (String, Mismatches)) -> (String, Mismatches) {
    let items = found.items.into_iter().map(|item| {
        let check = match item.as_str() {
            "ChaincodeParameters" => "Sequence, ChaincodeName",
            "EndorsementInfo" => "Version, InitRequired, EndorsementPlugin",
            "ValidationInfo" => "ValidationParameter, ValidationPlugin",
            "Collections" => "Collections",
            _ => return item,
        };
        format!("{item} (Check the {check})")
    });
    let items = items.collect();
    (organization, Mismatches { items })
}

fn as_text(
    channel: &str,
    definition: &ApprovedDefinition,
    result: &CheckCommitReadinessResult,
    inspect: bool,
) -> String {
    let mut text = format!(
        "Chaincode definition for chaincode '{}', version '{}', sequence '{}' on channel '{channel}' approval status by org:\n",
        definition.name, definition.version, definition.sequence
    );
    for (organization, approved) in &result.approvals {
        text.push_str(&format!("{organization}: {approved}"));
        let items = result.mismatches.get(organization);
        let items = items.map_or(&[][..], |found| &found.items);
        if inspect && !items.is_empty() {
            text.push_str(&format!(" (mismatch: [{}])", items.join(", ")));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approvals_are_listed_with_what_differs_when_asked() {
        let definition = ApprovedDefinition {
            name: "notes".into(),
            version: "1".into(),
            sequence: 2,
            ..ApprovedDefinition::default()
        };
        let result = CheckCommitReadinessResult {
            approvals: [("B".to_owned(), false), ("A".to_owned(), true)].into(),
            mismatches: [(
                "B".to_owned(),
                Mismatches {
                    items: vec!["EndorsementInfo".into(), "Other".into()],
                },
            )]
            .into(),
        };
        let head = "Chaincode definition for chaincode 'notes', version '1', sequence '2' on channel 'c' approval status by org:\n";
        assert_eq!(
            as_text("c", &definition, &result, false),
            format!("{head}A: true\nB: false\n")
        );
        assert_eq!(
            as_text("c", &definition, &result, true),
            format!("{head}A: true\nB: false (mismatch: [EndorsementInfo, Other])\n")
        );
        assert!(for_json(result.clone(), false).mismatches.is_empty());
        assert_eq!(
            for_json(result, true).mismatches["B"].items,
            [
                "EndorsementInfo (Check the Version, InitRequired, EndorsementPlugin)",
                "Other"
            ]
        );
    }
}
