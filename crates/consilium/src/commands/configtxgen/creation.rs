//! The transaction that created channels under a system channel. fabric: internal/configtxgen/encoder

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use bytes::Bytes;
use consilium_proto::common::{self, Config, ConfigGroup, ConfigPolicy, ConfigValue, Envelope};
use consilium_protocol::config::{ConfigError, update};
use consilium_protocol::envelope;
use prost::Message;

use super::encoder;
use super::profile::Profile;

/// The unsigned transaction; `base` is the profile of the system channel, if it is known.
///
/// # Errors
/// What is missing, in the words of Fabric's configtxgen.
pub fn transaction(
    profile: &Profile,
    base: Option<&Profile>,
    channel: &str,
) -> anyhow::Result<Envelope> {
    let template = match base {
        None => template(profile).context("could not generate default config template")?,
        Some(base) => {
            let base = encoder::channel(base).context("could not parse system channel config")?;
            template_of(profile, base).context("could not create config template")?
        }
    };
    let update = update_of(profile, template, channel);
    let update = update.context("config update generation failure")?;
    let update = common::ConfigUpdateEnvelope {
        config_update: update.encode_to_vec().into(),
        signatures: Vec::new(),
    };
    let now = envelope::timestamp(std::time::SystemTime::now());
    let header = common::ChannelHeader {
        r#type: common::HeaderType::ConfigUpdate.into(),
        timestamp: Some(now),
        channel_id: channel.to_owned(),
        ..common::ChannelHeader::default()
    };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: header.encode_to_vec().into(),
            signature_header: Bytes::new(),
        }),
        data: update.encode_to_vec().into(),
    };
    Ok(Envelope {
        payload: payload.encode_to_vec().into(),
        signature: Bytes::new(),
    })
}

fn template(profile: &Profile) -> anyhow::Result<ConfigGroup> {
    let mut root = encoder::channel(profile).context("error parsing configuration")?;
    let application = root.groups.get_mut("Application");
    let application =
        application.context("channel template configs must contain an application section")?;
    application.values.clear();
    application.policies.clear();
    Ok(root)
}

fn template_of(profile: &Profile, mut base: ConfigGroup) -> anyhow::Result<ConfigGroup> {
    let consortiums = base.groups.remove("Consortiums").context(
        "supplied system channel group does not appear to be system channel (missing consortiums group)",
    )?;
    let name = profile.consortium.as_str();
    let consortium = consortiums.groups.get(name);
    let consortium = consortium
        .with_context(|| format!("supplied system channel group is missing '{name}' consortium"))?;
    let application = profile.application.as_ref();
    let application = application
        .context("supplied channel creation profile does not contain an application section")?;
    let mut members = BTreeMap::new();
    for member in application.organizations.iter().map(|member| &member.name) {
        let group = consortium.groups.get(member);
        let group = group
            .with_context(|| format!("consortium {name} does not contain member org {member}"))?;
        members.insert(member.clone(), group.clone());
    }
    let section = ConfigGroup {
        groups: members,
        policies: [("Admins".to_owned(), ConfigPolicy::default())].into(),
        ..ConfigGroup::default()
    };
    base.groups.insert("Application".to_owned(), section);
    let value = ConfigValue {
        version: 0,
        value: consortium_value(name),
        mod_policy: "Admins".to_owned(),
    };
    base.values.insert("Consortium".to_owned(), value);
    Ok(base)
}

fn consortium_value(name: &str) -> Bytes {
    let name = name.to_owned();
    common::Consortium { name }.encode_to_vec().into()
}

fn update_of(
    profile: &Profile,
    template: ConfigGroup,
    channel: &str,
) -> anyhow::Result<common::ConfigUpdate> {
    ensure!(
        profile.application.is_some(),
        "cannot define a new channel with no Application section"
    );
    ensure!(
        !profile.consortium.is_empty(),
        "cannot define a new channel with no Consortium value"
    );
    let config = |group| Config {
        sequence: 0,
        channel_group: Some(group),
    };
    let wanted = encoder::channel(profile);
    let wanted = wanted.context("could not turn parse profile into channel group")?;
    let computed = update::compute(&config(template), &config(wanted), channel);
    let mut update = computed
        .map_err(|error| match error {
            ConfigError::Invalid(reason) => anyhow::anyhow!(reason),
            other => anyhow::anyhow!(other),
        })
        .context("could not compute update")?;
    let name = || "Consortium".to_owned();
    if let Some(read) = &mut update.read_set {
        read.values.insert(name(), ConfigValue::default());
    }
    if let Some(write) = &mut update.write_set {
        let value = ConfigValue {
            value: consortium_value(&profile.consortium),
            ..ConfigValue::default()
        };
        write.values.insert(name(), value);
    }
    Ok(update)
}
