//! A node renews its certificates at the authority that issued them, over Fabric CA's interface.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use consilium_ca::{
    client::{CaClient, EnrollRequest, Enrollment},
    folders,
};
use consilium_msp::Certificate;
use metrics::gauge;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::{Inventory, Purpose, SigningSource, expiry::until, now, pair::Pair};
use crate::config::Renewal;

/// The longest sleep between two looks at the dates: files may have been replaced by hand.
const LOOK: Duration = Duration::from_secs(600);

/// What a node renews, and where.
pub struct Renewer {
    /// When, and at which authority.
    pub settings: Renewal,
    /// The PEM file of the authority's TLS roots.
    pub root_cert: PathBuf,
    /// The signing identity.
    pub source: SigningSource,
    /// TLS pairs, each once.
    pub pairs: Vec<(Purpose, Pair)>,
    /// Told when files have changed.
    pub renewed: Arc<Notify>,
}

/// One certificate in its turn.
enum Target<'a> {
    Enrollment,
    Tls(&'a Pair),
}

impl Target<'_> {
    fn read(&self, msp_dir: &Path) -> anyhow::Result<Enrollment> {
        match self {
            Self::Enrollment => signing_pair(msp_dir),
            Self::Tls(pair) => tls_pair(pair),
        }
    }
}

/// When a certificate is to be renewed, in Unix seconds.
pub fn due(not_before: i64, not_after: i64, share: f64) -> i64 {
    let life = not_after.saturating_sub(not_before).max(0);
    // A share is from 0 to 1, so the product is no more than the life.
    not_before.saturating_add((life as f64 * share) as i64)
}

/// The pause after `failures` failed tries in a row.
pub fn pause(failures: u32, settings: &Renewal) -> Duration {
    let doubled = settings
        .retry_interval
        .saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(settings.retry_limit.max(settings.retry_interval))
}

impl Renewer {
    /// For what an inventory lists.
    pub fn of(inventory: Inventory) -> Self {
        Self {
            settings: inventory.settings.renewal,
            root_cert: inventory.root_cert,
            source: inventory.source,
            pairs: inventory.pairs,
            renewed: Arc::default(),
        }
    }

    /// Renews everything now, due or not.
    ///
    /// # Errors
    /// A file cannot be read or written, or the authority refuses.
    pub async fn renew_all(&self) -> anyhow::Result<Vec<(Purpose, Arc<Certificate>)>> {
        let mut renewed = Vec::new();
        for index in self.first()..=self.pairs.len() {
            let (purpose, target) = self.target(index);
            let current = target.read(&self.source.msp_dir)?;
            let certificate = Certificate::from_pem(current.certificate_pem.as_bytes())?;
            let fresh = self
                .renew(&target, &current, &certificate)
                .await
                .with_context(|| format!("cannot renew the {purpose}"))?;
            renewed.push((purpose, fresh));
        }
        Ok(renewed)
    }

    /// Renews whatever is due, for as long as the node runs.
    pub async fn run(self) {
        let mut failures = vec![0_u32; self.pairs.len() + 1];
        loop {
            let mut next = LOOK;
            for (index, failed) in failures.iter_mut().enumerate().skip(self.first()) {
                let (purpose, target) = self.target(index);
                let wait = match self.renew_if_due(&target).await {
                    Ok(None) => {
                        *failed = 0;
                        self.settings.retry_interval
                    }
                    Ok(Some(wait)) => wait,
                    Err(error) => {
                        *failed = failed.saturating_add(1);
                        let pause = pause(*failed, &self.settings);
                        tracing::error!(
                            failures = *failed,
                            again_in = ?pause,
                            "cannot renew the {purpose}: {error:#}"
                        );
                        pause
                    }
                };
                gauge!("certificate_renewal_failures", "use" => purpose.label())
                    .set(f64::from(*failed));
                next = next.min(wait);
            }
            tokio::time::sleep(next.max(Duration::from_millis(50))).await;
        }
    }

    /// The first certificate that the node itself renews: requests for one whose key is in a token are made
    /// with the token's tools.
    fn first(&self) -> usize {
        usize::from(self.source.token.is_some())
    }

    fn target(&self, index: usize) -> (Purpose, Target<'_>) {
        match index.checked_sub(1).and_then(|index| self.pairs.get(index)) {
            None => (Purpose::Enrollment, Target::Enrollment),
            Some((purpose, pair)) => (*purpose, Target::Tls(pair)),
        }
    }

    /// Renews one certificate and gives `None`, or says how long it has time.
    async fn renew_if_due(&self, target: &Target<'_>) -> anyhow::Result<Option<Duration>> {
        let current = target.read(&self.source.msp_dir)?;
        let certificate = Certificate::from_pem(current.certificate_pem.as_bytes())?;
        let due = due(
            certificate.not_before(),
            certificate.not_after(),
            self.settings.at_share,
        );
        if let Ok(left) = u64::try_from(due.saturating_sub(now()))
            && left > 0
        {
            return Ok(Some(Duration::from_secs(left)));
        }
        self.renew(target, &current, &certificate).await?;
        Ok(None)
    }

