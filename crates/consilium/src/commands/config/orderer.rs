//! `orderer.yaml`.

use std::path::Path;
use std::sync::Arc;

use consilium_msp::{Certificate, NodeRole};

use super::files::{self, Named};
use super::node;
use super::report::Report;
use crate::config::{self, OrdererConfig, Tls};

/// Checks it.
pub fn check(file: &Path, report: &mut Report) {
    let read = config::read_layered::<OrdererConfig>("ORDERER", file);
    let (config, unknown) = match read {
        Ok(read) => read,
        Err(error) => return report.mistake("", format!("{error:#}")),
    };
    node::unknown(report, &unknown);
    let general = &config.general;
    let address = format!("{}:{}", general.listen_address, general.listen_port);
    report.fact("General.LocalMSPID", general.local_msp_id.clone());
    node::listeners(
        report,
        &[
            ("General.ListenAddress", &address),
            ("Admin.ListenAddress", &config.admin.listen_address),
            (
                "Operations.ListenAddress",
                &config.operations.listen_address,
            ),
        ],
    );
    let folder = config::relative(file, &general.local_msp_dir);
    let id = &general.local_msp_id;
    node::msp(
        report,
        "General.LocalMSPDir",
        &folder,
        id,
        Some(NodeRole::Orderer),
    );
    if !general.tls.enabled {
        let text = "must be true: an orderer only serves over TLS";
        report.mistake("General.TLS.Enabled", text);
    } else if let Some(leaf) = pair(report, file, "General.TLS", &general.tls) {
        let roots = authorities(report, file, "General.TLS.RootCAs", &general.tls.root_cas);
        files::issued(report, "General.TLS.RootCAs", &leaf, &roots);
    }
    let cluster = &general.cluster;
    if !cluster.client_certificate.as_os_str().is_empty() {
        let (certificate, key) = (
            config::relative(file, &cluster.client_certificate),
            config::relative(file, &cluster.client_private_key),
        );
        files::pair(
            report,
            Named {
                key: "General.Cluster.ClientCertificate",
                path: &certificate,
            },
            Named {
                key: "General.Cluster.ClientPrivateKey",
                path: &key,
            },
        );
    }
    authorities(report, file, "General.Cluster.RootCAs", &cluster.root_cas);
    if config.admin.listen_address.is_empty() {
        let text = "is empty: no channel can be joined";
        report.doubt("Admin.ListenAddress", text);
    } else if !config.admin.tls.enabled || !config.admin.tls.client_auth_required {
        let text = "Enabled and ClientAuthRequired must be true: whoever reaches it may join and \
                    remove channels";
        report.mistake("Admin.TLS", text);
    } else {
        pair(report, file, "Admin.TLS", &config.admin.tls);
        let roots = &config.admin.tls.client_root_cas;
        if authorities(report, file, "Admin.TLS.ClientRootCAs", roots).is_empty() {
            report.mistake("Admin.TLS.ClientRootCAs", "trusts no administrator");
        }
    }
    if config.operations.tls.enabled {
        pair(report, file, "Operations.TLS", &config.operations.tls);
    }
    let data = config::relative(file, &config.file_ledger.location);
    let shown = match data.exists() {
        true => "data in",
        false => "data will be in",
    };
    report.fact("FileLedger.Location", format!("{shown} {}", data.display()));
}

fn pair(report: &mut Report, file: &Path, section: &str, tls: &Tls) -> Option<Arc<Certificate>> {
    let (certificate, key) = (
        config::relative(file, &tls.certificate),
        config::relative(file, &tls.private_key),
    );
    files::pair(
        report,
        Named {
            key: &format!("{section}.Certificate"),
            path: &certificate,
        },
        Named {
            key: &format!("{section}.PrivateKey"),
            path: &key,
        },
    )
}

fn authorities(
    report: &mut Report,
    file: &Path,
    key: &str,
    paths: &[std::path::PathBuf],
) -> Vec<Arc<Certificate>> {
    let mut found = Vec::new();
    for path in paths {
        let path = config::relative(file, path);
        found.extend(files::certificates(report, Named { key, path: &path }));
    }
    for authority in &found {
        files::validity(report, key, authority);
    }
    found
}
