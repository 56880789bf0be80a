//! The life of a node's own certificates: `peer.certificates` of `core.yaml`, `General.Certificates` of
//! `orderer.yaml`. Fabric has no such section; there an operator replaces files and restarts the node.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::duration;

/// `certificates`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Certificates {
    /// How often the node looks whether the files of its certificates and keys have changed.
    #[serde(deserialize_with = "duration")]
    pub reload_interval: Duration,
    /// How long before a certificate expires the node begins to warn.
    #[serde(deserialize_with = "duration")]
    pub warn_before: Duration,
    /// Renewal by the node itself.
    pub renewal: Renewal,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            reload_interval: Duration::from_secs(10),
            // As in Fabric. fabric: common/crypto/expiration.go
            warn_before: Duration::from_secs(7 * 24 * 3600),
            renewal: Renewal::default(),
        }
    }
}

/// `certificates.renewal`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Renewal {
    /// Whether the node renews its certificates; it needs the address of an authority too.
    pub enabled: bool,
    /// `https://host:port` of the authority that issued the enrollment certificate; nothing is renewed
    /// while it is empty.
    pub url: String,
    /// Name of the authority there; empty for the server's default one.
    pub ca_name: String,
    /// PEM file with the roots of the authority's own TLS certificate.
    pub root_cert: PathBuf,
    /// `https://host:port` of the authority that issued the TLS certificate, where it is another one.
    pub tls_url: String,
    /// Name of that authority.
    pub tls_ca_name: String,
    /// The share of a certificate's life after which it is renewed, from 0 to 1.
    #[serde(deserialize_with = "super::peer::ratio")]
    pub at_share: f64,
    /// Whether renewed certificates are over new keys. The default keeps the keys: orderers are known to
    /// one another by the keys of their TLS certificates, which then go on without a config update.
    pub new_keys: bool,
    /// The pause after a renewal, and after the first failed one; it doubles with every further failure.
    #[serde(deserialize_with = "duration")]
    pub retry_interval: Duration,
    /// The longest pause between tries.
    #[serde(deserialize_with = "duration")]
    pub retry_limit: Duration,
}

impl Default for Renewal {
    fn default() -> Self {
        Self {
            enabled: true,
            url: String::new(),
            ca_name: String::new(),
            root_cert: PathBuf::new(),
            tls_url: String::new(),
            tls_ca_name: String::new(),
            at_share: 0.66,
            new_keys: false,
            retry_interval: Duration::from_secs(60),
            retry_limit: Duration::from_secs(3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_on_where_an_authority_is_named_and_shares_are_checked() {
        let read = |yaml: &str| serde_saphyr::from_str::<Certificates>(yaml);
        let settings = read("{}").unwrap();
        assert!(settings.renewal.enabled && settings.renewal.url.is_empty());
        assert!(!settings.renewal.new_keys);
        let settings = read(
            "{reloadInterval: 500ms, renewal: {url: 'https://ca:7054', atShare: 0.5, newKeys: true}}",
        )
        .unwrap();
        assert_eq!(settings.reload_interval, Duration::from_millis(500));
        assert_eq!(settings.warn_before, Duration::from_secs(604_800));
        assert!(settings.renewal.new_keys);
        for wrong in [
            "renewal: {atShare: 1.5}",
            "renewal: {atShare: -1}",
            "renew: {}",
            "warnBefore: soon",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
