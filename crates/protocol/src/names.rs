//! Rules for names: channels, configuration keys, chaincodes, collections, package labels; and the
//! namespaces that private data lives in.

use thiserror::Error;

/// Longest channel name and configuration key, in bytes.
pub const MAX_NAME: usize = 249;

/// Chaincode names that belong to system chaincodes. `_lifecycle` fails the name rule anyway.
pub const SYSTEM_CHAINCODES: [&str; 6] = ["lscc", "cscc", "qscc", "vscc", "escc", "_lifecycle"];

/// Why a name is refused. Texts are those that Fabric's clients and administrators know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "every field is the offending name")]
pub enum NameError {
    #[error("channel ID illegal, cannot be empty")]
    EmptyChannelId,
    #[error("channel ID illegal, cannot be longer than {MAX_NAME}")]
    LongChannelId,
    #[error("'{0}' contains illegal characters")]
    ChannelIdCharacters(String),
    #[error("config ID illegal, cannot be empty")]
    EmptyConfigKey,
    #[error("config ID illegal, cannot be longer than {MAX_NAME}")]
    LongConfigKey,
    #[error("name '{0}' for config ID is not allowed")]
    ReservedConfigKey(String),
    #[error("config ID '{0}' contains illegal characters")]
    ConfigKeyCharacters(String),
    #[error(
        "invalid chaincode name '{0}'. Names can only consist of alphanumerics, '_', and '-' and can only begin with alphanumerics"
    )]
    ChaincodeName(String),
    #[error("chaincode name '{0}' is the name of a system chaincode")]
    SystemChaincodeName(String),
    #[error(
        "invalid chaincode version '{0}'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'"
    )]
    ChaincodeVersion(String),
    #[error(
        "invalid collection name '{0}'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'"
    )]
    CollectionName(String),
    #[error(
        "invalid label '{0}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
    )]
    Label(String),
}

/// `[a-z][a-z0-9.-]*`, 1 to 249 bytes (fabric: common/configtx/validator.go).
pub fn validate_channel_id(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::EmptyChannelId);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::LongChannelId);
    }
    let legal = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    if !legal || !name.as_bytes()[0].is_ascii_lowercase() {
        return Err(NameError::ChannelIdCharacters(name.to_owned()));
    }
    Ok(())
}

/// A key of a group, value or policy in channel configuration: `[a-zA-Z0-9.-]+`, 1 to 249 bytes, not
/// `.` or `..`.
pub fn validate_config_key(key: &str) -> Result<(), NameError> {
    if key.is_empty() {
        return Err(NameError::EmptyConfigKey);
    }
    if key.len() > MAX_NAME {
        return Err(NameError::LongConfigKey);
    }
    if key == "." || key == ".." {
        return Err(NameError::ReservedConfigKey(key.to_owned()));
    }
    if !key
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
    {
        return Err(NameError::ConfigKeyCharacters(key.to_owned()));
    }
    Ok(())
}

/// `[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*`.
pub fn validate_chaincode_name(name: &str) -> Result<(), NameError> {
    // Splitting at the separators must leave only non-empty alphanumeric parts.
    let legal = name
        .split(['-', '_'])
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if legal {
        Ok(())
    } else {
        Err(NameError::ChaincodeName(name.to_owned()))
    }
}

/// A chaincode name that a definition may carry: legal and not a system chaincode's.
pub fn validate_deployable_chaincode_name(name: &str) -> Result<(), NameError> {
    validate_chaincode_name(name)?;
    if SYSTEM_CHAINCODES.contains(&name) {
        return Err(NameError::SystemChaincodeName(name.to_owned()));
    }
    Ok(())
}

/// `[A-Za-z0-9_.+-]+`.
pub fn validate_chaincode_version(version: &str) -> Result<(), NameError> {
    let legal = !version.is_empty()
        && version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'+' | b'-'));
    if legal {
        Ok(())
    } else {
        Err(NameError::ChaincodeVersion(version.to_owned()))
    }
}

