//! What a command line says of a chaincode's definition, in the form that `_lifecycle` takes.

pub mod collections;

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use consilium_msp::dsl;
use consilium_proto::protos::{ApplicationPolicy, CollectionConfigPackage, application_policy};
use prost::Message;

use crate::commands::golang;

/// An endorsement policy in the form that a definition holds.
///
/// # Errors
/// The text is not a policy.
pub fn signature_policy(text: &str) -> anyhow::Result<Bytes> {
    let envelope = dsl::parse(text).with_context(|| format!("invalid signature policy: {text}"))?;
    Ok(encoded(application_policy::Type::SignaturePolicy(envelope)))
}

/// The policy of `--signature-policy` or `--channel-config-policy`; empty where neither is given,
/// which stands for the channel's default.
///
/// # Errors
/// Both are given, or the text is not a policy.
pub fn endorsement_policy(signature: &str, channel: &str) -> anyhow::Result<Bytes> {
    match (signature, channel) {
        ("", "") => Ok(Bytes::new()),
        (text, "") => signature_policy(text),
        ("", reference) => Ok(encoded(
            application_policy::Type::ChannelConfigPolicyReference(reference.to_owned()),
        )),
        _ => anyhow::bail!(
            "cannot specify both \"--signature-policy\" and \"--channel-config-policy\""
        ),
    }
}

fn encoded(policy: application_policy::Type) -> Bytes {
    let policy = ApplicationPolicy {
        r#type: Some(policy),
    };
    policy.encode_to_vec().into()
}

/// The private data collections that a file describes.
///
/// # Errors
/// It cannot be read, or as [`collections::parse`].
pub fn collections_of(file: &Path) -> anyhow::Result<CollectionConfigPackage> {
    let shown = file.display();
    let parsed = golang::read_file(file)
        .with_context(|| format!("could not read file '{shown}'"))
        .and_then(|json| collections::parse(&json));
    parsed.with_context(|| format!("invalid collection configuration in file {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_signature_policy_or_a_reference_to_the_channels_or_none() {
        let decoded = |signature, channel| {
            let bytes = endorsement_policy(signature, channel).unwrap();
            ApplicationPolicy::decode(bytes).unwrap().r#type
        };
        assert_eq!(decoded("", ""), None);
        assert_eq!(
            decoded("", "/Channel/Application/Admins"),
            Some(application_policy::Type::ChannelConfigPolicyReference(
                "/Channel/Application/Admins".into()
            ))
        );
        assert_eq!(
            decoded("OR('A.peer')", ""),
            Some(application_policy::Type::SignaturePolicy(
                dsl::parse("OR('A.peer')").unwrap()
            ))
        );
        for (signature, channel, reason) in [
            ("OR(", "", "invalid signature policy: OR("),
            ("OR('A.peer')", "x", "cannot specify both"),
        ] {
            let error = endorsement_policy(signature, channel).unwrap_err();
            assert!(error.to_string().starts_with(reason), "{error}");
        }
    }
}
