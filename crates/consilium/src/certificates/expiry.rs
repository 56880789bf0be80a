//! When certificates end: metrics, warnings, and words for people.
//!
//! fabric: common/crypto/expiration.go

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use consilium_msp::Certificate;
use consilium_proto::{common, etcdraft, msp as msp_proto};
use metrics::{describe_gauge, gauge};
use prost::Message;

/// Describes the metrics of this module for exporters.
pub fn describe_metrics() {
    describe_gauge!(
        "certificate_not_after",
        "When a certificate of this node expires, in seconds since 1970."
    );
    describe_gauge!(
        "channel_certificate_not_after",
        "When the first certificate of that kind of an organization of a channel expires, in seconds since 1970."
    );
    describe_gauge!(
        "certificate_renewal_failures",
        "Failed tries to renew a certificate since it was renewed last."
    );
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing to say.
    Good,
    /// It ends within the time that is worth a warning.
    Ending,
    /// It has ended.
    Expired,
}

/// How a certificate that ends at `not_after` stands at `now`, both in Unix seconds.
pub fn standing(not_after: i64, now: i64, warn_before: Duration) -> Standing {
    let warn_before = i64::try_from(warn_before.as_secs()).unwrap_or(i64::MAX);
    if now > not_after {
        Standing::Expired
    } else if now.saturating_add(warn_before) > not_after {
        Standing::Ending
    } else {
        Standing::Good
    }
}

/// The moment `not_after` and how far it is, for people: `2027-12-01 (364 days)`.
pub fn until(not_after: i64, now: i64) -> String {
    let day = jiff::Timestamp::from_second(not_after).map_or_else(
        |_| "the end of time".to_owned(),
        |moment| moment.strftime("%Y-%m-%d").to_string(),
    );
    let left = not_after.saturating_sub(now);
    match left {
        ..0 => format!("expired {day}"),
        0..7200 => format!("{day} ({} minutes)", left / 60),
        7200..172_800 => format!("{day} ({} hours)", left / 3600),
        _ => format!("{day} ({} days)", left / 86_400),
    }
}

/// The certificates in a channel's configuration that other things depend on, by organization and kind:
/// of each kind the one that ends first.
pub fn of_channel(
    root: &common::ConfigGroup,
) -> BTreeMap<(String, &'static str), Arc<Certificate>> {
    let mut found = BTreeMap::new();
    let mut note = |organization: &str, kind: &'static str, pem: &[u8]| {
        for certificate in Certificate::all_from_pem(pem).unwrap_or_default() {
            let known = found
                .entry((organization.to_owned(), kind))
                .or_insert_with(|| certificate.clone());
            if certificate.not_after() < known.not_after() {
                *known = certificate;
            }
        }
    };
    for (name, section) in &root.groups {
        for group in section.groups.values() {
            let Some(msp) = group
                .values
                .get("MSP")
                .and_then(|value| msp_of(&value.value))
            else {
                continue;
            };
            let kinds = [
                ("root", &msp.root_certs),
                ("intermediate", &msp.intermediate_certs),
                ("admin", &msp.admins),
                ("TLS root", &msp.tls_root_certs),
                ("TLS intermediate", &msp.tls_intermediate_certs),
            ];
            for (kind, pems) in kinds {
                for pem in pems {
                    note(&msp.name, kind, pem);
                }
            }
        }
        let consensus = section.values.get("ConsensusType");
        let consenters = consensus.filter(|_| name == "Orderer").and_then(|value| {
            let consensus = consilium_proto::orderer::ConsensusType::decode(&*value.value).ok()?;
            etcdraft::ConfigMetadata::decode(&*consensus.metadata).ok()
        });
        for consenter in consenters.unwrap_or_default().consenters {
            let address = format!("{}:{}", consenter.host, consenter.port);
            note(&address, "consenter", &consenter.server_tls_cert);
            note(&address, "consenter", &consenter.client_tls_cert);
        }
    }
    found
}

fn msp_of(value: &[u8]) -> Option<msp_proto::FabricMspConfig> {
    let config = msp_proto::MspConfig::decode(value).ok()?;
    msp_proto::FabricMspConfig::decode(&*config.config).ok()
}

/// Says when a node's own certificate ends.
pub fn show_own(purpose: super::Purpose, certificate: &Certificate) {
    gauge!("certificate_not_after", "use" => purpose.label()).set(certificate.not_after() as f64);
}

/// Says when the certificates of a channel end.
pub fn show_channel(
    channel: &str,
    certificates: &BTreeMap<(String, &'static str), Arc<Certificate>>,
) {
    for ((organization, kind), certificate) in certificates {
        gauge!(
            "channel_certificate_not_after",
            "channel" => channel.to_owned(),
            "organization" => organization.clone(),
            "kind" => *kind
        )
        .set(certificate.not_after() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_worth_a_warning_a_week_before_its_end() {
        let week = Duration::from_secs(604_800);
        for (now, expected) in [
            (0, Standing::Good),
            (1_000_000 - 604_801, Standing::Good),
            (1_000_000 - 604_799, Standing::Ending),
            (1_000_000, Standing::Ending),
            (1_000_001, Standing::Expired),
        ] {
            assert_eq!(standing(1_000_000, now, week), expected, "{now}");
        }
    }

    #[test]
    fn the_time_left_is_told_in_a_unit_that_fits() {
        for (now, expected) in [
            (-86_400 * 10, "1970-01-01 (10 days)"),
            (-7200, "1970-01-01 (2 hours)"),
            (-120, "1970-01-01 (2 minutes)"),
            (1, "expired 1970-01-01"),
        ] {
            assert_eq!(until(0, now), expected);
        }
    }

    #[test]
    fn the_certificates_of_a_channel_are_found_by_organization_and_kind() {
        let organization = consilium_testkit::Organization::new("Org1MSP", "org1.example.com");
        let msp = msp_proto::MspConfig {
            r#type: 0,
            config: organization.msp_config().encode_to_vec().into(),
        };
        let value = common::ConfigValue {
            value: msp.encode_to_vec().into(),
            ..Default::default()
        };
        let group = common::ConfigGroup {
            values: [("MSP".to_owned(), value)].into(),
            ..Default::default()
        };
        let application = common::ConfigGroup {
            groups: [("Org1MSP".to_owned(), group)].into(),
            ..Default::default()
        };
        let root = common::ConfigGroup {
            groups: [("Application".to_owned(), application)].into(),
            ..Default::default()
        };
        let found = of_channel(&root);
        let kinds: Vec<_> = found.keys().map(|(_, kind)| *kind).collect();
        assert!(
            kinds.contains(&"root") && kinds.contains(&"TLS root"),
            "{kinds:?}"
        );
        assert!(
            found
                .keys()
                .all(|(organization, _)| organization == "Org1MSP")
        );
    }
}
