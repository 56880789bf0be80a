//! An authority without a server, for whoever makes an organization's identities all at once.

use std::path::Path;
use std::time::Duration;

use crate::authority::{Authority, AuthorityError, Order};
use crate::certificate::{Host, Subject, Usage};
use crate::client::Enrollment;
use crate::keys::SigningKey;
use crate::options::CaOptions;

/// A root that issues to whoever asks: nothing is registered and nothing is recorded.
pub struct OfflineAuthority {
    authority: Authority,
    organization: String,
}

impl OfflineAuthority {
    /// Opens the root in `home`, or makes one named `ca.<organization>`.
    ///
    /// # Errors
    /// A file cannot be read or written, or does not hold what it should.
    pub fn open(home: &Path, organization: &str) -> Result<Self, AuthorityError> {
        let name = format!("ca.{organization}");
        Ok(Self {
            authority: Authority::open(&CaOptions::new(home, name, organization))?,
            organization: organization.to_owned(),
        })
    }

    /// The root certificate.
    pub fn root_pem(&self) -> &str {
        self.authority.root_pem()
    }

    /// A new key and its certificate, for `name` in the organizational unit `role` (`client`, `peer`,
    /// `admin`, `orderer`).
    ///
    /// # Errors
    /// The library failed, or the name does not fit into a certificate.
    pub fn enroll(
        &self,
        name: &str,
        role: &str,
        validity: Duration,
    ) -> Result<Enrollment, AuthorityError> {
        self.issue(name, &[role], Usage::enrollment(), &[], validity)
    }

    /// The same for TLS: a server at `hosts`, and a client.
    ///
    /// # Errors
    /// As [`enroll`](Self::enroll).
    pub fn enroll_tls(
        &self,
        name: &str,
        hosts: &[&str],
        validity: Duration,
    ) -> Result<Enrollment, AuthorityError> {
        self.issue(name, &[], Usage::tls(), hosts, validity)
    }

    fn issue(
        &self,
        name: &str,
        units: &[&str],
        usage: Usage,
        hosts: &[&str],
        validity: Duration,
    ) -> Result<Enrollment, AuthorityError> {
        let (key, key_pem) = SigningKey::generate()?;
        let subject = Subject {
            organization: vec![self.organization.clone()],
            organizational_units: units.iter().map(|unit| (*unit).to_owned()).collect(),
            common_name: name.to_owned(),
            ..Subject::default()
        };
        let issued = self.authority.issue(Order {
            subject: subject.to_name()?,
            public_key: key.public_key()?,
            usage,
            hosts: hosts.iter().map(|host| Host::classify(host)).collect(),
            attributes: None,
            validity: i64::try_from(validity.as_secs()).unwrap_or(i64::MAX),
            not_before: None,
        })?;
        Ok(Enrollment {
            certificate_pem: issued.pem,
            key_pem,
            ca_chain_pem: self.root_pem().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use consilium_msp::{Msp, MspVersion, NodeRole, Signer as _, SoftwareSigner};

    use super::*;
    use crate::folders;

    #[test]
    fn who_is_enrolled_is_a_member_in_the_role_that_was_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("ca");
        let authority = OfflineAuthority::open(&home, "org1.example").expect("an authority");
        let day = Duration::from_secs(86_400);
        let tls = authority.enroll_tls("node", &["localhost", "127.0.0.1"], day);
        assert!(tls.expect("issued").certificate_pem.contains("CERTIFICATE"));
        // The root stays the same when it is opened again.
        let again = OfflineAuthority::open(&home, "org1.example").expect("opened");
        let root = authority.root_pem().as_bytes();
        let msp_dir = folder.path().join("msp");
        folders::write_verifying_msp(&msp_dir, root, &[Bytes::copy_from_slice(root)])
            .expect("written");
        let config = folders::read_msp_config(&msp_dir, "Org1MSP").expect("readable");
        let msp = Msp::new(&config, MspVersion::V1_4_3).expect("an MSP");
        for (role, expected) in [("client", NodeRole::Client), ("peer", NodeRole::Peer)] {
            let member = again.enroll("somebody", role, day).expect("issued");
            let (certificate, key) = (&member.certificate_pem, &member.key_pem);
            let signer =
                SoftwareSigner::from_pem("Org1MSP", certificate.as_bytes(), key.as_bytes())
                    .expect("a signer");
            let identity = msp.deserialize(signer.serialized()).expect("an identity");
            assert_eq!(msp.validate(&identity), Ok(()));
            assert_eq!(msp.role(&identity), Some(expected));
        }
    }
}
