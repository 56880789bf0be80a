//! The configuration that a profile describes. fabric: internal/configtxgen/encoder

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use consilium_ca::folders;
use consilium_msp::dsl;
use consilium_proto::common::{self, ConfigGroup, ConfigPolicy, ConfigValue};
use consilium_proto::orderer::{self, smartbft};
use consilium_proto::{etcdraft, msp, protos};
use consilium_protocol::config::genesis;
use consilium_protocol::duration;
use prost::Message;

use super::profile::{
    Application, Capabilities, Consenter, Consortium, Orderer, Organization, Policies, Profile,
    SmartBft,
};
use crate::commands::golang;

const ADMINS: &str = "Admins";
const ORDERER_ADMINS: &str = "/Channel/Orderer/Admins";
const BLOCK_VALIDATION: &str = "BlockValidation";

/// The root of a channel's configuration.
///
/// # Errors
/// What is missing or cannot be read, in the words of Fabric's configtxgen.
pub fn channel(profile: &Profile) -> anyhow::Result<ConfigGroup> {
    let policies = profile.policies.as_ref();
    let mut root = group(policies).context("error adding policies to channel group")?;
    let hashing = common::HashingAlgorithm {
        name: "SHA256".to_owned(),
    };
    add(&mut root, "HashingAlgorithm", &hashing, ADMINS);
    let structure = common::BlockDataHashingStructure { width: u32::MAX };
    add(&mut root, "BlockDataHashingStructure", &structure, ADMINS);
    let addresses = profile.orderer.as_ref().map(|orderer| &orderer.addresses);
    if let Some(addresses) = addresses.filter(|addresses| !addresses.is_empty()) {
        let addresses = common::OrdererAddresses {
            addresses: addresses.clone(),
        };
        add(&mut root, "OrdererAddresses", &addresses, ORDERER_ADMINS);
    }
    if !profile.consortium.is_empty() {
        let name = profile.consortium.clone();
        add(
            &mut root,
            "Consortium",
            &common::Consortium { name },
            ADMINS,
        );
    }
    add_capabilities(&mut root, &profile.capabilities);
    if let Some(section) = &profile.orderer {
        let section = orderer_group(section, &profile.capabilities);
        let section = section.context("could not create orderer group")?;
        root.groups.insert("Orderer".to_owned(), section);
    }
    if let Some(section) = &profile.application {
        let section = application_group(section);
        let section = section.context("could not create application group")?;
        root.groups.insert("Application".to_owned(), section);
    }
    if let Some(consortiums) = &profile.consortiums {
        let section = consortiums_group(consortiums);
        let section = section.context("could not create consortiums group")?;
        root.groups.insert("Consortiums".to_owned(), section);
    }
    Ok(root)
}

fn has_v3(capabilities: &Capabilities) -> bool {
    capabilities.get("V3_0").copied().unwrap_or_default()
}

fn orderer_group(conf: &Orderer, channel: &Capabilities) -> anyhow::Result<ConfigGroup> {
    let is_bft = conf.orderer_type == "BFT";
    ensure!(
        !is_bft || has_v3(channel),
        "orderer type BFT must be used with V3_0 channel capability: {}",
        shown(channel)
    );
    ensure!(
        conf.addresses.is_empty() || !has_v3(channel),
        "global orderer endpoints exist, but can not be used with V3_0 capability: {}",
        golang::list(&conf.addresses)
    );
    let doing = "error adding policies to orderer group";
    let policies = conf.policies.as_ref();
    if let Some(policies) = policies {
        ensure!(
            policies.contains_key(BLOCK_VALIDATION),
            "{doing}: no BlockValidation policy defined"
        );
    }
    let mut section = group(policies).context(doing)?;
    let size = orderer::BatchSize {
        max_message_count: conf.batch_size.max_message_count,
        absolute_max_bytes: conf.batch_size.absolute_max_bytes,
        preferred_max_bytes: conf.batch_size.preferred_max_bytes,
    };
    add(&mut section, "BatchSize", &size, ADMINS);
    let timeout = duration::format(conf.batch_timeout);
    let timeout = orderer::BatchTimeout { timeout };
    add(&mut section, "BatchTimeout", &timeout, ADMINS);
    let restrictions = orderer::ChannelRestrictions {
        max_count: conf.max_channels,
    };
    add(&mut section, "ChannelRestrictions", &restrictions, ADMINS);
    add_capabilities(&mut section, &conf.capabilities);
    let metadata = match conf.orderer_type.as_str() {
        "solo" => Bytes::new(),
        "etcdraft" => raft_metadata(conf).with_context(|| {
            format!(
                "cannot marshal metadata for orderer type {}",
                conf.orderer_type
            )
        })?,
        "BFT" => {
            let consenters = consenters(&conf.consenter_mapping);
            let consenters =
                consenters.context("cannot load consenter config for orderer type BFT")?;
            let validation = block_validation(&consenters)?;
            if let Some(policy) = section.policies.get_mut(BLOCK_VALIDATION) {
                policy.policy = Some(validation);
            }
            let mapping = common::Orderers {
                consenter_mapping: consenters,
            };
            add(&mut section, "Orderers", &mapping, ADMINS);
            let options = conf.smart_bft.as_ref().context("SmartBFT is missing")?;
            bft_options(options).encode_to_vec().into()
        }
        other => bail!("unknown orderer type: {other}"),
    };
    let consensus = orderer::ConsensusType {
        r#type: conf.orderer_type.clone(),
        metadata,
        state: 0,
    };
    add(&mut section, "ConsensusType", &consensus, ADMINS);
    for organization in &conf.organizations {
        let group = orderer_organization(organization, channel);
        let group = group.context("failed to create orderer org")?;
        section.groups.insert(organization.name.clone(), group);
    }
    Ok(section)
}

