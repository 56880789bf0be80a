//! From a tree to settings.

use super::quantity::describe_size;
use super::{Setting, USUAL_MOD_POLICY, describe_bytes, value_name};
use crate::config::consent::describe_policy;
use bytes::Bytes;
use consilium_msp::{Certificate, RevocationList};
use consilium_proto::{common, etcdraft, msp, orderer, protos};
use prost::DecodeError;
use std::collections::BTreeMap;

/// All settings of a tree, section by section.
pub fn list(root: &common::ConfigGroup) -> Vec<Setting> {
    let mut listing = Listing::default();
    listing.group("channel", "/Channel", root);
    for (section, base) in [("Orderer", "orderer"), ("Application", "application")] {
        let Some(group) = root.groups.get(section) else {
            continue;
        };
        let path = format!("/Channel/{section}");
        listing.group(base, &path, group);
        for (name, organization) in &group.groups {
            listing.deep(
                &format!("{base}.org.{name}"),
                &format!("{path}/{name}"),
                organization,
                0,
            );
        }
    }
    for (name, group) in &root.groups {
        if name != "Orderer" && name != "Application" {
            listing.deep(
                &format!("group.{name}"),
                &format!("/Channel/{name}"),
                group,
                0,
            );
        }
    }
    listing.settings
}

/// Groups below organizations do not exist in valid configurations; they are shown all the same, this deep.
const MAX_DEPTH: usize = 8;

#[derive(Default)]
struct Listing {
    settings: Vec<Setting>,
}

impl Listing {
    fn put(&mut self, item: &str, name: String, values: Vec<String>) {
        self.settings.push(Setting {
            name,
            values,
            item: item.to_owned(),
        });
    }

    fn mod_policy(&mut self, item: &str, base: &str, mod_policy: &str) {
        if mod_policy != USUAL_MOD_POLICY {
            self.put(
                item,
                format!("{base}.mod-policy"),
                vec![mod_policy.to_owned()],
            );
        }
    }

    fn deep(&mut self, base: &str, path: &str, group: &common::ConfigGroup, depth: usize) {
        self.group(base, path, group);
        if depth < MAX_DEPTH {
            for (name, child) in &group.groups {
                self.deep(
                    &format!("{base}.group.{name}"),
                    &format!("{path}/{name}"),
                    child,
                    depth + 1,
                );
            }
        }
    }

    /// The group's own settings, without the groups below.
    fn group(&mut self, base: &str, path: &str, group: &common::ConfigGroup) {
        self.mod_policy(&format!("[Group]  {path}"), base, &group.mod_policy);
        for (key, value) in &group.values {
            let item = format!("[Value]  {path}/{key}");
            let named = format!("{base}.{}", value_name(key));
            self.mod_policy(&item, &named, &value.mod_policy);
            match value_settings(key, &value.value) {
                Ok(settings) => {
                    for (name, values) in settings {
                        let name = match name.as_str() {
                            "" => named.clone(),
                            name => format!("{base}.{name}"),
                        };
                        self.put(&item, name, values);
                    }
                }
                Err(error) => {
                    let shown = format!("({error}; {})", describe_bytes(&value.value));
                    self.put(&item, named, vec![shown]);
                }
            }
        }
        for (name, policy) in &group.policies {
            let item = format!("[Policy] {path}/{name}");
            let named = format!("{base}.policy.{name}");
            self.mod_policy(&item, &named, &policy.mod_policy);
            let rule = policy
                .policy
                .as_ref()
                .map_or("(none)".to_owned(), describe_policy);
            self.put(&item, named, vec![rule]);
        }
    }
}

/// The settings of one value, by name below their group; the value's own name where it is empty.
type Named = Vec<(String, Vec<String>)>;

fn read<M: prost::Message + Default>(value: &Bytes) -> Result<M, DecodeError> {
    consilium_proto::decode(value)
}

fn one(value: impl ToString) -> Named {
    vec![(String::new(), vec![value.to_string()])]
}

fn many(values: Vec<String>) -> Named {
    vec![(String::new(), values)]
}

