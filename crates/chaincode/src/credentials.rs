//! Who may register as which chaincode: certificates of an authority that lives as long as the peer.
//!
//! Every launch gets a key and a certificate of its own, and only the holder of that certificate may
//! register under the name it was launched for, for as long as the process runs.
//! (fabric: core/chaincode/accesscontrol, common/crypto/tlsgen)

use bytes::Bytes;
use consilium_protocol::hash::sha256;
use consilium_transport::{ClientAuth, ServerTls, TlsError, TlsIdentity};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Why the authority could not be made, or could not certify.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Keys or certificates.
    #[error("cannot certify chaincode: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS would not have them.
    #[error("cannot use the certificate for chaincode: {0}")]
    Tls(#[from] TlsError),
}

/// The authority for launched chaincode, and whom it has certified.
pub struct Credentials {
    authority: CertifiedIssuer<'static, KeyPair>,
    server: TlsIdentity,
    passes: Mutex<HashMap<[u8; 32], String>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials")
    }
}

impl Credentials {
    /// A new authority, for a peer that chaincode reaches under the name or address `host`.
    ///
    /// # Errors
    /// `host` cannot be in a certificate.
    pub fn new(host: &str) -> Result<Arc<Self>, CredentialsError> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "chaincode authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let authority = CertifiedIssuer::self_signed(params, new_key()?)?;
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = new_key()?;
        let certificate = params.signed_by(&key, &authority)?;
        let server =
            TlsIdentity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())?;
        Ok(Arc::new(Self {
            authority,
            server,
            passes: Mutex::default(),
        }))
    }

    /// TLS of the listener: chaincode has to show a certificate of this authority.
    ///
    /// # Errors
    /// Those of the TLS library.
    pub fn server_tls(&self) -> Result<Arc<ServerTls>, CredentialsError> {
        let roots = [Bytes::from(self.root())];
        Ok(ServerTls::new(
            self.server.clone(),
            ClientAuth::Require,
            &roots,
        )?)
    }

    /// PEM of the authority's certificate.
    pub(crate) fn root(&self) -> String {
        self.authority.pem()
    }

    /// Lets whoever gets it register as `ccid`, until it is dropped.
    pub(crate) fn issue(self: &Arc<Self>, ccid: &str) -> Result<Pass, CredentialsError> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "chaincode");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        let hash = sha256(certificate.der());
        self.passes.lock().insert(hash, ccid.to_owned());
        Ok(Pass {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            hash,
            issuer: Arc::downgrade(self),
        })
    }

    /// Whether the holder of `certificate` (DER) may register as `name`.
    /// fabric: core/chaincode/accesscontrol/access.go
    pub(crate) fn check(&self, name: &str, certificate: Option<&[u8]>) -> Result<(), String> {
        let Some(certificate) = certificate else {
            return Err(format!(
                "TLS is active but chaincode {name} didn't send certificate"
            ));
        };
        self.check_hash(name, sha256(certificate))
    }

    fn check_hash(&self, name: &str, hash: [u8; 32]) -> Result<(), String> {
        let registered = self.passes.lock().get(&hash).cloned();
        let shown = hex::encode(hash);
        match registered {
            None => Err(format!(
                "Chaincode {name} with given certificate hash {shown} not found in registry"
            )),
            Some(registered) if registered != name => Err(format!(
                "Chaincode {name} with given certificate hash {shown} belongs to a different chaincode"
            )),
            Some(_) => Ok(()),
        }
    }
}

fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

/// Certificate and key of one launch. Dropped, the certificate is worth nothing any more.
pub(crate) struct Pass {
    /// PEM.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) key: String,
    hash: [u8; 32],
    issuer: Weak<Credentials>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(issuer) = self.issuer.upgrade() {
            issuer.passes.lock().remove(&self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_worth_one_name_for_as_long_as_its_launch() {
        let credentials = Credentials::new("127.0.0.1").unwrap();
        credentials.server_tls().unwrap();
        let pass = credentials.issue("notes:1").unwrap();
        let hash = pass.hash;
        let check = |name: &str, hash| credentials.check_hash(name, hash);
        assert_eq!(check("notes:1", hash), Ok(()));
        let other = check("records:1", hash).unwrap_err();
        assert!(
            other.ends_with("belongs to a different chaincode"),
            "{other}"
        );
        let unknown = check("notes:1", [7; 32]).unwrap_err();
        assert!(unknown.ends_with("not found in registry"), "{unknown}");
        let none = credentials.check("notes:1", None).unwrap_err();
        assert_eq!(
            none,
            "TLS is active but chaincode notes:1 didn't send certificate"
        );
        drop(pass);
        let late = check("notes:1", hash).unwrap_err();
        assert!(late.ends_with("not found in registry"), "{late}");
    }
}
