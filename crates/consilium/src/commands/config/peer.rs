//! `core.yaml`.

use std::path::Path;

use consilium_msp::NodeRole;

use super::files::{self, Named};
use super::node;
use super::report::Report;
use crate::config::{self, OperationsTls, PeerConfig};

/// Checks it.
pub fn check(file: &Path, report: &mut Report) {
    let read = config::read_layered::<PeerConfig>("CORE", file);
    let (config, unknown) = match read {
        Ok(read) => read,
        Err(error) => return report.mistake("", format!("{error:#}")),
    };
    node::unknown(report, &unknown);
    let settings = &config.peer;
    report.fact(
        "peer.id",
        format!(
            "{} of {}, in the network {}",
            settings.id, settings.local_msp_id, settings.network_id
        ),
    );
    let chaincode = settings.chaincode_listen_address.as_deref();
    node::listeners(
        report,
        &[
            ("peer.listenAddress", &settings.listen_address),
            ("peer.chaincodeListenAddress", chaincode.unwrap_or_default()),
            (
                "operations.listenAddress",
                &config.operations.listen_address,
            ),
        ],
    );
    node::dialled(report, "peer.address", &settings.address);
    let folder = config::relative(file, &settings.msp_config_path);
    let id = &settings.local_msp_id;
    node::msp(
        report,
        "peer.mspConfigPath",
        &folder,
        id,
        Some(NodeRole::Peer),
    );
    tls(report, file, settings);
    operations(report, file, &config.operations.tls);
    let data = config::relative(file, &settings.file_system_path);
    let shown = match data.exists() {
        true => "data in",
        false => "data will be in",
    };
    report.fact("peer.fileSystemPath", format!("{shown} {}", data.display()));
}

fn tls(report: &mut Report, file: &Path, settings: &config::PeerSettings) {
    let tls = &settings.tls;
    if !tls.enabled {
        return report.mistake(
            "peer.tls.enabled",
            "must be true: a peer only serves over TLS",
        );
    }
    let at = |path: &Path| config::relative(file, path);
    let (certificate, key) = (at(&tls.cert.file), at(&tls.key.file));
    let root = at(&tls.rootcert.file);
    let leaf = files::pair(
        report,
        Named {
            key: "peer.tls.cert.file",
            path: &certificate,
        },
        Named {
            key: "peer.tls.key.file",
            path: &key,
        },
    );
    let named = Named {
        key: "peer.tls.rootcert.file",
        path: &root,
    };
    let roots = files::certificates(report, named);
    for root in &roots {
        files::validity(report, named.key, root);
    }
    for path in &tls.client_root_cas.files {
        let path = at(path);
        let key = "peer.tls.clientRootCAs.files";
        files::certificates(report, Named { key, path: &path });
    }
    if let Some(leaf) = leaf {
        files::issued(report, named.key, &leaf, &roots);
        files::host(report, "peer.address", &leaf, &settings.address);
    }
    if !tls.client_auth_required {
        report.fact(
            "peer.tls.clientAuthRequired",
            "clients need no certificate for TLS; they sign what they ask",
        );
    }
}

fn operations(report: &mut Report, file: &Path, tls: &OperationsTls) {
    if !tls.enabled {
        return;
    }
    let (certificate, key) = (
        config::relative(file, &tls.cert.file),
        config::relative(file, &tls.key.file),
    );
    files::pair(
        report,
        Named {
            key: "operations.tls.cert.file",
            path: &certificate,
        },
        Named {
            key: "operations.tls.key.file",
            path: &key,
        },
    );
    if tls.client_auth_required && tls.client_root_cas.files.is_empty() {
        report.mistake(
            "operations.tls.clientRootCAs.files",
            "names nobody, and clients must have certificates",
        );
    }
}
