//! Certificates and keys in files.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use consilium_msp::Certificate;
use consilium_transport::TlsIdentity;

use super::report::Report;

/// Seconds before its end in which a certificate is talked about.
const SOON: i64 = 30 * 86_400;

/// A key of the configuration, and the file that it names.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    /// The key.
    pub key: &'a str,
    /// The file.
    pub path: &'a Path,
}

fn read(report: &mut Report, file: Named<'_>) -> Option<Vec<u8>> {
    if file.path.as_os_str().is_empty() || file.path.is_dir() {
        report.mistake(file.key, "names no file");
        return None;
    }
    match std::fs::read(file.path) {
        Ok(content) => Some(content),
        Err(error) => {
            let path = file.path.display();
            report.mistake(file.key, format!("{path} cannot be read: {error}"));
            None
        }
    }
}

/// The certificates in a file.
pub fn certificates(report: &mut Report, file: Named<'_>) -> Vec<Arc<Certificate>> {
    let Some(content) = read(report, file) else {
        return Vec::new();
    };
    match Certificate::all_from_pem(&content) {
        Ok(found) if !found.is_empty() => found,
        Ok(_) => {
            let path = file.path.display();
            report.mistake(file.key, format!("{path} holds no certificate"));
            Vec::new()
        }
        Err(error) => {
            report.mistake(file.key, format!("{}: {error}", file.path.display()));
            Vec::new()
        }
    }
}

/// Whether a certificate counts now.
pub fn validity(report: &mut Report, key: &str, certificate: &Certificate) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    });
    let name = certificate.subject_cn();
    let at = |seconds: i64| {
        let time = jiff::Timestamp::from_second(seconds);
        time.map_or_else(|_| seconds.to_string(), |time| time.to_string())
    };
    let (begin, end) = (certificate.not_before(), certificate.not_after());
    if end < now {
        report.mistake(
            key,
            format!("the certificate of {name} has expired at {}", at(end)),
        );
    } else if begin > now {
        report.mistake(
            key,
            format!(
                "the certificate of {name} counts only from {} on",
                at(begin)
            ),
        );
    } else if end - now < SOON {
        report.doubt(
            key,
            format!("the certificate of {name} expires at {}", at(end)),
        );
    }
}

/// Whether others may read a key's file.
pub fn secrecy(report: &mut Report, file: Named<'_>) {
    if let Ok(about) = std::fs::metadata(file.path)
        && about.permissions().mode() & 0o077 != 0
    {
        let path = file.path.display();
        let text = format!("others than its owner may read or write {path}; chmod 600 it");
        report.doubt(file.key, text);
    }
}

/// The pair of a listener or client. Gives the leaf.
pub fn pair(
    report: &mut Report,
    certificate: Named<'_>,
    key: Named<'_>,
) -> Option<Arc<Certificate>> {
    let leaf = certificates(report, certificate).first().cloned();
    let private = read(report, key);
    secrecy(report, key);
    let (leaf, private) = (leaf?, private?);
    let chain = std::fs::read(certificate.path).ok()?;
    if let Err(error) = TlsIdentity::from_pem(&chain, &private) {
        report.mistake(key.key, format!("{}: {error}", key.path.display()));
    }
    validity(report, certificate.key, &leaf);
    let names = leaf.dns_names().join(", ");
    let until = jiff::Timestamp::from_second(leaf.not_after());
    let until = until.map_or_else(|_| String::new(), |until| format!(", until {until}"));
    let text = format!("{} for {names}{until}", leaf.subject_cn());
    report.fact(certificate.key, text);
    Some(leaf)
}

/// Whether a certificate is one of these authorities'.
pub fn issued(report: &mut Report, key: &str, leaf: &Certificate, roots: &[Arc<Certificate>]) {
    let is_known = roots.iter().any(|root| leaf.is_signed_by(root));
    if !roots.is_empty() && !is_known {
        let name = leaf.subject_cn();
        let text =
            format!("the certificate of {name} was not issued by any of the trusted authorities");
        report.doubt(key, text);
    }
}

/// Whether a certificate is valid for a host.
pub fn names_host(certificate: &Certificate, host: &str) -> bool {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        return certificate.ip_addresses().contains(&bytes);
    }
    let host = host.to_ascii_lowercase();
    certificate.dns_names().iter().any(|name| {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            None => name == host,
            Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest == domain),
        }
    })
}

/// Says when a certificate is not valid for the host of an address.
pub fn host(report: &mut Report, key: &str, certificate: &Certificate, address: &str) {
    let Some((host, _)) = address.rsplit_once(':') else {
        return;
    };
    if !host.is_empty() && !names_host(certificate, host) {
        let text = format!(
            "others dial {host}, and the TLS certificate is for {} only",
            certificate.dns_names().join(", ")
        );
        report.mistake(key, text);
    }
}