    async fn renew(
        &self,
        target: &Target<'_>,
        current: &Enrollment,
        certificate: &Certificate,
    ) -> anyhow::Result<Arc<Certificate>> {
        let settings = &self.settings;
        let own_authority = matches!(target, Target::Tls(_)) && !settings.tls_url.is_empty();
        let (url, name) = if own_authority {
            (&settings.tls_url, &settings.tls_ca_name)
        } else {
            (&settings.url, &settings.ca_name)
        };
        let roots: Bytes = std::fs::read(&self.root_cert)
            .with_context(|| format!("cannot read {}", self.root_cert.display()))?
            .into();
        let client = CaClient::new(url, &[roots], name)?;
        let mut request = EnrollRequest {
            id: certificate.subject_cn().to_owned(),
            key_pem: (!settings.new_keys).then(|| current.key_pem.clone()),
            ..EnrollRequest::default()
        };
        let renewed = match target {
            Target::Enrollment => client.reenroll(current, &request).await?,
            Target::Tls(_) => {
                request.profile = "tls".to_owned();
                request.hosts = hosts(certificate);
                // An authority for TLS alone knows the node by its TLS certificate only, and a key in a token
                // does not sign requests.
                if own_authority || self.source.token.is_some() {
                    client.reenroll(current, &request).await?
                } else {
                    let signing = signing_pair(&self.source.msp_dir)?;
                    client.reenroll(&signing, &request).await?
                }
            }
        };
        let fresh = Certificate::from_pem(renewed.certificate_pem.as_bytes())
            .context("the authority's answer")?;
        anyhow::ensure!(
            fresh.not_after() > now(),
            "the authority gave a certificate that has expired already"
        );
        let new_key = settings.new_keys.then_some(renewed.key_pem.as_bytes());
        match target {
            Target::Enrollment => folders::replace_signer(&self.source.msp_dir, &renewed)?,
            Target::Tls(pair) => {
                let chain = with_chain_of(&renewed.certificate_pem, &current.certificate_pem)?;
                pair.replace(chain.as_bytes(), new_key)?;
            }
        }
        tracing::info!(
            subject = fresh.subject_cn(),
            serial = fresh.serial_hex(),
            until = until(fresh.not_after(), now()),
            "renewed a certificate"
        );
        self.renewed.notify_one();
        Ok(fresh)
    }
}

fn signing_pair(msp_dir: &Path) -> anyhow::Result<Enrollment> {
    let (certificate, key) = folders::read_signer_files(msp_dir)?;
    Ok(Enrollment {
        certificate_pem: String::from_utf8(certificate.to_vec())?,
        key_pem: Zeroizing::new(String::from_utf8(key.to_vec())?),
        ca_chain_pem: String::new(),
    })
}

fn tls_pair(pair: &Pair) -> anyhow::Result<Enrollment> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(Enrollment {
        certificate_pem: read(&pair.certificate)?,
        key_pem: Zeroizing::new(read(&pair.key)?),
        ca_chain_pem: String::new(),
    })
}

/// The hosts that a certificate is for, as they are asked for.
fn hosts(certificate: &Certificate) -> Vec<String> {
    let addresses = certificate.ip_addresses().iter().filter_map(|bytes| {
        let address = match bytes.len() {
            4 => <[u8; 4]>::try_from(&bytes[..])
                .ok()
                .map(std::net::IpAddr::from),
            _ => <[u8; 16]>::try_from(&bytes[..])
                .ok()
                .map(std::net::IpAddr::from),
        };
        address.map(|address| address.to_string())
    });
    let names = certificate.dns_names().iter().cloned();
    names.chain(addresses).collect()
}

/// The new certificate with the intermediate ones that followed the old one, which listeners show too.
fn with_chain_of(new: &str, old: &str) -> anyhow::Result<String> {
    let above = Certificate::all_from_pem(old.as_bytes())?;
    let mut chain = new.trim_end().to_owned();
    chain.push('\n');
    for certificate in above.iter().skip(1) {
        chain.push_str(&certificate.pem());
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_after_a_share_of_its_life() {
        for (from, to, share, expected) in [
            (100, 200, 0.66, 166),
            (100, 200, 0.0, 100),
            (100, 200, 1.0, 200),
            (200, 100, 0.5, 200),
        ] {
            assert_eq!(due(from, to, share), expected);
        }
    }

    #[test]
    fn pauses_double_up_to_the_limit() {
        let settings = Renewal {
            retry_interval: Duration::from_secs(60),
            retry_limit: Duration::from_secs(300),
            ..Renewal::default()
        };
        let pauses = [1, 2, 3, 4, 40].map(|failures| pause(failures, &settings).as_secs());
        assert_eq!(pauses, [60, 120, 240, 300, 300]);
    }

    #[test]
    fn a_renewed_certificate_is_for_the_same_hosts_and_keeps_the_chain() {
        let organization = consilium_testkit::Organization::new("Org1MSP", "org1.example.com");
        let tls = organization.tls(&["peer0.org1.example.com", "::1"]);
        let certificate = Certificate::from_pem(tls.cert_pem.as_bytes()).unwrap();
        let mut found = hosts(&certificate);
        found.sort();
        // Every certificate of the test kit is for this machine, too.
        let expected = ["127.0.0.1", "::1", "localhost", "peer0.org1.example.com"];
        assert_eq!(found, expected);

        let above = organization.tls_ca().cert_pem();
        let chain = with_chain_of("NEW\n", &format!("{}{above}", tls.cert_pem)).unwrap();
        assert!(chain.starts_with("NEW\n-----BEGIN CERTIFICATE-----\n"));
        assert_eq!(
            Certificate::all_from_pem(chain.as_bytes()).unwrap().len(),
            1
        );
    }
}
