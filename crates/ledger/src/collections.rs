//! Which collections a chaincode has, read from the definitions that lie in state.
//!
//! The ledger needs this much of the lifecycle to refuse unknown collections in simulation and to
//! know how long private data lives. The keys read here are recorded in a simulation's read set,
//! so which ones, and when, is part of the protocol.
//! fabric: core/chaincode/lifecycle/deployedcc_infoprovider.go, serializer.go

use bytes::Bytes;
use consilium_proto::protos::collection_config::Payload;
use consilium_proto::{common, decode, lifecycle, msp, protos};
use consilium_protocol::names::implicit_collection_org;

use crate::error::LedgerError;

/// Namespace of chaincode definitions.
const LIFECYCLE: &str = "_lifecycle";
/// Namespace of definitions made before the `_lifecycle` chaincode existed.
const LEGACY: &str = "lscc";
/// The key in the empty namespace that holds the channel's current `ConfigEnvelope`.
pub(crate) const CHANNEL_CONFIG_KEY: &str = "CHANNEL_CONFIG_ENV_BYTES";

/// Reads of single public keys, recorded or not.
pub(crate) trait StateLookup {
    fn lookup(&mut self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError>;
}

/// The collections that may be used in one chaincode's namespace.
#[derive(Clone, Debug)]
pub(crate) struct CollectionSet {
    explicit: protos::CollectionConfigPackage,
    /// Chaincodes of the present lifecycle have one more collection per organization.
    implicit: bool,
}

impl CollectionSet {
    pub(crate) fn into_explicit(self) -> protos::CollectionConfigPackage {
        self.explicit
    }

    pub(crate) fn allows_implicit(&self) -> bool {
        self.implicit
    }

    pub(crate) fn explicit(&self, name: &str) -> Option<&protos::StaticCollectionConfig> {
        self.explicit
            .config
            .iter()
            .filter_map(|config| config.payload.as_ref())
            .map(|Payload::StaticCollectionConfig(config)| config)
            .find(|config| config.name == name)
    }
}

/// The collections of `chaincode`, `None` if it is not defined.
pub(crate) fn defined(
    state: &mut impl StateLookup,
    chaincode: &str,
) -> Result<Option<CollectionSet>, LedgerError> {
    if chaincode == LIFECYCLE {
        return Ok(Some(CollectionSet {
            explicit: Default::default(),
            implicit: true,
        }));
    }
    let unreadable = |error: prost::DecodeError| {
        LedgerError::Refused(format!(
            "definition of chaincode [{chaincode}] is unreadable: {error}"
        ))
    };
    let metadata_key = format!("namespaces/metadata/{chaincode}");
    let Some(metadata) = state.lookup(LIFECYCLE, &metadata_key)? else {
        return legacy(state, chaincode);
    };
    let metadata: lifecycle::StateMetadata = decode(&metadata).map_err(unreadable)?;
    if metadata.datatype != "ChaincodeDefinition" {
        return Err(LedgerError::Refused(format!(
            "not a chaincode type: {}",
            metadata.datatype
        )));
    }
    let mut explicit = protos::CollectionConfigPackage::default();
    for field in [
        "Sequence",
        "EndorsementInfo",
        "ValidationInfo",
        "Collections",
    ] {
        let key = format!("namespaces/fields/{chaincode}/{field}");
        let value = state.lookup(LIFECYCLE, &key)?.unwrap_or_default();
        if field == "Collections" {
            let data: lifecycle::StateData = decode(&value).map_err(unreadable)?;
            if let Some(lifecycle::state_data::Type::Bytes(package)) = data.r#type {
                explicit = decode(&package).map_err(unreadable)?;
            }
        }
    }
    Ok(Some(CollectionSet {
        explicit,
        implicit: true,
    }))
}

fn legacy(
    state: &mut impl StateLookup,
    chaincode: &str,
) -> Result<Option<CollectionSet>, LedgerError> {
    if state.lookup(LEGACY, chaincode)?.is_none() {
        return Ok(None);
    }
    let explicit = match state.lookup(LEGACY, &format!("{chaincode}~collection"))? {
        None => return Ok(None),
        Some(package) => decode(&package).map_err(|error| {
            LedgerError::Refused(format!(
                "collections of chaincode [{chaincode}] are unreadable: {error}"
            ))
        })?,
    };
    Ok(Some(CollectionSet {
        explicit,
        implicit: false,
    }))
}

/// Whether `collection` is the implicit collection of an application organization of the channel.
/// `config` is the `ConfigEnvelope` in state.
pub(crate) fn is_implicit_of_member(config: &Bytes, collection: &str) -> bool {
    implicit_collection_org(collection)
        .is_some_and(|msp_id| application_msp_ids(config).iter().any(|id| id == msp_id))
}

/// The configuration in the value of [`CHANNEL_CONFIG_KEY`].
pub(crate) fn channel_config(value: &Bytes) -> Result<common::Config, LedgerError> {
    decode::<common::ConfigEnvelope>(value)
        .map_err(|error| LedgerError::damaged(format!("channel configuration: {error}")))?
        .config
        .ok_or_else(|| LedgerError::damaged("channel configuration: it is empty"))
}

fn application_msp_ids(config: &Bytes) -> Vec<String> {
    let application = channel_config(config)
        .ok()
        .and_then(|config| config.channel_group)
        .and_then(|mut channel| channel.groups.remove("Application"));
    let Some(application) = application else {
        return Vec::new();
    };
    application
        .groups
        .into_values()
        .filter_map(|mut organization| {
            let value = organization.values.remove("MSP")?.value;
            let config = decode::<msp::MspConfig>(&value).ok()?.config;
            Some(decode::<msp::FabricMspConfig>(&config).ok()?.name)
        })
        .collect()
}
