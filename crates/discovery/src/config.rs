//! What discovery tells of a channel's configuration: MSPs and where orderers are. Pure.
//! `fabric: discovery/support/config/support.go`

use std::collections::BTreeMap;

use consilium_proto::{
    common::{ConfigGroup, OrdererAddresses},
    discovery::{ConfigResult, Endpoint, Endpoints},
    msp::{FabricMspConfig, MspConfig},
};
use prost::Message;

/// The `MSPConfig.type` of X.509 MSPs.
const FABRIC: i32 = 0;

/// The answer to a configuration query, from the channel group.
///
/// # Errors
/// What is missing or cannot be read.
pub(crate) fn config(root: &ConfigGroup) -> Result<ConfigResult, String> {
    let section = |name: &str| {
        root.groups
            .get(name)
            .map(|section| &section.groups)
            .ok_or_else(|| format!("key Config.ChannelGroup.Groups[{name}] is missing"))
    };
    let orderers = section("Orderer")?;
    let application = section("Application")?;
    let mut msps = BTreeMap::new();
    let mut addresses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for organization in orderers.values() {
        if let Some(msp) = msp(organization)? {
            addresses.insert(msp.name.clone(), own_addresses(organization, "Endpoints")?);
            msps.entry(msp.name.clone()).or_insert(msp);
        }
    }
    for organization in application.values() {
        if let Some(msp) = msp(organization)? {
            msps.entry(msp.name.clone()).or_insert(msp);
        }
    }
    let orderers = if addresses.values().any(|addresses| !addresses.is_empty()) {
        own_endpoints(addresses)
    } else {
        // The deprecated addresses of the whole channel: every organization's.
        let global = own_addresses(root, "OrdererAddresses")?;
        let endpoint = global.iter().map(|address| endpoint(address));
        let endpoint = endpoint.collect::<Result<Vec<_>, _>>()?;
        let all = Endpoints { endpoint };
        addresses
            .into_keys()
            .map(|msp_id| (msp_id, all.clone()))
            .collect()
    };
    Ok(ConfigResult { msps, orderers })
}

/// The MSP of an organization; `None` if it is of another type, which tells a client nothing.
fn msp(organization: &ConfigGroup) -> Result<Option<FabricMspConfig>, String> {
    let encoded = organization.values.get("MSP");
    let encoded = encoded.map(|value| value.value.clone()).unwrap_or_default();
    let config: MspConfig = consilium_proto::decode(&encoded)
        .map_err(|error| format!("failed parsing MSPConfig: {error}"))?;
    if config.r#type != FABRIC {
        return Ok(None);
    }
    consilium_proto::decode(&config.config)
        .map(Some)
        .map_err(|error| format!("failed marshaling FabricMSPConfig: {error}"))
}

fn own_addresses(group: &ConfigGroup, key: &str) -> Result<Vec<String>, String> {
    let Some(value) = group.values.get(key) else {
        return Ok(Vec::new());
    };
    OrdererAddresses::decode(value.value.clone())
        .map(|found| found.addresses)
        .map_err(|error| format!("failed unmarshalling orderer addresses: {error}"))
}

