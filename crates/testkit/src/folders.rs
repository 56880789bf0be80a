//! Writing credentials to disk in the layout that Fabric's tools use.

use std::fs;
use std::io;
use std::path::Path;

use crate::authority::Credential;
use crate::organization::Organization;

/// `config.yaml` of an MSP folder with the usual units.
const NODE_OUS: &str = "\
NodeOUs:
  Enable: true
  ClientOUIdentifier:
    Certificate: cacerts/ca.pem
    OrganizationalUnitIdentifier: client
  PeerOUIdentifier:
    Certificate: cacerts/ca.pem
    OrganizationalUnitIdentifier: peer
  AdminOUIdentifier:
    Certificate: cacerts/ca.pem
    OrganizationalUnitIdentifier: admin
  OrdererOUIdentifier:
    Certificate: cacerts/ca.pem
    OrganizationalUnitIdentifier: orderer
";

impl Organization {
    /// Writes an MSP folder into `folder`: authorities, units, and `credential` as its own identity when
    /// there is one.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_msp(&self, folder: &Path, credential: Option<&Credential>) -> io::Result<()> {
        write(&folder.join("cacerts/ca.pem"), self.ca().cert_pem())?;
        write(
            &folder.join("tlscacerts/tlsca.pem"),
            self.tls_ca().cert_pem(),
        )?;
        write(&folder.join("config.yaml"), NODE_OUS)?;
        if let Some(credential) = credential {
            write(&folder.join("signcerts/cert.pem"), &credential.cert_pem)?;
            write(&folder.join("keystore/priv_sk"), &credential.key_pem)?;
        }
        Ok(())
    }

    /// Writes a TLS folder into `folder`: `server.crt`, `server.key`, `ca.crt`, and the same pair under the
    /// names of clients.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_tls(&self, folder: &Path, credential: &Credential) -> io::Result<()> {
        for name in ["server", "client"] {
            write(&folder.join(format!("{name}.crt")), &credential.cert_pem)?;
            write(&folder.join(format!("{name}.key")), &credential.key_pem)?;
        }
        write(&folder.join("ca.crt"), self.tls_ca().cert_pem())
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}
