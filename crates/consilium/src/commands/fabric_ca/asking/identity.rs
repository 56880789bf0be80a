//! The folder of an identity: its certificate, its key and the authority's certificates.
//! fabric-ca: lib/client.go, cmd/fabric-ca-client/command/getcainfo.go

use std::path::Path;

use anyhow::{Context, Result, bail};
use consilium_ca::{
    client::{CaInfo, Enrollment},
    folders,
};
use consilium_msp::Certificate;

use super::configuration::{Address, Client};
use super::log;

impl Client {
    /// Makes the folders of an identity.
    pub(super) fn make_folders(&self) -> Result<()> {
        let msp = self.msp_dir();
        folders::make_folder(&msp.join("keystore"), true)?;
        for name in ["signcerts", "cacerts", "user"] {
            folders::make_folder(&msp.join(name), false)?;
        }
        Ok(())
    }

    /// Commands in the name of an identity need one.
    pub(super) fn check_enrollment(&self) -> Result<()> {
        self.make_folders()?;
        let msp = self.msp_dir();
        if folders::read_signer_files(&msp).is_err() {
            let missing = format!(
                "Enrollment check failed: either because 'x509 enrollment information does not \
                 exist - certFile: {} keyFile: {}' or  'Idemix enrollment information does not \
                 exist'",
                msp.join("signcerts/cert.pem").display(),
                msp.join("keystore/key.pem").display()
            );
            log::write(log::Level::Error, missing);
            bail!(
                "Enrollment information does not exist. Please execute enroll command first. \
                 Example: fabric-ca-client enroll -u http://user:userpw@serverAddr:serverPort"
            );
        }
        Ok(())
    }

    /// The identity that is enrolled.
    pub(super) fn identity(&self) -> Result<Enrollment> {
        let (certificate, key) = folders::read_signer_files(&self.msp_dir())?;
        Ok(Enrollment {
            certificate_pem: String::from_utf8(certificate.to_vec())?,
            key_pem: String::from_utf8(key.to_vec())?.into(),
            ca_chain_pem: String::new(),
        })
    }

    /// Its enrolment id.
    pub(super) fn enrolled_id(identity: &Enrollment) -> Result<String> {
        let certificate = Certificate::from_pem(identity.certificate_pem.as_bytes())?;
        Ok(certificate.subject_cn().to_owned())
    }

    /// Writes certificate and key.
    pub(super) fn store(&self, enrollment: &Enrollment) -> Result<()> {
        let msp = self.msp_dir();
        folders::write_key(&msp, &enrollment.key_pem)?;
        let file = msp.join("signcerts/cert.pem");
        folders::write_public(&file, enrollment.certificate_pem.as_bytes())
            .context("Failed to store enrollment information")?;
        log::info(format!("Stored client certificate at {}", file.display()));
        Ok(())
    }

    /// Writes the authority's certificates: roots apart from those that others signed.
    pub(super) fn store_chain(&self, info: &CaInfo) -> Result<()> {
        let (mut roots, mut others) = (String::new(), String::new());
        for certificate in Certificate::all_from_pem(info.chain_pem.as_bytes())
            .context("Failed to parse certificate in the CA chain")?
        {
            if !certificate.is_ca() {
                bail!("A certificate in the CA chain is not a CA certificate");
            }
            let list = if certificate.is_signed_by(&certificate) {
                &mut roots
            } else {
                &mut others
            };
            list.push_str(&certificate.pem());
        }
        let name = self.chain_file()?;
        let msp = self.msp_dir();
        let places = match self.settings.enrollment.profile.as_str() {
            "tls" => [
                ("TLS root CA certificate", "tlscacerts", &roots),
                (
                    "TLS intermediate certificates",
                    "tlsintermediatecerts",
                    &others,
                ),
            ],
            _ => [
                ("root CA certificate", "cacerts", &roots),
                ("intermediate CA certificates", "intermediatecerts", &others),
            ],
        };
        for (what, folder, pem) in places {
            if !pem.is_empty() {
                store_file(what, &msp.join(folder).join(&name), pem)?;
            }
        }
        Ok(())
    }

    /// `localhost-7054.pem`, with the authority's name if one was given, and `tls-` before it in
    /// the folders for TLS.
    fn chain_file(&self) -> Result<String> {
        let mut name = Address::parse(&self.settings.url)?.host;
        if !self.settings.caname.is_empty() {
            name = format!("{name}-{}", self.settings.caname);
        }
        let name = name.replace([':', '.', '/'], "-");
        Ok(match self.settings.enrollment.profile.as_str() {
            "tls" => format!("tls-{name}.pem"),
            _ => format!("{name}.pem"),
        })
    }
}

pub(super) fn store_file(what: &str, path: &Path, contents: &str) -> Result<()> {
    folders::write_public(path, contents.as_bytes())
        .with_context(|| format!("Failed to store {what} at '{}'", path.display()))?;
    log::info(format!("Stored {what} at {}", path.display()));
    Ok(())
}