fn shown(capabilities: &Capabilities) -> String {
    let entries: Vec<_> = capabilities
        .iter()
        .map(|(name, required)| format!("{name}:{required}"))
        .collect();
    format!("map[{}]", entries.join(" "))
}

fn raft_metadata(conf: &Orderer) -> anyhow::Result<Bytes> {
    let raft = conf.etcd_raft.as_ref().context("EtcdRaft is missing")?;
    let mut consenters = Vec::with_capacity(raft.consenters.len());
    for consenter in &raft.consenters {
        let read = |what: &str, path: &Path| read(what, &consenter.host, consenter.port, path);
        consenters.push(etcdraft::Consenter {
            client_tls_cert: read("client cert", &consenter.client_tls_cert)?,
            server_tls_cert: read("server cert", &consenter.server_tls_cert)?,
            host: consenter.host.clone(),
            port: consenter.port,
        });
    }
    let options = etcdraft::Options {
        tick_interval: raft.options.tick_interval.clone(),
        election_tick: raft.options.election_tick,
        heartbeat_tick: raft.options.heartbeat_tick,
        max_inflight_blocks: raft.options.max_inflight_blocks,
        snapshot_interval_size: raft.options.snapshot_interval_size,
    };
    let metadata = etcdraft::ConfigMetadata {
        consenters,
        options: Some(options),
    };
    Ok(metadata.encode_to_vec().into())
}

fn read(what: &str, host: &str, port: u32, path: &Path) -> anyhow::Result<Bytes> {
    let content = golang::read_file(path);
    let content =
        content.with_context(|| format!("cannot load {what} for consenter {host}:{port}"))?;
    Ok(content.into())
}

fn consenters(mapping: &[Consenter]) -> anyhow::Result<Vec<common::Consenter>> {
    let consenters = mapping.iter().map(|consenter| {
        let read = |what: &str, path: &Path| read(what, &consenter.host, consenter.port, path);
        Ok(common::Consenter {
            id: consenter.id,
            host: consenter.host.clone(),
            port: consenter.port,
            msp_id: consenter.msp_id.clone(),
            client_tls_cert: read("client cert", &consenter.client_tls_cert)?,
            server_tls_cert: read("server cert", &consenter.server_tls_cert)?,
            identity: read("identity", &consenter.identity)?,
        })
    });
    consenters.collect()
}

/// As many consenters have to sign a block as a quorum of the group has.
/// fabric: common/policies/bft.go
fn block_validation(consenters: &[common::Consenter]) -> anyhow::Result<common::Policy> {
    let count = i32::try_from(consenters.len())?;
    let faulty = (count - 1) / 3;
    let quorum = (count + faulty + 2) / 2;
    let identities = consenters.iter().map(|consenter| {
        let identity = msp::SerializedIdentity {
            mspid: consenter.msp_id.clone(),
            id_bytes: consenter.identity.clone(),
        };
        common::MspPrincipal {
            principal_classification: common::msp_principal::Classification::Identity.into(),
            principal: identity.encode_to_vec().into(),
        }
    });
    let rules = (0..count).map(|index| common::SignaturePolicy {
        r#type: Some(common::signature_policy::Type::SignedBy(index)),
    });
    let rule = common::signature_policy::NOutOf {
        n: quorum,
        rules: rules.collect(),
    };
    let envelope = common::SignaturePolicyEnvelope {
        version: 0,
        rule: Some(common::SignaturePolicy {
            r#type: Some(common::signature_policy::Type::NOutOf(rule)),
        }),
        identities: identities.collect(),
    };
    Ok(common::Policy {
        r#type: common::policy::PolicyType::Signature.into(),
        value: envelope.encode_to_vec().into(),
    })
}