fn value_settings(key: &str, value: &Bytes) -> Result<Named, DecodeError> {
    Ok(match key {
        "HashingAlgorithm" => one(read::<common::HashingAlgorithm>(value)?.name),
        "BlockDataHashingStructure" => {
            let width = read::<common::BlockDataHashingStructure>(value)?.width;
            match width {
                u32::MAX => one("flat"),
                width => one(format!("width {width}")),
            }
        }
        "OrdererAddresses" | "Endpoints" => {
            many(read::<common::OrdererAddresses>(value)?.addresses)
        }
        "Consortium" => one(read::<common::Consortium>(value)?.name),
        "Capabilities" => {
            let listed: common::Capabilities = read(value)?;
            many(listed.capabilities.into_keys().collect())
        }
        "ConsensusType" => consensus(&read(value)?)?,
        "BatchSize" => {
            let size: orderer::BatchSize = read(value)?;
            vec![
                (
                    "batch-size.max-messages".into(),
                    vec![size.max_message_count.to_string()],
                ),
                (
                    "batch-size.absolute-max-bytes".into(),
                    vec![describe_size(size.absolute_max_bytes)],
                ),
                (
                    "batch-size.preferred-max-bytes".into(),
                    vec![describe_size(size.preferred_max_bytes)],
                ),
            ]
        }
        "BatchTimeout" => one(read::<orderer::BatchTimeout>(value)?.timeout),
        "ChannelRestrictions" => match read::<orderer::ChannelRestrictions>(value)?.max_count {
            0 => one("unlimited"),
            count => one(count),
        },
        "KafkaBrokers" => many(read::<orderer::KafkaBrokers>(value)?.brokers),
        "Orderers" => {
            let orderers: common::Orderers = read(value)?;
            let shown = orderers.consenter_mapping.iter().map(|consenter| {
                format!(
                    "{} {}:{} of {}, {}; client {}, server {}",
                    consenter.id,
                    consenter.host,
                    consenter.port,
                    consenter.msp_id,
                    certificate(&consenter.identity),
                    certificate(&consenter.client_tls_cert),
                    certificate(&consenter.server_tls_cert)
                )
            });
            many(shown.collect())
        }
        "MSP" => msp_settings(&read(value)?)?,
        "AnchorPeers" => {
            let anchors: protos::AnchorPeers = read(value)?;
            let shown = anchors.anchor_peers.iter();
            many(
                shown
                    .map(|peer| format!("{}:{}", peer.host, peer.port))
                    .collect(),
            )
        }
        "ACLs" => {
            let acls: protos::AcLs = read(value)?;
            let shown = acls.acls.into_iter();
            let shown: Named = shown
                .map(|(resource, acl)| (format!("acl.{resource}"), vec![acl.policy_ref]))
                .collect();
            if shown.is_empty() {
                many(Vec::new())
            } else {
                shown
            }
        }
        "ChannelCreationPolicy" => one(describe_policy(&read(value)?)),
        _ => one(describe_bytes(value)),
    })
}

