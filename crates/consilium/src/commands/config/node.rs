//! What peers and orderers have in common: a folder of an MSP, and listeners.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use consilium_ca::folders;
use consilium_msp::{Msp, MspVersion, NodeRole};

use super::files::{self, Named};
use super::report::Report;
use crate::commands::connect::signer;

/// Checks an MSP's folder; with a role, the identity in it has to be of that role.
pub fn msp(report: &mut Report, key: &str, folder: &Path, id: &str, role: Option<NodeRole>) {
    let config = match folders::read_msp_config(folder, id) {
        Ok(config) => config,
        Err(error) => return report.mistake(key, error.to_string()),
    };
    let msp = match Msp::new(&config, MspVersion::V3_0) {
        Ok(msp) => msp,
        Err(error) => return report.mistake(key, format!("{}: {error}", folder.display())),
    };
    for authority in msp.authorities() {
        files::validity(report, key, authority);
        report.fact(key, format!("{id} trusts {}", authority.subject_cn()));
    }
    if !msp.has_node_roles() {
        let text = "NodeOUs are off in config.yaml: nobody is a peer, an orderer or a client, and \
                    administrators are those in admincerts";
        report.doubt(key, text);
        if msp.admins().is_empty() {
            report.mistake(key, "there is no administrator: admincerts is empty");
        }
    }
    if config.tls_root_certs.is_empty() {
        report.doubt(
            key,
            "tlscacerts is empty: others cannot trust the TLS of its nodes",
        );
    }
    if role.is_none() && !folder.join("signcerts").is_dir() {
        return;
    }
    let found = match signer(folder, id) {
        Ok(found) => found,
        Err(error) => return report.mistake(key, format!("{error:#}")),
    };
    if let Ok(keys) = std::fs::read_dir(folder.join("keystore")) {
        for path in keys.flatten().map(|entry| entry.path()) {
            files::secrecy(report, Named { key, path: &path });
        }
    }
    files::validity(report, key, found.certificate());
    let name = found.certificate().subject_cn().to_owned();
    let identity = match msp.deserialize(found.serialized()) {
        Ok(identity) => identity,
        Err(error) => return report.mistake(key, format!("{name}: {error}")),
    };
    if let Err(error) = msp.validate(&identity) {
        return report.mistake(key, format!("{name} is no valid member of {id}: {error}"));
    }
    let found = msp.role(&identity);
    let shown = found.map_or_else(
        || "member".to_owned(),
        |role| format!("{role:?}").to_lowercase(),
    );
    report.fact(key, format!("signs as {name}, a {shown} of {id}"));
    if let Some(role) = role
        && msp.has_node_roles()
        && found != Some(role)
    {
        let wanted = format!("{role:?}").to_lowercase();
        let text = format!(
            "{name} is a {shown}, and not a {wanted}: its certificate needs the unit {wanted}"
        );
        report.mistake(key, text);
    }
}

/// Keys with unknown names.
pub fn unknown(report: &mut Report, keys: &[String]) {
    for key in keys {
        report.doubt(
            key,
            "is not supported and means nothing here; is it spelt right?",
        );
    }
}

/// Checks addresses to listen on: each by itself, and that no two are the same.
pub fn listeners(report: &mut Report, listeners: &[(&str, &str)]) {
    let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
    for (key, address) in listeners.iter().filter(|(_, address)| !address.is_empty()) {
        let Some(bound) = socket(address) else {
            report.mistake(key, format!("{address:?} is not of the form HOST:PORT"));
            continue;
        };
        if bound.port() == 0 {
            report.doubt(key, "port 0 is another one at each start");
            continue;
        }
        let same = taken.iter().find(|(_, other)| overlap(*other, bound));
        if let Some((other, _)) = same {
            let text = format!("{address} is taken by {other} of the same node");
            report.mistake(key, text);
            continue;
        }
        report.fact(key, format!("listens on {address}"));
        if let Err(error) = TcpListener::bind(bound) {
            let text = format!("nobody can listen on {address} now: {error}; does the node run?");
            report.doubt(key, text);
        }
        taken.push((key, bound));
    }
}

/// An address to listen on; names other than localhost are taken for every address.
fn socket(address: &str) -> Option<SocketAddr> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host.trim_matches(['[', ']']) {
        "" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let address = host.parse().unwrap_or(IpAddr::from([0, 0, 0, 0]));
    Some(SocketAddr::new(address, port))
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Whether an address names a host and a port that others can dial.
pub fn dialled(report: &mut Report, key: &str, address: &str) {
    let parts = address.rsplit_once(':');
    let port = parts.and_then(|(_, port)| port.parse::<u16>().ok());
    match (parts, port) {
        (Some((host, _)), Some(port)) if !host.is_empty() && port != 0 => {
            let host = host.trim_matches(['[', ']']);
            if host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_unspecified())
            {
                report.mistake(key, format!("nobody can dial {address}: name a host"));
            }
        }
        _ => report.mistake(key, format!("{address:?} is not of the form HOST:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_get_in_each_others_way() {
        for (addresses, part) in [
            (["0.0.0.0:1", "127.0.0.1:1"], Some("is taken by a")),
            (["127.0.0.1:1", "127.0.0.2:1"], None),
            (["0.0.0.0:1", "here"], Some("not of the form HOST:PORT")),
            (["0.0.0.0:1", "0.0.0.0:0"], Some("port 0")),
            (["0.0.0.0:1", ""], None),
        ] {
            let mut report = Report::default();
            listeners(&mut report, &[("a", addresses[0]), ("b", addresses[1])]);
            let found: Vec<_> = report
                .found()
                .into_iter()
                .filter(|line| line.starts_with("b: ") && !line.contains("nobody can listen"))
                .collect();
            match part {
                None => assert!(found.is_empty(), "{found:?}"),
                Some(part) => assert!(found[0].contains(part), "{found:?}"),
            }
        }
    }

    #[test]
    fn nobody_can_dial_every_address() {
        for (address, part) in [
            ("peer0.example.com:7051", None),
            ("[::1]:7051", None),
            ("0.0.0.0:7051", Some("name a host")),
            ("[::]:7051", Some("name a host")),
            ("peer0.example.com", Some("HOST:PORT")),
            (":7051", Some("HOST:PORT")),
            ("peer0:0", Some("HOST:PORT")),
        ] {
            let mut report = Report::default();
            dialled(&mut report, "a", address);
            let found = report.found();
            match part {
                None => assert!(found.is_empty(), "{found:?}"),
                Some(part) => assert!(found[0].contains(part), "{found:?}"),
            }
        }
    }
}