fn bft_options(options: &SmartBft) -> smartbft::Options {
    let options = options.clone();
    smartbft::Options {
        request_batch_max_count: options.request_batch_max_count,
        request_batch_max_bytes: options.request_batch_max_bytes,
        request_batch_max_interval: options.request_batch_max_interval,
        incoming_message_buffer_size: options.incoming_message_buffer_size,
        request_pool_size: options.request_pool_size,
        request_forward_timeout: options.request_forward_timeout,
        request_complain_timeout: options.request_complain_timeout,
        request_auto_remove_timeout: options.request_auto_remove_timeout,
        request_max_bytes: options.request_max_bytes,
        view_change_resend_interval: options.view_change_resend_interval,
        view_change_timeout: options.view_change_timeout,
        leader_heartbeat_timeout: options.leader_heartbeat_timeout,
        leader_heartbeat_count: options.leader_heartbeat_count,
        collect_timeout: options.collect_timeout,
        sync_on_start: options.sync_on_start,
        speed_up_view_change: options.speed_up_view_change,
        leader_rotation: options.leader_rotation,
        decisions_per_leader: options.decisions_per_leader,
    }
}

/// An organization of the orderer group.
///
/// # Errors
/// Its MSP or policies cannot be read, or its endpoints are missing.
pub fn orderer_organization(
    conf: &Organization,
    channel: &Capabilities,
) -> anyhow::Result<ConfigGroup> {
    if conf.skip_as_foreign {
        return Ok(foreign());
    }
    let mut group = organization(conf, "orderer")?;
    if !conf.orderer_endpoints.is_empty() {
        let endpoints = common::OrdererAddresses {
            addresses: conf.orderer_endpoints.clone(),
        };
        add(&mut group, "Endpoints", &endpoints, ADMINS);
    } else {
        ensure!(
            !has_v3(channel),
            "orderer endpoints for organization {} are missing and must be configured when capability V3_0 is enabled",
            conf.name
        );
    }
    Ok(group)
}

fn application_group(conf: &Application) -> anyhow::Result<ConfigGroup> {
    let section = group(conf.policies.as_ref());
    let mut section = section.context("error adding policies to application group")?;
    if !conf.acls.is_empty() {
        let acls = conf.acls.iter().map(|(resource, policy)| {
            let policy_ref = policy.clone();
            (resource.clone(), protos::ApiResource { policy_ref })
        });
        let acls = protos::AcLs {
            acls: acls.collect(),
        };
        add(&mut section, "ACLs", &acls, ADMINS);
    }
    add_capabilities(&mut section, &conf.capabilities);
    for organization in &conf.organizations {
        let group = application_organization(organization);
        let group = group.context("failed to create application org")?;
        section.groups.insert(organization.name.clone(), group);
    }
    Ok(section)
}

/// An organization of the application group.
///
/// # Errors
/// Its MSP or policies cannot be read.
pub fn application_organization(conf: &Organization) -> anyhow::Result<ConfigGroup> {
    if conf.skip_as_foreign {
        return Ok(foreign());
    }
    let mut group = organization(conf, "application")?;
    if !conf.anchor_peers.is_empty() {
        let anchor_peers = conf.anchor_peers.iter().map(|peer| protos::AnchorPeer {
            host: peer.host.clone(),
            port: peer.port,
        });
        let anchor_peers = protos::AnchorPeers {
            anchor_peers: anchor_peers.collect(),
        };
        add(&mut group, "AnchorPeers", &anchor_peers, ADMINS);
    }
    Ok(group)
}

fn consortiums_group(consortiums: &BTreeMap<String, Consortium>) -> anyhow::Result<ConfigGroup> {
    let mut section = ConfigGroup {
        mod_policy: ORDERER_ADMINS.to_owned(),
        ..ConfigGroup::default()
    };
    // Nobody asks for it but the channel's policy of all groups together.
    let everybody = common::SignaturePolicyEnvelope {
        version: 0,
        rule: Some(common::SignaturePolicy {
            r#type: Some(common::signature_policy::Type::NOutOf(
                common::signature_policy::NOutOf::default(),
            )),
        }),
        identities: Vec::new(),
    };
    let policy = common::Policy {
        r#type: common::policy::PolicyType::Signature.into(),
        value: everybody.encode_to_vec().into(),
    };
    let policy = ConfigPolicy {
        version: 0,
        policy: Some(policy),
        mod_policy: ORDERER_ADMINS.to_owned(),
    };
    section.policies.insert(ADMINS.to_owned(), policy);
    for (name, conf) in consortiums {
        let group = consortium(conf);
        let group = group.with_context(|| format!("failed to create consortium {name}"))?;
        section.groups.insert(name.clone(), group);
    }
    Ok(section)
}

