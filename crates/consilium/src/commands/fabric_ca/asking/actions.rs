//! Enrolling, revoking, lists of what is revoked, and certificates.
//! fabric-ca: cmd/fabric-ca-client/command

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use consilium_ca::client::{
    CaInfo, CrlRequest, EnrollRequest, Enrollment, RevokeRequest, signing_request,
};
use consilium_ca::folders;
use consilium_msp::Certificate;

use super::certificate_text;
use super::configuration::{Address, Client, told};
use super::identity::store_file;
use super::log;

impl Client {
    pub(super) async fn enroll(mut self) -> Result<()> {
        if self.settings.enrollment.kind.eq_ignore_ascii_case("idemix") {
            bail!("Idemix credentials are not supported; enroll with --enrollment.type x509");
        }
        let address = Address::parse(&self.settings.url)?;
        let scheme = address.url.split("://").next().unwrap_or_default();
        // Without name and password, which no message should show.
        self.settings.url = format!("{scheme}://{}", address.host);
        let Some((id, secret)) = address.user.filter(|(id, _)| !id.is_empty()) else {
            bail!(
                "The URL of the fabric CA server is missing the enrollment ID and secret; found \
                 '{}' but expecting '{scheme}://<enrollmentID>:<secret>@{}'",
                self.settings.url,
                address.host
            );
        };
        self.make_folders()?;
        let request = EnrollRequest {
            id,
            secret,
            attributes: self.attribute_requests()?,
            ..self.certificate_request()?
        };
        let enrollment = self.ca()?.enroll(&request).await.map_err(told)?;
        self.store(&enrollment)?;
        self.store_chain(&chain(&enrollment))
    }

    pub(super) async fn reenroll(self) -> Result<()> {
        let current = self.identity()?;
        let id = Self::enrolled_id(&current)?;
        let mut request = EnrollRequest {
            id: id.clone(),
            ..self.certificate_request()?
        };
        if self.settings.csr.keyrequest.reusekey {
            request.key_pem = Some(current.key_pem.clone());
        }
        let enrollment = self.ca()?.reenroll(&current, &request).await.map_err(told);
        let enrollment = enrollment.with_context(|| format!("Failed to reenroll '{id}'"))?;
        self.store(&enrollment)?;
        self.store_chain(&chain(&enrollment))
    }

    /// What every request for a certificate has.
    fn certificate_request(&self) -> Result<EnrollRequest> {
        let key = self.settings.csr.keyrequest.kind()?;
        log::info(format!(
            "generating key: &{{A:{} S:{}}}",
            key.algorithm(),
            key.bits()
        ));
        Ok(EnrollRequest {
            key,
            profile: self.settings.enrollment.profile.clone(),
            hosts: self.settings.csr.hosts.clone(),
            subject: Some(self.subject()),
            ..EnrollRequest::default()
        })
    }

    pub(super) fn generate_csr(self) -> Result<()> {
        let id = self.settings.csr.cn.clone();
        ensure!(
            !id.is_empty(),
            "CSR common name not specified; use '--csr.cn' flag"
        );
        ensure!(
            !id.contains(['/', '\0']),
            "the common name '{id}' is no name for a file"
        );
        self.make_folders()?;
        let request = EnrollRequest {
            id: id.clone(),
            ..self.certificate_request()?
        };
        let (key_pem, csr) = signing_request(&request).map_err(told)?;
        folders::write_key(&self.msp_dir(), &key_pem)?;
        let file = self.msp_dir().join(format!("signcerts/{id}.csr"));
        folders::write_public(&file, csr.as_bytes()).context("Failed to store the CSR")?;
        log::info(format!("Stored CSR at {}", file.display()));
        Ok(())
    }

    pub(super) async fn ca_info(self) -> Result<()> {
        self.make_folders()?;
        let info = self.ca()?.cainfo().await.map_err(told)?;
        self.store_chain(&info)
    }

    pub(super) async fn revoke(self, crl: bool) -> Result<()> {
        let asked = &self.settings.revoke;
        if asked.name.is_empty() && (asked.aki.is_empty() || asked.serial.is_empty()) {
            bail!(
                "Invalid usage; either --revoke.name and/or both --revoke.serial and --revoke.aki \
                 are required"
            );
        }
        let request = RevokeRequest {
            id: asked.name.clone(),
            serial: asked.serial.clone(),
            aki: asked.aki.clone(),
            reason: asked.reason.clone(),
            gencrl: crl,
        };
        let identity = self.identity()?;
        let revoked = self.ca()?.revoke(&identity, &request).await.map_err(told)?;
        let shown: Vec<_> = revoked
            .certificates
            .iter()
            .map(|(serial, aki)| format!("{{Serial:{serial} AKI:{aki}}}"))
            .collect();
        log::info(format!(
            "Successfully revoked certificates: [{}]",
            shown.join(" ")
        ));
        if crl {
            self.store_crl(&revoked.crl_pem)?;
        }
        Ok(())
    }

