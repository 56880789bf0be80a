//! Which byte field holds which message. fabric-config: protolator/protoext

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage};

/// A part of a channel's configuration, which decides what the values in it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The root.
    Channel,
    /// `Orderer`.
    Orderer,
    /// An organization in `Orderer`.
    OrdererOrganization,
    /// `Application`.
    Application,
    /// An organization in `Application`.
    ApplicationOrganization,
    /// `Consortiums`, of system channels.
    Consortiums,
    /// One of them.
    Consortium,
    /// An organization in it.
    ConsortiumOrganization,
}

/// What a message is where it stands, if its type alone does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Its type tells.
    Plain,
    /// A group of a configuration.
    Group(Section),
    /// A value in a group, and its name.
    Value(Section, String),
    /// The read-write set of a namespace.
    NamespaceSet,
    /// The hashed read-write set of a collection.
    CollectionSet,
}

/// How a field is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As protobuf's JSON has it.
    Plain,
    /// A message, whose byte fields may be shown as messages.
    Nested,
    /// Bytes that always hold the same message.
    Opaque,
    /// Bytes that hold what the message's other fields say. They are read before it.
    Variable,
    /// A message, or messages, with a role.
    Dynamic,
}

/// Byte fields that always hold the same message.
const OPAQUE: [(&str, &str, &str); 15] = [
    ("common.BlockData", "data", "common.Envelope"),
    (
        "common.ConfigSignature",
        "signature_header",
        "common.SignatureHeader",
    ),
    (
        "common.ConfigUpdateEnvelope",
        "config_update",
        "common.ConfigUpdate",
    ),
    ("common.Envelope", "payload", "common.Payload"),
    ("common.Header", "channel_header", "common.ChannelHeader"),
    (
        "common.Header",
        "signature_header",
        "common.SignatureHeader",
    ),
    (
        "common.SignatureHeader",
        "creator",
        "msp.SerializedIdentity",
    ),
    ("protos.ChaincodeAction", "results", "rwset.TxReadWriteSet"),
    ("protos.ChaincodeAction", "events", "protos.ChaincodeEvent"),
    (
        "protos.ChaincodeActionPayload",
        "chaincode_proposal_payload",
        "protos.ChaincodeProposalPayload",
    ),
    (
        "protos.ChaincodeEndorsedAction",
        "proposal_response_payload",
        "protos.ProposalResponsePayload",
    ),
    (
        "protos.ChaincodeProposalPayload",
        "input",
        "protos.ChaincodeInvocationSpec",
    ),
    (
        "protos.ProposalResponsePayload",
        "extension",
        "protos.ChaincodeAction",
    ),
    (
        "protos.TransactionAction",
        "header",
        "common.SignatureHeader",
    ),
    (
        "protos.TransactionAction",
        "payload",
        "protos.ChaincodeActionPayload",
    ),
];

/// Byte fields that hold what other fields of the message say.
const VARIABLE: [(&str, &str); 6] = [
    ("common.ChannelHeader", "extension"),
    ("common.MSPPrincipal", "principal"),
    ("common.Payload", "data"),
    ("common.Policy", "value"),
    ("msp.MSPConfig", "config"),
    ("orderer.ConsensusType", "metadata"),
];

/// How a field of a message is shown.
pub fn form(role: &Role, field: &FieldDescriptor) -> Form {
    // What is chosen among several is shown as protobuf does, whatever it holds.
    if field.containing_oneof().is_some() {
        return Form::Plain;
    }
    let (of, name) = (field.parent_message(), field.name());
    match (role, name) {
        (Role::Group(_), "groups" | "values") => return Form::Dynamic,
        (Role::Value(Section::Consortium, _), "value") => return Form::Variable,
        (Role::Value(..), "value") | (Role::NamespaceSet | Role::CollectionSet, "rwset") => {
            return Form::Opaque;
        }
        (Role::NamespaceSet, "collection_hashed_rwset") => return Form::Dynamic,
        _ => {}
    }
    let of = of.full_name();
    match (of, name) {
        ("common.Config", "channel_group")
        | ("common.ConfigUpdate", "read_set" | "write_set")
        | ("rwset.TxReadWriteSet", "ns_rwset") => return Form::Dynamic,
        ("common.ConfigUpdate", "isolated_data") => return Form::Opaque,
        _ => {}
    }
    if OPAQUE
        .iter()
        .any(|(parent, field, _)| (*parent, *field) == (of, name))
    {
        return Form::Opaque;
    }
    if VARIABLE.contains(&(of, name)) {
        return Form::Variable;
    }
    if is_nested(field) {
        Form::Nested
    } else {
        Form::Plain
    }
}