fn consensus(consensus: &orderer::ConsensusType) -> Result<Named, DecodeError> {
    let state = match consensus.state {
        0 => "normal".to_owned(),
        1 => "maintenance".to_owned(),
        other => other.to_string(),
    };
    let mut settings: Named = vec![
        ("consensus.type".into(), vec![consensus.r#type.clone()]),
        ("consensus.state".into(), vec![state]),
    ];
    if consensus.r#type != "etcdraft" {
        settings.push((
            "consensus.metadata".into(),
            vec![describe_bytes(&consensus.metadata)],
        ));
        return Ok(settings);
    }
    let metadata: etcdraft::ConfigMetadata = read(&consensus.metadata)?;
    let consenters = metadata.consenters.iter().map(describe_consenter).collect();
    settings.push(("raft.consenters".into(), consenters));
    let options = metadata.options.unwrap_or_default();
    for (name, value) in [
        ("tick-interval", options.tick_interval),
        ("election-tick", options.election_tick.to_string()),
        ("heartbeat-tick", options.heartbeat_tick.to_string()),
        (
            "max-inflight-blocks",
            options.max_inflight_blocks.to_string(),
        ),
        (
            "snapshot-interval-size",
            describe_size(options.snapshot_interval_size),
        ),
    ] {
        settings.push((format!("raft.{name}"), vec![value]));
    }
    Ok(settings)
}

fn describe_consenter(consenter: &etcdraft::Consenter) -> String {
    let (host, port) = (&consenter.host, consenter.port);
    let server = certificate(&consenter.server_tls_cert);
    if consenter.client_tls_cert == consenter.server_tls_cert {
        return format!("{host}:{port} {server}");
    }
    let client = certificate(&consenter.client_tls_cert);
    format!("{host}:{port} server {server}; client {client}")
}

fn msp_settings(config: &msp::MspConfig) -> Result<Named, DecodeError> {
    if config.r#type != 0 {
        return Ok(one(format!(
            "(MSP of type {}, {})",
            config.r#type,
            describe_bytes(&config.config)
        )));
    }
    let fabric: msp::FabricMspConfig = read(&config.config)?;
    let mut settings: Named = vec![("msp.id".into(), vec![fabric.name.clone()])];
    let lists: [(&str, Vec<String>); 6] = [
        ("roots", certificates(&fabric.root_certs)),
        ("intermediates", certificates(&fabric.intermediate_certs)),
        ("admins", certificates(&fabric.admins)),
        ("tls-roots", certificates(&fabric.tls_root_certs)),
        (
            "tls-intermediates",
            certificates(&fabric.tls_intermediate_certs),
        ),
        (
            "crls",
            fabric
                .revocation_list
                .iter()
                .map(|list| revocation_list(list))
                .collect(),
        ),
    ];
    for (name, values) in lists {
        if !values.is_empty() {
            settings.push((format!("msp.{name}"), values));
        }
    }
    let units = fabric.organizational_unit_identifiers.iter();
    let units: Vec<String> = units.map(describe_unit).collect();
    if !units.is_empty() {
        settings.push(("msp.units".into(), units));
    }
    if let Some(node_ous) = &fabric.fabric_node_ous {
        let state = if node_ous.enable { "on" } else { "off" };
        settings.push(("msp.node-ous".into(), vec![state.into()]));
        for (name, unit) in [
            ("client", &node_ous.client_ou_identifier),
            ("peer", &node_ous.peer_ou_identifier),
            ("admin", &node_ous.admin_ou_identifier),
            ("orderer", &node_ous.orderer_ou_identifier),
        ] {
            if let Some(unit) = unit {
                settings.push((format!("msp.node-ou.{name}"), vec![describe_unit(unit)]));
            }
        }
    }
    if let Some(crypto) = &fabric.crypto_config
        && (
            crypto.signature_hash_family.as_str(),
            crypto.identity_identifier_hash_function.as_str(),
        ) != ("SHA2", "SHA256")
    {
        let shown = format!(
            "signatures {}, identifiers {}",
            crypto.signature_hash_family, crypto.identity_identifier_hash_function
        );
        settings.push(("msp.hashes".into(), vec![shown]));
    }
    if fabric.signing_identity.is_some() {
        settings.push((
            "msp.signing-identity".into(),
            vec!["(should not be here)".into()],
        ));
    }
    Ok(settings)
}

fn describe_unit(unit: &msp::FabricOuIdentifier) -> String {
    match unit.certificate.is_empty() {
        true => unit.organizational_unit_identifier.clone(),
        false => format!(
            "{} under {}",
            unit.organizational_unit_identifier,
            certificate(&unit.certificate)
        ),
    }
}

fn certificates(pems: &[Bytes]) -> Vec<String> {
    pems.iter().map(|pem| certificate(pem)).collect()
}

/// How a certificate of a setting is shown, and told by when it is to be removed.
pub(super) fn certificate(pem: &[u8]) -> String {
    match Certificate::from_pem(pem) {
        Ok(certificate) => certificate.describe(),
        Err(_) => format!("(not a certificate, {})", describe_bytes(pem)),
    }
}

/// As [`certificate`], of a revocation list.
pub(super) fn revocation_list(bytes: &[u8]) -> String {
    match RevocationList::parse(bytes) {
        Ok(list) => list.describe(),
        Err(_) => format!("(not a revocation list, {})", describe_bytes(bytes)),
    }
}

/// The values of a group's own settings that exist, by name below it; for who says that one does not.
pub(super) fn names_below(group: &common::ConfigGroup) -> BTreeMap<String, String> {
    let mut listing = Listing::default();
    listing.group("", "", group);
    listing
        .settings
        .into_iter()
        .map(|setting| {
            (
                setting.name.trim_start_matches('.').to_owned(),
                setting.item,
            )
        })
        .collect()
}
