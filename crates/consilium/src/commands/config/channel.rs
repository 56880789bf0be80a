//! `configtx.yaml`.

use std::collections::BTreeSet;
use std::path::Path;

use consilium_msp::dsl;
use consilium_proto::common::{Config, MspRole, msp_principal::Classification};
use consilium_protocol::config::ChannelConfig;

use super::files::{self, Named};
use super::node;
use super::report::Report;
use crate::commands::configtxgen::encoder;
use crate::commands::configtxgen::profile::{self, Orderer, Organization, Policies, Profile};

/// Checks it.
pub fn check(file: &Path, report: &mut Report) {
    let (top, unknown) = match crate::config::read_layered::<profile::TopLevel>("CONFIGTX", file) {
        Ok(read) => read,
        Err(error) => return report.mistake("", format!("{error:#}")),
    };
    for key in &unknown {
        report.mistake(key, "no such key: configtxgen refuses it");
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    for (name, profile) in top.profiles {
        self::profile(report, &format!("Profiles.{name}"), profile, folder);
    }
}

fn profile(report: &mut Report, key: &str, mut profile: Profile, folder: &Path) {
    if let Err(error) = profile.complete(folder) {
        return report.mistake(key, format!("{error:#}"));
    }
    let members: Vec<&Organization> = [
        profile.orderer.as_ref().map(|part| &part.organizations),
        profile.application.as_ref().map(|part| &part.organizations),
    ]
    .into_iter()
    .flatten()
    .flatten()
    .collect();
    let ids: BTreeSet<&str> = members.iter().map(|member| member.id.as_str()).collect();
    report.fact(
        key,
        format!(
            "organizations {}",
            Vec::from_iter(ids.iter().copied()).join(", ")
        ),
    );
    for member in &members {
        let at = format!("{key}, {}", member.name);
        policies(report, &at, member.policies.as_ref(), &ids);
        for address in &member.orderer_endpoints {
            node::dialled(report, &format!("{at}.OrdererEndpoints"), address);
        }
        for peer in &member.anchor_peers {
            let address = format!("{}:{}", peer.host, peer.port);
            node::dialled(report, &format!("{at}.AnchorPeers"), &address);
        }
    }
    policies(report, key, profile.policies.as_ref(), &ids);
    if let Some(part) = &profile.application {
        policies(
            report,
            &format!("{key}.Application"),
            part.policies.as_ref(),
            &ids,
        );
    }
    if let Some(part) = &profile.orderer {
        policies(
            report,
            &format!("{key}.Orderer"),
            part.policies.as_ref(),
            &ids,
        );
        consenters(report, &format!("{key}.Orderer"), part);
    }
    let group = match encoder::channel(&profile) {
        Ok(group) => group,
        Err(error) => return report.mistake(key, format!("{error:#}")),
    };
    if profile.orderer.is_none() || profile.application.is_none() || profile.consortiums.is_some() {
        let text =
            "is no application channel: no genesis block for an orderer of today comes of it";
        return report.doubt(key, text);
    }
    let config = Config {
        sequence: 0,
        channel_group: Some(group),
    };
    let accepted = ChannelConfig::new("check", config)
        .and_then(|config| config.capabilities().check_supported(true));
    if let Err(error) = accepted {
        report.mistake(key, format!("no node accepts the channel: {error}"));
    }
}

/// Policies of organizations that are not there are never met.
fn policies(report: &mut Report, key: &str, policies: Option<&Policies>, ids: &BTreeSet<&str>) {
    for (name, policy) in policies.into_iter().flatten() {
        let key = format!("{key}.Policies.{name}");
        if policy.kind != "Signature" {
            continue;
        }
        // What cannot be read is told where the channel is made of it.
        let Ok(parsed) = dsl::parse(&policy.rule) else {
            continue;
        };
        let roles = parsed.identities.iter().filter(|principal| {
            principal.principal_classification == i32::from(Classification::Role)
        });
        for role in roles {
            let role: Result<MspRole, _> = consilium_proto::decode(&role.principal);
            if let Ok(role) = role
                && !ids.contains(role.msp_identifier.as_str())
            {
                let text = format!(
                    "names {}, which is the ID of no organization of the profile",
                    role.msp_identifier
                );
                report.mistake(&key, text);
            }
        }
    }
}

fn consenters(report: &mut Report, key: &str, orderer: &Orderer) {
    if orderer.orderer_type != "etcdraft" {
        let kind = &orderer.orderer_type;
        let text = format!("no orderer of this program runs {kind}; etcdraft is what they run");
        report.doubt(&format!("{key}.OrdererType"), text);
        return;
    }
    let consenters = orderer.etcd_raft.iter().flat_map(|raft| &raft.consenters);
    let mut seen = BTreeSet::new();
    for consenter in consenters {
        let key = format!(
            "{key}.EtcdRaft.Consenters, {}:{}",
            consenter.host, consenter.port
        );
        if !seen.insert((&consenter.host, consenter.port)) {
            report.mistake(&key, "is there twice");
        }
        for (of, path) in [
            ("ServerTLSCert", &consenter.server_tls_cert),
            ("ClientTLSCert", &consenter.client_tls_cert),
        ] {
            let key = format!("{key}, {of}");
            let found = files::certificates(report, Named { key: &key, path });
            let Some(leaf) = found.first() else {
                continue;
            };
            files::validity(report, &key, leaf);
            if of == "ServerTLSCert" {
                let address = format!("{}:{}", consenter.host, consenter.port);
                files::host(report, &key, leaf, &address);
            }
        }
    }
}