/// An address that cannot be read is left out.
fn own_endpoints(addresses: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Endpoints> {
    addresses
        .into_iter()
        .map(|(msp_id, addresses)| {
            let parsed = addresses.iter().filter_map(|address| {
                endpoint(address)
                    .inspect_err(|error| tracing::warn!(msp_id, error, "an orderer's address"))
                    .ok()
            });
            let endpoint = parsed.collect();
            (msp_id, Endpoints { endpoint })
        })
        .collect()
}

/// `host:port`, the host in brackets if it has colons.
fn endpoint(address: &str) -> Result<Endpoint, String> {
    let unreadable = || format!("failed parsing orderer endpoint {address}");
    let (host, port) = address.rsplit_once(':').ok_or_else(unreadable)?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').ok_or_else(unreadable)?,
        None if host.contains([':', ']']) => return Err(unreadable()),
        None => host,
    };
    let port: u16 = port
        .parse()
        .map_err(|_| format!("{port} is not a valid port number"))?;
    Ok(Endpoint {
        host: host.to_owned(),
        port: port.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::common::ConfigValue;

    fn value(message: &impl Message) -> ConfigValue {
        ConfigValue {
            value: message.encode_to_vec().into(),
            ..Default::default()
        }
    }

    fn organization(name: &str, kind: i32, endpoints: Option<&[&str]>) -> ConfigGroup {
        let config = FabricMspConfig {
            name: name.to_owned(),
            ..Default::default()
        };
        let msp = MspConfig {
            r#type: kind,
            config: config.encode_to_vec().into(),
        };
        let mut group = ConfigGroup::default();
        group.values.insert("MSP".to_owned(), value(&msp));
        if let Some(endpoints) = endpoints {
            group
                .values
                .insert("Endpoints".to_owned(), value(&addresses(endpoints)));
        }
        group
    }

    fn addresses(addresses: &[&str]) -> OrdererAddresses {
        OrdererAddresses {
            addresses: addresses
                .iter()
                .map(|&address| address.to_owned())
                .collect(),
        }
    }

    fn channel(
        orderers: Vec<ConfigGroup>,
        application: Vec<ConfigGroup>,
        global: &[&str],
    ) -> ConfigGroup {
        let section = |organizations: Vec<ConfigGroup>| {
            let groups = organizations.into_iter().enumerate();
            ConfigGroup {
                groups: groups.map(|(n, group)| (format!("g{n}"), group)).collect(),
                ..Default::default()
            }
        };
        let mut root = ConfigGroup::default();
        root.groups.insert("Orderer".to_owned(), section(orderers));
        root.groups
            .insert("Application".to_owned(), section(application));
        root.values
            .insert("OrdererAddresses".to_owned(), value(&addresses(global)));
        root
    }

    fn shown(result: &ConfigResult) -> Vec<String> {
        let orderers = result.orderers.iter().map(|(msp_id, endpoints)| {
            let endpoints = endpoints.endpoint.iter();
            let endpoints =
                endpoints.map(|endpoint| format!("{} {}", endpoint.host, endpoint.port));
            format!("{msp_id}: {}", endpoints.collect::<Vec<_>>().join(", "))
        });
        orderers.collect()
    }

    #[test]
    fn organizations_own_endpoints_win_over_global_ones() {
        let root = channel(
            vec![
                organization(
                    "A",
                    0,
                    Some(&["a:1", "nowhere", "[::1]:2", "b:70000", "::1:3"]),
                ),
                organization("B", 0, None),
                organization("Idemix", 1, Some(&["i:1"])),
            ],
            vec![
                organization("A", 0, None),
                organization("C", 0, None),
                organization("I", 1, None),
            ],
            &["global:7"],
        );
        let result = config(&root).unwrap();
        let msps: Vec<_> = result.msps.keys().cloned().collect();
        assert_eq!(msps, ["A", "B", "C"]);
        assert_eq!(shown(&result), ["A: a 1, ::1 2", "B: "]);
    }

    #[test]
    fn without_own_endpoints_the_global_ones_are_everybodys() {
        let orderers = || vec![organization("A", 0, Some(&[])), organization("B", 0, None)];
        let root = channel(orderers(), vec![], &["g:7", "h:8"]);
        let result = config(&root).unwrap();
        assert_eq!(shown(&result), ["A: g 7, h 8", "B: g 7, h 8"]);
        for (address, error) in [
            ("g", "failed parsing orderer endpoint g"),
            ("g:x", "x is not a valid port number"),
        ] {
            let root = channel(orderers(), vec![], &[address]);
            assert_eq!(config(&root).unwrap_err(), error);
        }
    }

    #[test]
    fn what_is_missing_or_damaged_is_said() {
        let error = config(&ConfigGroup::default()).unwrap_err();
        assert_eq!(error, "key Config.ChannelGroup.Groups[Orderer] is missing");
        let mut damaged = organization("A", 0, None);
        if let Some(value) = damaged.values.get_mut("MSP") {
            value.value = (&b"\xff"[..]).into();
        }
        let error = config(&channel(vec![damaged], vec![], &[])).unwrap_err();
        assert!(error.starts_with("failed parsing MSPConfig: "), "{error}");
    }
}