fn is_nested(field: &FieldDescriptor) -> bool {
    let Kind::Message(inner) = field.kind() else {
        return false;
    };
    let inner = match field.is_map() {
        false => inner,
        true => {
            let value = inner.map_entry_value_field().kind();
            let by_text = inner.map_entry_key_field().kind() == Kind::String;
            match value {
                Kind::Message(inner) if by_text => inner,
                _ => return false,
            }
        }
    };
    inner.full_name() != "google.protobuf.Timestamp"
}

/// The role of a message in a field, whose form is [`Form::Nested`] or [`Form::Dynamic`]; `key` is its
/// name in a map.
///
/// # Errors
/// Nothing of this name belongs there.
pub fn role_of(role: &Role, field: &FieldDescriptor, key: &str) -> Result<Role, String> {
    match (role, field.name()) {
        (Role::Group(section), "groups") => subsection(*section, key).map(Role::Group),
        (Role::Group(Section::Consortiums), "values") => {
            Err("Consortiums currently support no config values".to_owned())
        }
        (Role::Group(section), "values") => Ok(Role::Value(*section, key.to_owned())),
        (Role::NamespaceSet, "collection_hashed_rwset") => Ok(Role::CollectionSet),
        _ => Ok(match field.parent_message().full_name() {
            "common.Config" | "common.ConfigUpdate" => Role::Group(Section::Channel),
            "rwset.TxReadWriteSet" => Role::NamespaceSet,
            _ => Role::Plain,
        }),
    }
}

fn subsection(section: Section, key: &str) -> Result<Section, String> {
    Ok(match (section, key) {
        (Section::Channel, "Orderer") => Section::Orderer,
        (Section::Channel, "Application") => Section::Application,
        (Section::Channel, "Consortiums") => Section::Consortiums,
        (Section::Channel, other) => {
            return Err(format!("unknown channel group sub-group '{other}'"));
        }
        (Section::Orderer, _) => Section::OrdererOrganization,
        (Section::Application, _) => Section::ApplicationOrganization,
        (Section::Consortiums, _) => Section::Consortium,
        (Section::Consortium, _) => Section::ConsortiumOrganization,
        (Section::OrdererOrganization, _) => {
            return Err("the orderer orgs do not support sub-groups".to_owned());
        }
        (Section::ApplicationOrganization, _) => {
            return Err("The application orgs do not support sub-groups".to_owned());
        }
        (Section::ConsortiumOrganization, _) => {
            return Err("ConsortiumOrg groups do not support sub groups".to_owned());
        }
    })
}

/// The type of the message in a byte field, whose form is [`Form::Opaque`] or [`Form::Variable`].
///
/// # Errors
/// Nobody knows what it holds.
pub fn content(
    message: &DynamicMessage,
    role: &Role,
    field: &FieldDescriptor,
    key: &str,
) -> Result<&'static str, String> {
    match role {
        Role::Value(section, name) => return value(*section, name),
        Role::NamespaceSet => return Ok("kvrwset.KVRWSet"),
        Role::CollectionSet => return Ok("kvrwset.HashedRWSet"),
        Role::Plain | Role::Group(_) => {}
    }
    let descriptor = message.descriptor();
    let (of, name) = (descriptor.full_name(), field.name());
    if let Some((.., content)) = OPAQUE
        .iter()
        .find(|(parent, field, _)| (*parent, *field) == (of, name))
    {
        return Ok(content);
    }
    match of {
        "common.ConfigUpdate" => Err(format!("Unknown map key: {key}")),
        "common.Payload" => payload(message),
        "common.ChannelHeader" => match number(message, "type") {
            3 => Ok("protos.ChaincodeHeaderExtension"),
            _ => Err("channel header extension only valid for endorser transactions".to_owned()),
        },
        "common.Policy" => match number(message, "type") {
            1 => Ok("common.SignaturePolicyEnvelope"),
            3 => Ok("common.ImplicitMetaPolicy"),
            other => Err(format!("unable to decode policy type: {other}")),
        },
        "msp.MSPConfig" => match number(message, "type") {
            0 => Ok("msp.FabricMSPConfig"),
            1 => Ok("msp.IdemixMSPConfig"),
            other => Err(format!("unable to decode MSP type: {other}")),
        },
        "common.MSPPrincipal" => match number(message, "principal_classification") {
            0 => Ok("common.MSPRole"),
            1 => Ok("common.OrganizationUnit"),
            2 => Ok("msp.SerializedIdentity"),
            other => Err(format!("unable to decode MSP type: {other}")),
        },
        "orderer.ConsensusType" => {
            let kind = message.get_field_by_name("type");
            Ok(match kind.as_deref().and_then(|kind| kind.as_str()) {
                Some("etcdraft") => "etcdraft.ConfigMetadata",
                Some("BFT") => "orderer.smartbft.Options",
                _ => "google.protobuf.Empty",
            })
        }
        _ => Err(format!("not a marshaled field: {name}")),
    }
}