/// Name of an explicit collection: `[A-Za-z0-9-]+([A-Za-z0-9_-]+)*`, which is: not starting with `_`.
pub fn validate_collection_name(name: &str) -> Result<(), NameError> {
    let legal = !name.is_empty()
        && !name.starts_with('_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if legal {
        Ok(())
    } else {
        Err(NameError::CollectionName(name.to_owned()))
    }
}

/// Label of a chaincode package: `[[:alnum:]][[:alnum:]_.+-]*`.
pub fn validate_label(label: &str) -> Result<(), NameError> {
    let legal = label
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'+' | b'-'));
    if legal {
        Ok(())
    } else {
        Err(NameError::Label(label.to_owned()))
    }
}

/// State namespace of a collection's clear values.
pub fn private_namespace(namespace: &str, collection: &str) -> String {
    format!("{namespace}$$p{collection}")
}

/// State namespace of a collection's hashed values.
pub fn hashed_namespace(namespace: &str, collection: &str) -> String {
    format!("{namespace}$$h{collection}")
}

/// Chaincode and collection whose hashed values are in a state namespace, if it is such a one. No
/// name of a chaincode holds a `$`.
pub fn hashed_collection(namespace: &str) -> Option<(&str, &str)> {
    namespace.split_once("$$h")
}

const IMPLICIT_PREFIX: &str = "_implicit_org_";

/// Name of an organization's implicit collection.
pub fn implicit_collection(msp_id: &str) -> String {
    format!("{IMPLICIT_PREFIX}{msp_id}")
}

/// MSP id of the organization whose implicit collection this is, if it is one.
pub fn implicit_collection_org(collection: &str) -> Option<&str> {
    collection.strip_prefix(IMPLICIT_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_ids_start_with_a_lower_case_letter() {
        let longest = "a".repeat(249);
        for good in ["a", "mychannel", "my.channel-2", &longest] {
            assert_eq!(validate_channel_id(good), Ok(()), "{good}");
        }
        let cases = [
            ("", "channel ID illegal, cannot be empty"),
            ("My", "'My' contains illegal characters"),
            ("1a", "'1a' contains illegal characters"),
            ("a_b", "'a_b' contains illegal characters"),
            ("a\n", "'a\n' contains illegal characters"),
        ];
        for (bad, text) in cases {
            assert_eq!(validate_channel_id(bad).unwrap_err().to_string(), text);
        }
        assert_eq!(
            validate_channel_id(&"a".repeat(250)),
            Err(NameError::LongChannelId)
        );
    }

    #[test]
    fn names_follow_their_patterns() {
        type Rule = fn(&str) -> Result<(), NameError>;
        let table: [(Rule, &[&str], &[&str]); 5] = [
            (
                validate_config_key,
                &["Org1", "a.b-c", "..."],
                &["", ".", "..", "a_b", "a/b", "ä"],
            ),
            (
                validate_chaincode_name,
                &["a", "my-cc_2"],
                &["", "-a", "a-", "a--b", "_lifecycle", "a.b"],
            ),
            (
                validate_chaincode_version,
                &["1.0", "v_1+2-3"],
                &["", "1 0", "1/0"],
            ),
            (
                validate_collection_name,
                &["c", "-c_", "a_b-c"],
                &["", "_a", "a.b"],
            ),
            (
                validate_label,
                &["a", "a_1.0+x-y"],
                &["", "_a", ".a", "a b"],
            ),
        ];
        for (rule, good, bad) in table {
            for name in good {
                assert!(rule(name).is_ok(), "{name}");
            }
            for name in bad {
                assert!(rule(name).is_err(), "{name}");
            }
        }
        assert!(validate_deployable_chaincode_name("lscc").is_err());
        assert!(validate_deployable_chaincode_name("kv").is_ok());
    }

    #[test]
    fn private_data_has_its_own_namespaces() {
        assert_eq!(private_namespace("cc", "c"), "cc$$pc");
        assert_eq!(hashed_namespace("cc", "c"), "cc$$hc");
        assert_eq!(
            implicit_collection_org(&implicit_collection("Org1MSP")),
            Some("Org1MSP")
        );
        assert_eq!(implicit_collection_org("c"), None);
    }
}