    pub(super) async fn generate_crl(self, flags: &BTreeMap<String, String>) -> Result<()> {
        let time = |name: &str| -> Result<Option<(String, jiff::Timestamp)>> {
            let Some(text) = flags.get(name).filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let moment = text
                .parse()
                .with_context(|| format!("Invalid '{name}' value"))?;
            Ok(Some((text.clone(), moment)))
        };
        let span = |after: &str, before: &str| -> Result<[Option<String>; 2]> {
            let (from, to) = (time(after)?, time(before)?);
            if let (Some((first, from)), Some((second, to))) = (&from, &to)
                && from > to
            {
                bail!(
                    "Invalid {after} value '{first}'. It must not be a timestamp greater than \
                     {before} value '{second}'"
                );
            }
            Ok([from, to].map(|time| time.map(|(text, _)| text)))
        };
        let [revokedafter, revokedbefore] = span("revokedafter", "revokedbefore")?;
        let [expireafter, expirebefore] = span("expireafter", "expirebefore")?;
        let request = CrlRequest {
            revokedafter,
            revokedbefore,
            expireafter,
            expirebefore,
        };
        let identity = self.identity()?;
        let crl = self
            .ca()?
            .generate_crl(&identity, &request)
            .await
            .map_err(told)?;
        log::info("Successfully generated the CRL");
        self.store_crl(&crl)
    }

    fn store_crl(&self, pem: &str) -> Result<()> {
        let file = self.msp_dir().join("crls/crl.pem");
        folders::write_public(&file, pem.as_bytes())
            .with_context(|| format!("Failed to write CRL to the file {}", file.display()))?;
        log::info(format!(
            "Successfully stored the CRL in the file {}",
            file.display()
        ));
        Ok(())
    }

    pub(super) async fn list_certificates(self, flags: &BTreeMap<String, String>) -> Result<()> {
        let flag = |name: &str| flags.get(name).map_or("", String::as_str);
        let expired = range(flag("expiration"), "expiration")?;
        let revoked = range(flag("revocation"), "revocation")?;
        let filter = [
            ("id", flag("id")),
            ("aki", flag("aki")),
            ("serial", flag("serial")),
            ("revoked_start", &revoked.0),
            ("revoked_end", &revoked.1),
            ("expired_start", &expired.0),
            ("expired_end", &expired.1),
            ("notrevoked", flag("notrevoked")),
            ("notexpired", flag("notexpired")),
        ];
        let identity = self.identity()?;
        let found = self
            .ca()?
            .certificates(&identity, &filter)
            .await
            .map_err(told)?;
        if found.is_empty() {
            println!("No results returned");
        }
        let mut stored = Store::default();
        for pem in found {
            let certificate = Certificate::from_pem(pem.as_bytes())?;
            if !flag("store").is_empty() {
                let folder = self.home.join(flag("store"));
                stored.add(&folder, certificate.subject_cn(), &pem)?;
            }
            print!("{}", certificate_text::text(certificate.der())?);
        }
        Ok(())
    }
}

fn chain(enrollment: &Enrollment) -> CaInfo {
    CaInfo {
        name: String::new(),
        chain_pem: enrollment.ca_chain_pem.clone(),
        version: String::new(),
    }
}

/// `<begin>::<end>`, where either may be `now`.
fn range(text: &str, name: &str) -> Result<(String, String)> {
    if text.is_empty() {
        return Ok(Default::default());
    }
    let Some((begin, end)) = text.split_once("::") else {
        bail!(
            "Invalid {name} format, expecting '<start>::<end>' but found {text}, missing '::' \
             sepatator"
        );
    };
    ensure!(
        !text.contains('/'),
        "Invalid {name} format, use '-' instead of '/' in time format: {text}"
    );
    let time = |text: &str| match text.to_lowercase().as_str() {
        "now" => jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
        _ => text.to_owned(),
    };
    Ok((time(begin), time(end)))
}

/// Files for certificates: `id.pem`, and numbers from the second on.
#[derive(Default)]
struct Store {
    counts: BTreeMap<String, usize>,
}

impl Store {
    fn add(&mut self, folder: &Path, id: &str, pem: &str) -> Result<()> {
        // The name comes from a server; it is to be a file in this folder.
        let id = id.replace(['/', '\0'], "_");
        let count = self.counts.entry(id.clone()).or_default();
        *count += 1;
        let numbered = |number: usize| folder.join(format!("{id}-{number}.pem"));
        let single = folder.join(format!("{id}.pem"));
        let file = match *count {
            1 => single,
            2 => {
                std::fs::rename(&single, numbered(1))
                    .with_context(|| format!("Failed to rename certificate: {id}.pem"))?;
                numbered(2)
            }
            more => numbered(more),
        };
        store_file("certificate", &file, pem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ends() {
        assert_eq!(
            range("", "expiration").unwrap(),
            (String::new(), String::new())
        );
        assert_eq!(
            range("-30d::-15d", "expiration").unwrap(),
            ("-30d".into(), "-15d".into())
        );
        assert!(range("-30d::NOW", "expiration").unwrap().1.ends_with('Z'));
        for text in ["2018-01-01", "2018/01/01::2018/02/01"] {
            assert!(range(text, "expiration").is_err(), "{text}");
        }
    }

    #[test]
    fn several_certificates_of_one_identity_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::default();
        for id in ["a", "b", "a", "a", "../c"] {
            store.add(folder.path(), id, "pem").unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [".._c.pem", "a-1.pem", "a-2.pem", "a-3.pem", "b.pem"]
        );
    }
}