fn consortium(conf: &Consortium) -> anyhow::Result<ConfigGroup> {
    let mut group = ConfigGroup {
        mod_policy: ORDERER_ADMINS.to_owned(),
        ..ConfigGroup::default()
    };
    for member in &conf.organizations {
        let made = match member.skip_as_foreign {
            true => foreign(),
            false => {
                organization(member, "consortiums").context("failed to create consortium org")?
            }
        };
        group.groups.insert(member.name.clone(), made);
    }
    let any = common::ImplicitMetaPolicy {
        sub_policy: ADMINS.to_owned(),
        rule: common::implicit_meta_policy::Rule::Any.into(),
    };
    let policy = common::Policy {
        r#type: common::policy::PolicyType::ImplicitMeta.into(),
        value: any.encode_to_vec().into(),
    };
    add(&mut group, "ChannelCreationPolicy", &policy, ORDERER_ADMINS);
    Ok(group)
}

/// An organization of which nothing is known here.
fn foreign() -> ConfigGroup {
    ConfigGroup {
        mod_policy: ADMINS.to_owned(),
        ..ConfigGroup::default()
    }
}

fn organization(conf: &Organization, section: &str) -> anyhow::Result<ConfigGroup> {
    let loading = || format!("1 - Error loading MSP configuration for org: {}", conf.name);
    match conf.msp_type.as_str() {
        "" | "bccsp" => {}
        "idemix" => bail!(
            "{}: MSPType idemix is not supported; use bccsp, with X.509 certificates",
            loading()
        ),
        other => bail!("{}: unknown MSP type '{other}'", loading()),
    }
    let msp = folders::read_msp_config(&conf.msp_dir, &conf.id).with_context(loading)?;
    let mut made = group(conf.policies.as_ref()).with_context(|| {
        format!(
            "error adding policies to {section} org group '{}'",
            conf.name
        )
    })?;
    let value = msp::MspConfig {
        r#type: 0,
        config: msp.encode_to_vec().into(),
    };
    add(&mut made, "MSP", &value, ADMINS);
    Ok(made)
}

fn add_capabilities(group: &mut ConfigGroup, capabilities: &Capabilities) {
    let required = capabilities.iter().filter(|(_, required)| **required);
    genesis::add_capabilities(group, required.map(|(name, _)| name.as_str()));
    // A list of those that are not required is an empty list, and not none.
    if !capabilities.is_empty() {
        let value = group.values.entry("Capabilities".to_owned());
        value.or_insert_with(|| ConfigValue {
            mod_policy: ADMINS.to_owned(),
            ..ConfigValue::default()
        });
    }
}

fn add(group: &mut ConfigGroup, key: &str, message: &impl Message, mod_policy: &str) {
    let value = ConfigValue {
        version: 0,
        value: message.encode_to_vec().into(),
        mod_policy: mod_policy.to_owned(),
    };
    group.values.insert(key.to_owned(), value);
}

/// A group with its policies.
fn group(policies: Option<&Policies>) -> anyhow::Result<ConfigGroup> {
    let policies = policies.context("no policies defined")?;
    for name in [ADMINS, "Readers", "Writers"] {
        ensure!(policies.contains_key(name), "no {name} policy defined");
    }
    let mut group = foreign();
    for (name, policy) in policies {
        let (kind, value) = match policy.kind.as_str() {
            "ImplicitMeta" => {
                let rule = dsl::parse_implicit_meta(&policy.rule);
                let rule = rule.with_context(|| {
                    format!("invalid implicit meta policy rule '{}'", policy.rule)
                })?;
                (
                    common::policy::PolicyType::ImplicitMeta,
                    rule.encode_to_vec(),
                )
            }
            "Signature" => {
                let rule = dsl::parse(&policy.rule);
                let rule = rule
                    .with_context(|| format!("invalid signature policy rule '{}'", policy.rule))?;
                (common::policy::PolicyType::Signature, rule.encode_to_vec())
            }
            other => bail!("unknown policy type: {other}"),
        };
        let policy = ConfigPolicy {
            version: 0,
            policy: Some(common::Policy {
                r#type: kind.into(),
                value: value.into(),
            }),
            mod_policy: ADMINS.to_owned(),
        };
        group.policies.insert(name.clone(), policy);
    }
    Ok(group)
}
