//! A TLS certificate and its key in two files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use consilium_ca::folders::{self, FoldersError};
use consilium_msp::Certificate;
use consilium_transport::TlsIdentity;
use zeroize::Zeroizing;

use super::Purpose;

/// Where the pair lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// PEM: the certificate, and those above it.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Pair {
    /// A user's, for renewal.
    pub fn client(certificate: PathBuf, key: PathBuf) -> (Purpose, Self) {
        (Purpose::Client, Self { certificate, key })
    }

    /// Reads it. A replacement that was cut off between the two files is finished first.
    ///
    /// # Errors
    /// Names the file that cannot be read or used.
    pub fn read(&self) -> anyhow::Result<TlsIdentity> {
        let key = Zeroizing::new(read(&self.key)?);
        let read_pair = |path: &Path| -> anyhow::Result<TlsIdentity> {
            TlsIdentity::from_pem(&read(path)?, &key)
                .with_context(|| format!("{} with {}", path.display(), self.key.display()))
        };
        let next = self.next();
        match read_pair(&self.certificate) {
            Err(error) if next.is_file() => {
                let identity = read_pair(&next).map_err(|_| error)?;
                fs::rename(&next, &self.certificate)?;
                Ok(identity)
            }
            outcome => outcome,
        }
    }

    /// Replaces both files so that whoever reads them, at whatever moment, has a pair that fits.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn replace(&self, certificate: &[u8], key: Option<&[u8]>) -> Result<(), FoldersError> {
        let Some(key) = key else {
            return folders::write_public(&self.certificate, certificate);
        };
        let next = self.next();
        folders::write_public(&next, certificate)?;
        folders::write_secret(&self.key, key)?;
        fs::rename(&next, &self.certificate)?;
        Ok(())
    }

    /// The certificate that waits for its key to be in place.
    fn next(&self) -> PathBuf {
        let mut name = self.certificate.file_name().unwrap_or_default().to_owned();
        name.push(".next");
        self.certificate.with_file_name(name)
    }
}

/// The leaf, for its dates and name.
///
/// # Errors
/// It is no certificate that this program understands.
pub fn leaf(identity: &TlsIdentity) -> anyhow::Result<std::sync::Arc<Certificate>> {
    Ok(Certificate::from_der(identity.leaf_der())?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use consilium_testkit::Organization;

    use super::*;

    #[test]
    fn a_replacement_that_was_cut_off_is_finished_by_the_next_reader() {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair {
            certificate: folder.path().join("server.crt"),
            key: folder.path().join("server.key"),
        };
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let [old, new] = [(); 2].map(|()| organization.tls(&["localhost"]));
        let write = |tls: &consilium_testkit::Credential, key: bool| {
            let key = key.then_some(tls.key_pem.as_bytes());
            pair.replace(tls.cert_pem.as_bytes(), key).unwrap();
        };
        write(&old, true);
        let before = pair.read().unwrap();

        // The power fails after the key is in place.
        fs::write(pair.next(), &new.cert_pem).unwrap();
        fs::write(&pair.key, &new.key_pem).unwrap();
        let after = pair.read().unwrap();
        assert_ne!(before.leaf_hash(), after.leaf_hash());
        assert!(!pair.next().exists());
        assert_eq!(pair.read().unwrap().leaf_hash(), after.leaf_hash());

        // A certificate of another key is refused, and the files stay.
        write(&old, false);
        let refused = pair.read().unwrap_err();
        assert!(
            format!("{refused:#}").contains("does not belong"),
            "{refused:#}"
        );
    }
}