/// What a transaction holds is in its channel header.
fn payload(message: &DynamicMessage) -> Result<&'static str, String> {
    let header = message.get_field_by_name("header");
    let header = header.filter(|_| message.has_field_by_name("header"));
    let header = header.as_deref().and_then(|header| header.as_message());
    let header = header.ok_or("cannot determine payload type when header is missing")?;
    let channel = header.get_field_by_name("channel_header");
    let channel = channel.as_deref().and_then(|channel| channel.as_bytes());
    let channel = channel.cloned().unwrap_or_default();
    let channel: consilium_proto::common::ChannelHeader = prost::Message::decode(channel)
        .map_err(|error| format!("corrupt channel header: {error}"))?;
    match channel.r#type {
        0 => Ok("common.ConfigValue"),
        1 => Ok("common.ConfigEnvelope"),
        2 => Ok("common.ConfigUpdateEnvelope"),
        3 => Ok("protos.Transaction"),
        4 => Ok("common.Envelope"),
        other => Err(format!("decoding type {other} is unimplemented")),
    }
}

fn value(section: Section, name: &str) -> Result<&'static str, String> {
    Ok(match (section, name) {
        (Section::Channel | Section::Orderer | Section::Application, "Capabilities") => {
            "common.Capabilities"
        }
        (Section::Channel, "HashingAlgorithm") => "common.HashingAlgorithm",
        (Section::Channel, "BlockDataHashingStructure") => "common.BlockDataHashingStructure",
        (Section::Channel, "OrdererAddresses") => "common.OrdererAddresses",
        (Section::Channel, "Consortium") => "common.Consortium",
        (Section::Orderer, "ConsensusType") => "orderer.ConsensusType",
        (Section::Orderer, "BatchSize") => "orderer.BatchSize",
        (Section::Orderer, "BatchTimeout") => "orderer.BatchTimeout",
        (Section::Orderer, "KafkaBrokers") => "orderer.KafkaBrokers",
        (Section::Orderer, "ChannelRestrictions") => "orderer.ChannelRestrictions",
        (Section::Orderer, "Orderers") => "common.Orderers",
        (
            Section::OrdererOrganization
            | Section::ApplicationOrganization
            | Section::ConsortiumOrganization,
            "MSP",
        ) => "msp.MSPConfig",
        (Section::OrdererOrganization, "Endpoints") => "common.OrdererAddresses",
        (Section::Application, "ACLs") => "protos.ACLs",
        (Section::ApplicationOrganization, "AnchorPeers") => "protos.AnchorPeers",
        (Section::Consortium, "ChannelCreationPolicy") => "common.Policy",
        _ => {
            let section = match section {
                Section::Channel => "unknown Channel",
                Section::Orderer => "unknown Orderer",
                Section::OrdererOrganization => "unknown Orderer Org",
                Section::Application => "Unknown Application",
                Section::ApplicationOrganization => "Unknown Application Org",
                Section::Consortiums | Section::Consortium => "unknown Consortium",
                Section::ConsortiumOrganization => "unknown Consortium Org",
            };
            return Err(format!("{section} ConfigValue name: {name}"));
        }
    })
}

fn number(message: &DynamicMessage, field: &str) -> i32 {
    let value = message.get_field_by_name(field);
    let value = value.as_deref();
    value
        .and_then(|value| value.as_i32().or_else(|| value.as_enum_number()))
        .or_else(|| value.and_then(|value| value.as_u32()?.try_into().ok()))
        .unwrap_or_default()
}
